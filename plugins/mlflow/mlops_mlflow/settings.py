"""The settings of the observer: where the tracking server is, and which experiment receives the runs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

URI_VARIABLE = "MLFLOW_TRACKING_URI"
_NAMES = ("uri", "experiment")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingSettings:
    """Where runs are sent.

    Attributes:
        uri: address of the tracking server (http, https), of a database, or a folder.
        experiment: name of the experiment; empty for the name of the use case.
    """

    uri: str
    experiment: str = ""


def read_tracking_settings(settings: Mapping[str, object]) -> TrackingSettings | None:
    """Return the settings of an observer; None without an address, here and in ``MLFLOW_TRACKING_URI``.

    Raises:
        ConfigError: a setting is unknown, or is not a text.
    """
    for name, value in settings.items():
        if name not in _NAMES:
            raise ConfigError(
                f"observers.mlflow.{name} is not a setting{did_you_mean(name, _NAMES) or ';'} "
                f"settings: {', '.join(_NAMES)}"
            )
        if not isinstance(value, str):
            raise ConfigError(f"observers.mlflow.{name} is {value!r}; expected a text")
    uri = str(settings.get("uri") or os.environ.get(URI_VARIABLE, ""))
    return TrackingSettings(uri=uri, experiment=str(settings.get("experiment") or "")) if uri else None
