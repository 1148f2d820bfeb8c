"""Lets worker processes predict files, and yields their answers in the order of the files.

The workers are those of ``mlops serve``. A worker that ends costs its file one retry; a file whose worker ends twice
is named, and the others are answered. Only a bounded number of answers waits for those before them.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, replace
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

from mlops_core.errors import DatasetError, ExitCode, MlopsError, PluginError, RunnerError, StepError
from mlops_core.names import with_path
from mlops_core.serving.refusals import RefusedRequestError
from mlops_core.serving.workers.pool import WorkerPool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping
    from pathlib import Path

    from mlops_core.serving.models import ServedModel
    from mlops_core.serving.workers.pool import LoadedModel

_ATTEMPTS = 2
_WINDOW = 16
"""Files per worker that may be answered before the first of them is."""
_LOST_IN_A_ROW = 5
"""Files in a row whose workers ended, after which the model or the machine is at fault rather than a file."""
_NO_LIMIT_S = 1e8


class FaultCause(StrEnum):
    """Why a file has no answer."""

    FILE = "file"
    MODEL = "model"
    WORKER = "worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileAnswer:
    """What the workers say about a file.

    Attributes:
        body: the encoded answer; empty if there is none.
        samples: number of samples in it.
        has_objects: the model finds objects, and these are its answers.
        fault: why there is no answer, in one line; empty if there is one.
        cause: of the fault.
        size: of the file in bytes, if its state was recorded.
        mtime_ns: when it was changed.
        sha256: of its content.
    """

    body: bytes = b""
    samples: int = 0
    has_objects: bool = False
    fault: str = ""
    cause: FaultCause | None = None
    size: int | None = None
    mtime_ns: int | None = None
    sha256: str = ""


class BatchWorkers:
    """The workers of a batch, as an asynchronous context manager: the model is loaded once it is entered."""

    def __init__(self, model: ServedModel, *, size: int, max_waiting: int = 0) -> None:
        """Prepare `size` workers for `model`; at least `max_waiting` requests may wait for one of them."""
        self._size = size
        self._max_waiting = max(size * _WINDOW, max_waiting)
        self._failure: asyncio.Future[None] | None = None
        self._model = model
        self._pool: WorkerPool | None = None

    async def __aenter__(self) -> Self:
        """Start the workers and wait until one has loaded the model.

        Raises:
            MlopsError: the model cannot be loaded.
        """
        self._failure = asyncio.get_running_loop().create_future()
        self._failure.add_done_callback(lambda future: future.exception())
        self._pool = WorkerPool(
            self._model,
            size=self._size,
            max_waiting=self._max_waiting,
            on_failure=self._fail,
            is_tolerant=True,
        )
        self._pool.start()
        try:
            await self._until(asyncio.create_task(self._pool.first_ready.wait()))
        except BaseException:
            await self._pool.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the workers."""
        if self._pool is not None:
            await self._pool.stop()

    @property
    def loaded(self) -> LoadedModel:
        """What the workers report about the model."""
        if self._pool is None or self._pool.loaded is None:
            raise RuntimeError("the workers have not been started")
        return self._pool.loaded

    async def answers(self, requests: Iterable[Mapping[str, Any]]) -> AsyncGenerator[FileAnswer, None]:
        """Yield an answer for each request, in order.

        Args:
            requests: what the workers are sent; each names its file.

        Raises:
            StepError: the workers of several files in a row ended.
            MlopsError: the model cannot be loaded again.
        """
        tasks: deque[asyncio.Task[FileAnswer]] = deque()
        lost = 0
        try:
            for request in requests:
                if len(tasks) >= self._size * _WINDOW:
                    lost = _counted(answer := await self._until(tasks.popleft()), lost)
                    yield answer
                tasks.append(asyncio.create_task(self._answer(request)))
            while tasks:
                lost = _counted(answer := await self._until(tasks.popleft()), lost)
                yield answer
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def ask(self, request: Mapping[str, Any], *, timeout_s: float = _NO_LIMIT_S) -> FileAnswer:
        """Return the answer to one request.

        Raises:
            RefusedRequestError: the worker ended, or there was no answer in time.
        """
        if self._pool is None:
            raise RuntimeError("the workers have not been started")
        reply = await self._pool.submit(request, deadline=time.monotonic() + timeout_s)
        header = reply.header
        state = {name: header[name] for name in ("size", "mtime_ns", "sha256") if name in header}
        if header["status"] == HTTPStatus.OK:
            has_objects = "objects" in header
            return FileAnswer(body=reply.body, samples=header["samples"], has_objects=has_objects, **state)
        cause = FaultCause.FILE if header["status"] == HTTPStatus.UNPROCESSABLE_ENTITY else FaultCause.MODEL
        return FileAnswer(fault=str(header["error"]), cause=cause, **state)

    async def _answer(self, request: Mapping[str, Any]) -> FileAnswer:
        for _ in range(_ATTEMPTS):
            try:
                answer = await self.ask(request)
            except RefusedRequestError as error:
                if error.status != HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise
                continue
            if answer.cause is FaultCause.MODEL:
                return FileAnswer(fault=f"{request['name']}: {answer.fault}", cause=answer.cause)
            return replace(answer, fault=with_path(answer.fault, str(request["name"])))
        fault = (
            f"{request['name']} ended its worker process {_ATTEMPTS} times; the machine may be out of memory, or the "
            "model or a library is at fault"
        )
        return FileAnswer(fault=fault, cause=FaultCause.WORKER)

    async def _until(self, task: asyncio.Task[Any]) -> Any:
        """Return the result of a task, unless the pool fails before."""
        if self._failure is None:
            raise RuntimeError("the workers have not been started")
        try:
            await asyncio.wait({task, self._failure}, return_when=asyncio.FIRST_COMPLETED)
            if self._failure.done():
                self._failure.result()
            return await task
        finally:
            task.cancel()

    def _fail(self, message: str, code: ExitCode) -> None:
        if self._failure is not None and not self._failure.done():
            self._failure.set_exception(_error(message, code))


def file_request(path: str | Path, *, name: str, kind: str) -> dict[str, Any]:
    """Return the request for a file whose answer names it, with its state."""
    return {
        "path": str(path),
        "name": name,
        "format": kind,
        "has_heading": False,
        "observed": "",
        "is_recorded": True,
    }


def _counted(answer: FileAnswer, lost: int) -> int:
    if answer.cause is not FaultCause.WORKER:
        return 0
    if lost + 1 >= _LOST_IN_A_ROW:
        raise StepError(
            f"{answer.fault}; so did the {lost} files before it, so nothing more is predicted: try fewer --workers, "
            "then --resume"
        )
    return lost + 1


def _error(message: str, code: ExitCode) -> MlopsError:
    kinds: dict[ExitCode, type[MlopsError]] = {ExitCode.DATASET: DatasetError, ExitCode.PLUGIN: PluginError}
    return kinds.get(code, RunnerError)(message)
