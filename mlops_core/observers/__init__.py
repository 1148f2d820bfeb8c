"""Observers receive what happens to runs, steps, models and aliases, in a process of their own.

A plugin of the entry-point group ``mlops.observers`` implements hooks of `mlops_core.observers.hookspecs` and imports
what it needs from here. `docs/observers.md` walks through one.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlops_core.errors import ObserverUnavailableError
    from mlops_core.hookspecs import hookimpl
    from mlops_core.observers.events import (
        AliasEvent,
        EventPhase,
        ExportedModel,
        ModelEvent,
        ObserverContext,
        RunEvent,
        StepEvent,
    )

_EVENTS = ("AliasEvent", "EventPhase", "ExportedModel", "ModelEvent", "ObserverContext", "RunEvent", "StepEvent")
_ORIGIN = {
    "ObserverUnavailableError": "mlops_core.errors",
    "hookimpl": "mlops_core.hookspecs",
    **dict.fromkeys(_EVENTS, "mlops_core.observers.events"),
}

__all__ = [
    "AliasEvent",
    "EventPhase",
    "ExportedModel",
    "ModelEvent",
    "ObserverContext",
    "ObserverUnavailableError",
    "RunEvent",
    "StepEvent",
    "hookimpl",
]


def __getattr__(name: str) -> object:
    """Import a public name on first use."""
    if name not in _ORIGIN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_ORIGIN[name]), name)
    globals()[name] = value
    return value
