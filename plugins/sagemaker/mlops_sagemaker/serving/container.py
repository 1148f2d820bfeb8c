"""The command of the serving image: ``docker run IMAGE serve`` serves the model in ``/opt/ml/model``.

The use case is that of USECASE_NAME, which the image sets. Variables of the service and of its toolkits set the options
of the server:

=====================================  ==========================================
SAGEMAKER_BIND_TO_PORT                 port (8080)
MLOPS_SERVE_HOST                       address to listen on (0.0.0.0)
SAGEMAKER_MODEL_SERVER_WORKERS         worker processes (one per core; a batch transform has no more)
SAGEMAKER_MAX_CONCURRENT_TRANSFORMS    requests of a batch transform that may wait for a worker (100)
SAGEMAKER_MODEL_SERVER_TIMEOUT         seconds that a request may take (55, at most 59)
SAGEMAKER_MAX_PAYLOAD_IN_MB            largest body (25); 0 for the largest possible, 1024
SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT   answer to a request that accepts any
SAGEMAKER_CONTAINER_LOG_LEVEL          30 and above: no line per request
MLOPS_CAPTURE                          folder for captured requests
MLOPS_DRIFT                            ``off``: do not watch for drift
MLOPS_DRIFT_FALSE_ALARMS               acceptable rate of false drift alarms (1 in 30 days)
MLOPS_DRIFT_REQUESTS_PER_HOUR          expected samples per hour (500)
MLOPS_DRIFT_STATE                      folder of the state of drift detection; without it the state is not kept
=====================================  ==========================================
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core import MlopsError, UsageError
from mlops_core.runners import read_settings, usable_cores
from mlops_core.serving import ServeOptions, WatchOptions, find_model, serve, watch_options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MODEL_FOLDER = "/opt/ml/model"
ROOT_VARIABLE = "MLOPS_SERVE_MODEL"
HOST_VARIABLE = "MLOPS_SERVE_HOST"
_USAGE = "usage: serve"
_WORD = "serve"
_MIB = 1 << 20
_LARGEST_MIB = 1024
_LONGEST_S = 59.0
_WARNING = 30


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the container's model; return the exit code, after one line on standard error where it failed."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words not in ([], [_WORD]):
            raise UsageError(f"{_USAGE}; this image serves a model and has no command '{words[0]}'")
        environ = read_settings().environ
        name = environ.get("USECASE_NAME")
        if not name:
            raise UsageError("USECASE_NAME is not set; set it to the use case of the model")
        folder = Path(environ.get(ROOT_VARIABLE) or MODEL_FOLDER)
        model = find_model(name, f"{folder}{os.sep}")
        return int(serve(model, options(environ)))
    except MlopsError as error:
        sys.stderr.write(f"mlops: error: {' '.join(str(error).split())}\n")
        return int(error.exit_code)


def options(environ: Mapping[str, str]) -> ServeOptions:
    """Return the options that the service's variables set.

    Raises:
        UsageError: a value is not legal.
    """
    timeout_s = _number(environ, "SAGEMAKER_MODEL_SERVER_TIMEOUT", 55, largest=86400)
    workers = _number(environ, "SAGEMAKER_MODEL_SERVER_WORKERS", 0, largest=256)
    return ServeOptions(
        host=environ.get(HOST_VARIABLE) or "0.0.0.0",  # noqa: S104  the service connects from outside of the container
        port=_number(environ, "SAGEMAKER_BIND_TO_PORT", 8080, largest=65535),
        workers=(min(workers, usable_cores()) if _is_batch(environ) else workers) or None,
        max_waiting=_waiting(environ),
        timeout_s=min(float(timeout_s), _LONGEST_S) if not _is_batch(environ) else float(timeout_s),
        max_body_bytes=(_number(environ, "SAGEMAKER_MAX_PAYLOAD_IN_MB", 25, largest=_LARGEST_MIB) or _LARGEST_MIB)
        * _MIB,
        default_accept=environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT") or "application/json",
        protocol="sagemaker",
        capture=Path(environ["MLOPS_CAPTURE"]) if environ.get("MLOPS_CAPTURE") else None,
        drift=_drift(environ),
        logs_requests=_number(environ, "SAGEMAKER_CONTAINER_LOG_LEVEL", 20, largest=100) < _WARNING,
    )


def _drift(environ: Mapping[str, str]) -> WatchOptions | None:
    """Return how to watch for drift; a batch transform is not watched."""
    if environ.get("MLOPS_DRIFT", "").lower() == "off" or _is_batch(environ):
        return None
    rate = environ.get("MLOPS_DRIFT_REQUESTS_PER_HOUR", "")
    try:
        requests_per_hour = float(rate) if rate else None
    except ValueError:
        raise UsageError(f"MLOPS_DRIFT_REQUESTS_PER_HOUR is {rate!r}; expected a number above 0") from None
    return watch_options(
        environ.get("MLOPS_DRIFT_FALSE_ALARMS"), requests_per_hour, folder=environ.get("MLOPS_DRIFT_STATE")
    )


def _waiting(environ: Mapping[str, str]) -> int | None:
    """Return how many requests may wait: in a batch transform, all that the service sends at once."""
    if not _is_batch(environ):
        return None
    return _number(environ, "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS", 100, largest=10_000) or 100


def _is_batch(environ: Mapping[str, str]) -> bool:
    """Return whether this is a batch transform, whose requests may take an hour."""
    return environ.get("SAGEMAKER_BATCH", "").lower() == "true"


def _number(environ: Mapping[str, str], name: str, default: int, *, largest: int) -> int:
    text = environ.get(name) or str(default)
    if not text.isdecimal() or int(text) > largest:
        raise UsageError(f"{name} is {text!r}; expected a number from 0 to {largest}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
