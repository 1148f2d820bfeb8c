"""The command of the serving image in a managed online deployment: serves the model that the service has mounted.

The service calls ``GET /ping`` for liveness and readiness and ``POST /invocations`` for predictions, on port 5001
(`PORT`). The model is the one folder below ``AZUREML_MODEL_DIR``; the use case is that of USECASE_NAME, which the image
sets. ``MLOPS_SERVE_WORKERS`` sets the number of worker processes (default: one per core).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core import MlopsError, UsageError
from mlops_core.runners import read_settings
from mlops_core.serving import ServeOptions, find_model, serve

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PORT = 5001
HEALTH_PATH, SCORING_PATH = "/ping", "/invocations"
MODEL_VARIABLE, PORT_VARIABLE, HOST_VARIABLE = "AZUREML_MODEL_DIR", "MLOPS_SERVE_PORT", "MLOPS_SERVE_HOST"
_TIMEOUT_S = 85.0
"""The service waits at most 90 s, where a deployment asks for it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the mounted model; return the exit code, after one line on standard error where it failed."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words:
            raise UsageError(f"this image serves a model and has no command '{words[0]}'")
        environ = read_settings().environ
        name = environ.get("USECASE_NAME")
        if not name:
            raise UsageError("USECASE_NAME is not set; set it to the use case of the model")
        model = find_model(name, f"{model_folder(environ)}{os.sep}")
        return int(serve(model, _options(environ)))
    except MlopsError as error:
        sys.stderr.write(f"mlops: error: {' '.join(str(error).split())}\n")
        return int(error.exit_code)


def model_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder of the model: ``AZUREML_MODEL_DIR``, or the one folder in it where it has nothing else.

    Raises:
        UsageError: the variable is not set, or the folder does not exist.
    """
    text = environ.get(MODEL_VARIABLE, "")
    folder = Path(text)
    if not text or not folder.is_dir():
        raise UsageError(f"{MODEL_VARIABLE}={text!r} is not a folder; expected that of a mounted model")
    entries = list(folder.iterdir())
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else folder


def _options(environ: Mapping[str, str]) -> ServeOptions:
    return ServeOptions(
        host=environ.get(HOST_VARIABLE) or "0.0.0.0",  # noqa: S104  the service connects from outside of the container
        port=_number(environ, PORT_VARIABLE, PORT),
        workers=_number(environ, "MLOPS_SERVE_WORKERS", 0) or None,
        timeout_s=_TIMEOUT_S,
    )


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    if not text.isdecimal() or int(text) > 65535:
        raise UsageError(f"{name} is {text!r}; expected a whole number")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
