"""A registered model behind HTTP: ``mlops serve``.

One front process accepts connections and computes nothing; worker processes hold the model. `docs/serving.md` describes
the protocol and the limits.

* `models`: which model is served, and what is known about it.
* `workers`: the worker processes, the formats of their answers, and the pool that watches them, with its bounded queue.
* `front`: bodies, content types, the ASGI application and its page, log lines, captured requests, metrics.
* `server`: options, the socket, signals; `refusals`: requests that are refused.
* `protocols`: what an engine may add to the protocol; `observing`: where a drift detector is attached.
* `drift`: the detector; `watch`: how a server uses it.
* `batch`: predictions of many files, in one file or as a batch-prediction step.
* `client`: predicts with a served model; `exported`: a model in a folder, for programs that are not ours.
* `image`, `needs`: the serving image of a container.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlops_core.serving.batch.records import MIB, Payload, RecordRules, assembled, payloads
    from mlops_core.serving.client import Client
    from mlops_core.serving.exported import ExportedPredictor
    from mlops_core.serving.models import ServedModel, find_model
    from mlops_core.serving.observing import DriftDetector
    from mlops_core.serving.protocols import Exchange, ServiceFacts, ServingProtocol
    from mlops_core.serving.refusals import RefusedRequestError
    from mlops_core.serving.server import ServeOptions, serve
    from mlops_core.serving.watch.options import WatchOptions, watch_options
    from mlops_core.serving.watch.records import RecordedAlarm, recorded_alarms, retrain_command

_MODULES = {
    "batch.records": ("MIB", "Payload", "RecordRules", "assembled", "payloads"),
    "client": ("Client",),
    "exported": ("ExportedPredictor",),
    "models": ("ServedModel", "find_model"),
    "observing": ("DriftDetector",),
    "protocols": ("Exchange", "ServiceFacts", "ServingProtocol"),
    "refusals": ("RefusedRequestError",),
    "server": ("ServeOptions", "serve"),
    "watch.options": ("WatchOptions", "watch_options"),
    "watch.records": ("RecordedAlarm", "recorded_alarms", "retrain_command"),
}
_ORIGIN = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "MIB",
    "Client",
    "DriftDetector",
    "Exchange",
    "ExportedPredictor",
    "Payload",
    "RecordRules",
    "RecordedAlarm",
    "RefusedRequestError",
    "ServeOptions",
    "ServedModel",
    "ServiceFacts",
    "ServingProtocol",
    "WatchOptions",
    "assembled",
    "find_model",
    "payloads",
    "recorded_alarms",
    "retrain_command",
    "serve",
    "watch_options",
]


def __getattr__(name: str) -> object:
    if name not in _ORIGIN:
        raise AttributeError(f"module 'mlops_core.serving' has no attribute '{name}'")
    return getattr(importlib.import_module(f"mlops_core.serving.{_ORIGIN[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
