"""The process of a `KeptPredictor`: answers requests on standard input with the kept code of a plugin.

One line of JSON per message: first the classes; then, for each list of paths, one line per answer and an empty object
at the end. An error ends the answer to its request.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.errors import DatasetError, MlopsError
from mlops_core.installed.distributions import load_object
from mlops_core.use_cases.discovery import InstalledUseCase
from mlops_core.use_cases.manager import UseCase
from mlops_core.use_cases.model_code import CODE_FOLDER, PLUGIN_FILE

if TYPE_CHECKING:
    from typing import TextIO

    from mlops_core.predictors import Predictor


def main(code: Path, model: Path) -> None:
    """Load the model, then answer until standard input ends."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the plugin prints is not part of the protocol
    try:
        predictor = _load(code, model)
        _send(channel, {"classes": list(predictor.classes)})
    except Exception as error:  # noqa: BLE001  foreign code; the other process raises it
        _send(channel, {"error": _text(error)})
        return
    for line in sys.stdin:
        try:
            for answer in predictor.predict(map(Path, json.loads(line))):
                _send(channel, asdict(answer))
            _send(channel, {})
        except DatasetError as error:
            _send(channel, {"unusable": str(error)})
        except Exception as error:  # noqa: BLE001  as above
            _send(channel, {"error": _text(error)})


def _load(code: Path, model: Path) -> Predictor:
    sys.path.insert(0, str(code / CODE_FOLDER))
    installed = InstalledUseCase(**json.loads((code / PLUGIN_FILE).read_text(encoding="utf-8")))
    return UseCase(load_object(installed.target), installed=installed).load_predictor(model)


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, MlopsError) else f"{type(error).__name__}: {error}"


def _send(channel: TextIO, message: object) -> None:
    channel.write(json.dumps(message, default=float) + "\n")  # json refuses the numbers of numpy
    channel.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
