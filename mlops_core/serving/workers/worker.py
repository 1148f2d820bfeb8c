"""A worker process of ``mlops serve``: holds the model, and answers one request after another.

It is started with the number of a socket, over which it receives an order that names the model, then requests that
name a file each (`mlops_core.serving.workers.framing`). It ends when the front closes the socket or ends itself.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_core.datasets.digests import file_digest
from mlops_core.datasets.tree_walk import file_state
from mlops_core.errors import DatasetError, ExitCode, MlopsError
from mlops_core.evaluation.reference_statistics import DESCRIPTION
from mlops_core.predictors import DescribingPredictor
from mlops_core.processes.confinement import end_with_parent
from mlops_core.serving.workers.answers import AnswerFormat, encoded, summary
from mlops_core.serving.workers.framing import packed, read_message

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mlops_core.predictors import ContentType, Predictor, SampleScores


def main(descriptor: int, parent: int) -> None:
    """Load the model, report that, then answer until the front closes the socket."""
    end_with_parent()
    if os.getppid() != parent:  # it ended before this process could ask to end with it
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the front decides when a worker ends
    os.dup2(2, 1)  # what the plugin prints must not look like a line of the log
    with socket.socket(fileno=descriptor) as channel, channel.makefile("rb") as requests:
        order = read_message(requests)
        if order is None:
            return
        begun = time.monotonic()
        try:
            predictor, types = _load(order[0])
            _warm_up(predictor)
        except Exception as error:  # noqa: BLE001  foreign code; the front reports it
            _report_failure(channel, error)
            return
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the front has gone
            channel.sendall(packed(_readiness(predictor, types, load_s=time.monotonic() - begun)))
            while (request := read_message(requests)) is not None:
                channel.sendall(_answer(predictor, request[0]))


def _load(order: Mapping[str, Any]) -> tuple[Predictor, tuple[ContentType, ...]]:
    from mlops_core.api import load_other_version
    from mlops_core.use_cases.manager import load_use_case

    use_case = load_use_case(order["use_case"])
    types, model = use_case.content_types(), Path(order["model"])
    if not order["advice"]:
        return use_case.load_predictor(model), types
    code = Path(order["code"]) if order["code"] else None
    return load_other_version(use_case, model, code=code, advice=order["advice"]), types


def _warm_up(predictor: Predictor) -> None:
    warm_up = getattr(predictor, "warm_up", None)
    if warm_up is not None:
        warm_up()


def _readiness(predictor: Predictor, types: Sequence[ContentType], *, load_s: float) -> dict[str, Any]:
    return {
        "classes": list(predictor.classes),
        "features": _described(predictor),
        "content_types": [
            {"media_type": each.media_type, "suffix": each.suffix, "has_rows": each.has_rows} for each in types
        ],
        "load_s": load_s,
    }


def _report_failure(channel: socket.socket, error: Exception) -> None:
    is_ours = isinstance(error, MlopsError)
    if not is_ours:
        traceback.print_exc()
    code = error.exit_code if isinstance(error, MlopsError) else ExitCode.PLUGIN
    with contextlib.suppress(OSError):
        channel.sendall(packed({"failure": _one_line(error), "code": int(code)}))


def _answer(predictor: Predictor, request: Mapping[str, Any]) -> bytes:
    if request.get("is_recorded"):
        return _recorded_answer(predictor, request)
    return packed(*_answered(predictor, request))


def _recorded_answer(predictor: Predictor, request: Mapping[str, Any]) -> bytes:
    """Answer with the state and the digest of the file, which must not change in the meantime."""
    path = Path(request["path"])
    try:
        state, digest = file_state(path), file_digest(path)
        header, body = _answered(predictor, request)
        if file_state(path) != state:
            return packed({"status": 422, "error": f"{request['name']} was changed while it was predicted"})
    except OSError as error:
        return packed({"status": 422, "error": f"{request['name']} cannot be read: {error.strerror}"})
    return packed({**header, "size": state.size, "mtime_ns": state.mtime_ns, "sha256": digest}, body)


def _answered(predictor: Predictor, request: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
    path, begun = Path(request["path"]), time.monotonic()
    try:
        answers, classes = list(_answers(predictor, path, observed=str(request["observed"]))), predictor.classes
        body = encoded(
            answers,
            classes,
            kind=AnswerFormat(request["format"]),
            has_heading=bool(request["has_heading"]),
            name=request.get("name"),
        )
        facts = summary(answers, classes, observed=str(request["observed"]))
    except DatasetError as error:
        message = str(error) if "name" in request else _without_path(str(error), path)
        return {"status": 422, "error": message, "model_s": time.monotonic() - begun}, b""
    except Exception as error:  # noqa: BLE001  foreign code; the caller gets one line, the log everything
        traceback.print_exc()
        message = f"the model failed: {type(error).__name__}{_cause(error, request)}"
        return {"status": 500, "error": message, "model_s": time.monotonic() - begun}, b""
    return {"status": 200, **facts, "model_s": time.monotonic() - begun}, body


def _cause(error: Exception, request: Mapping[str, Any]) -> str:
    """Return the text of an error for a caller who reads standard error, too; others may not know what is in it."""
    return f": {' '.join(str(error).split())}" if "name" in request else "; see the server's log"


def _answers(predictor: Predictor, path: Path, *, observed: str) -> Iterator[SampleScores]:
    """Yield the answers, each with its description where a drift detector wants it."""
    if observed == DESCRIPTION and isinstance(predictor, DescribingPredictor):
        return predictor.describe([path])
    return predictor.predict([path])


def _described(predictor: Predictor) -> list[str]:
    return list(predictor.features) if isinstance(predictor, DescribingPredictor) else []


def _without_path(message: str, path: Path) -> str:
    """Return a message about the file of a request without the file's name, which the caller does not know."""
    return message.replace(str(path), "the request body").replace(path.name, "the request body")


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, MlopsError) else f"the model cannot be loaded: {type(error).__name__}: {text}"


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
