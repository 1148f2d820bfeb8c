"""The function of a batch-prediction step: each file of the input ``data`` gives a file ``<name>.out`` of answers.

The requests are those that an engine's batch job would send to ``mlops serve``, and the workers are the server's, so
that the files are equal to the byte.
"""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

from mlops_core.errors import DatasetError, MlopsError, PluginError, StepError
from mlops_core.pipeline import PREDICTIONS_OUTPUT
from mlops_core.runners.environment import usable_cores
from mlops_core.serving.batch.answers import BatchWorkers, FaultCause, FileAnswer
from mlops_core.serving.batch.records import MIB, Payload, RecordRules, assembled, payloads
from mlops_core.serving.front.negotiation import request_type, wanted_answer
from mlops_core.serving.models import ServedModel
from mlops_core.serving.refusals import RefusedRequestError
from mlops_core.serving.workers.answers import AnswerFormat

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlops_core.pipeline import BatchPrediction
    from mlops_core.serving.front.negotiation import WantedAnswer
    from mlops_core.steps.context import StepContext

SUFFIX = ".out"


def predict(context: StepContext) -> None:
    """Predict the files of the input ``data`` with the model of the input ``model``.

    Raises:
        DatasetError: a file cannot be predicted; the first one is named, and nothing is kept.
        PluginError: the plugin does not read or write the content types of the step, the model failed, or it finds
            objects of which the answers to lines would not tell whose they are.
        StepError: a request took too long, or ended its worker process.
    """
    if context.batch is None:
        raise StepError("only a step of the kind 'batch' can be carried out by this function")
    asyncio.run(_BatchStep(context, context.batch).run())


def rules_of(batch: BatchPrediction) -> RecordRules:
    """Return how files become requests."""
    return RecordRules(
        by_line=batch.split == "line",
        is_multi=batch.strategy == "multi",
        ends_lines=batch.assemble == "line",
        limit_bytes=batch.max_payload_mb * MIB,
    )


class _BatchStep:
    """One execution of a batch-prediction step."""

    def __init__(self, context: StepContext, batch: BatchPrediction) -> None:
        self._context = context
        self._batch = batch
        self._rules = rules_of(batch)
        self._target = context.output(PREDICTIONS_OUTPUT)
        self._done = 0
        self._errors: dict[int, MlopsError] = {}

    async def run(self) -> None:
        data = self._context.input("data")
        files = sorted(path for path in data.rglob("*") if path.is_file())
        if not files:
            raise DatasetError(f"{data} holds no files to predict")
        folder = self._context.input("model")
        model = ServedModel(use_case=self._context.use_case, folder=folder, label=str(folder))
        at_once = self._batch.max_concurrent
        size = min(at_once, usable_cores())
        async with BatchWorkers(model, size=size, max_waiting=at_once) as workers:
            sender = _Sender(self._context, self._batch, workers)
            queue = iter(enumerate(files))
            count = min(at_once, len(files))
            await asyncio.gather(*(self._predict_each(queue, sender, of=len(files)) for _ in range(count)))
        if self._errors:
            raise self._errors[min(self._errors)]

    async def _predict_each(self, queue: Iterator[tuple[int, Path]], sender: _Sender, *, of: int) -> None:
        """Predict the next file of the queue until it is empty or a file has failed.

        Files that have begun are finished, so that the error is that of the first file that cannot be predicted.
        """
        data = self._context.input("data")
        for number, path in queue:
            try:
                await self._predict(path, sender, name=path.relative_to(data).as_posix())
            except MlopsError as error:
                self._errors[number] = error
            if self._errors:
                return
            self._done += 1
            self._context.progress("file", self._done, of)

    async def _predict(self, path: Path, sender: _Sender, *, name: str) -> None:
        target = self._target / f"{name}{SUFFIX}"
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as stream:
            for payload in payloads(path, self._rules, name=name):
                answer = await sender.answer(payload, name=name)
                stream.write(assembled(answer, payload, self._rules, name=name))


class _Sender:
    """Sends requests to the workers, as a server would after the checks of its front."""

    def __init__(self, context: StepContext, batch: BatchPrediction, workers: BatchWorkers) -> None:
        self._batch = batch
        self._workers = workers
        self._scratch = context.scratch
        self._count = 0
        try:
            self._wanted: WantedAnswer = wanted_answer(batch.accept)
            self._suffix = request_type(batch.content_type, workers.loaded.content_types).suffix
        except RefusedRequestError as error:
            raise PluginError(f"batch prediction: {error}") from error

    async def answer(self, payload: Payload, *, name: str) -> bytes:
        """Return the answer to a request; `name` is that of the file, for messages."""
        self._count += 1
        body = self._scratch / f"body-{self._count}{self._suffix}"
        body.write_bytes(payload.body)
        try:
            for attempts_left in reversed(range(self._batch.retries + 1)):
                answer = await self._ask(body)
                if not answer.fault or answer.cause is FaultCause.FILE or not attempts_left:
                    break
        finally:
            body.unlink()
        if answer.fault:
            raise _error(answer, name=name)
        if answer.has_objects and payload.lines is not None and self._wanted.format is AnswerFormat.CSV:
            raise PluginError(
                f"{name}: text/csv has a line per object, which does not tell whose it is if lines are the records; "
                "set accept to application/jsonlines"
            )
        return answer.body

    async def _ask(self, body: Path) -> FileAnswer:
        request = {
            "path": str(body),
            "format": self._wanted.format,
            "has_heading": self._wanted.has_heading,
            "observed": "",
        }
        begun = time.monotonic()
        try:
            return await self._workers.ask(request, timeout_s=self._batch.timeout_s)
        except RefusedRequestError as error:
            is_late = error.status == HTTPStatus.GATEWAY_TIMEOUT or time.monotonic() - begun >= self._batch.timeout_s
            fault = f"no answer after {self._batch.timeout_s} s" if is_late else f"not accepted by a worker: {error}"
            if error.status == HTTPStatus.INTERNAL_SERVER_ERROR:
                fault = str(error)
            return FileAnswer(fault=fault, cause=FaultCause.WORKER)


def _error(answer: FileAnswer, *, name: str) -> MlopsError:
    kinds: dict[FaultCause | None, type[MlopsError]] = {FaultCause.FILE: DatasetError, FaultCause.MODEL: PluginError}
    return kinds.get(answer.cause, StepError)(f"{name}: {answer.fault}")
