"""Predicts files and folders into one file: ``mlops predict --output``."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mlops_core.datasets.digests import digest_tree
from mlops_core.errors import UsageError
from mlops_core.runners.environment import usable_cores
from mlops_core.serving.batch.answers import BatchWorkers, FaultCause, FileAnswer, file_request
from mlops_core.serving.batch.inputs import BatchInputs, list_inputs
from mlops_core.serving.batch.journal import Journal
from mlops_core.serving.workers.answers import AnswerFormat, named_heading

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mlops_core.serving.models import ServedModel

_FORMATS = {".jsonl": AnswerFormat.JSON_LINES, ".csv": AnswerFormat.CSV}


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSummary:
    """What was written.

    Attributes:
        files: number of files that were answered or are at fault.
        samples: number of lines of answers.
        resumed: number of files that an earlier call had finished.
        faults: a line for each file that has no answer, with the cause.
        skipped: name of a hidden or tool entry -> number of files that were skipped with it.
        skipped_text: the same as one line.
    """

    files: int
    samples: int
    resumed: int
    faults: tuple[tuple[str, FaultCause], ...] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)
    skipped_text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchJob:
    """What is to be predicted, and where to.

    Attributes:
        arguments: paths of files and folders.
        output: the file; its suffix chooses the format, ``.jsonl`` or ``.csv``.
        workers: number of processes; None for one per core.
        is_resumed: continue an interrupted call.

    Example:
        >>> BatchJob(arguments=("clips",), output=Path("scores.jsonl")).kind.value
        'application/jsonlines'
    """

    arguments: tuple[str, ...]
    output: Path
    workers: int | None = None
    is_resumed: bool = False

    def __post_init__(self) -> None:
        """Check the suffix.

        Raises:
            UsageError: it chooses no format, or the path is a folder.
        """
        if self.output.suffix not in _FORMATS:
            raise UsageError(f"--output {self.output}: unknown suffix; expected one of {', '.join(_FORMATS)}")
        if self.output.is_dir():
            raise UsageError(f"--output {self.output} is a folder; name a file")
        if not self.output.parent.is_dir():
            raise UsageError(f"--output {self.output}: the folder {self.output.parent} does not exist; create it first")

    @property
    def kind(self) -> AnswerFormat:
        """The format of the output."""
        return _FORMATS[self.output.suffix]


def predict_folders(
    job: BatchJob, find_model: Callable[[], ServedModel], *, on_progress: Callable[[int, int], None]
) -> BatchSummary:
    """Predict files and folders into one file, which does not depend on the number of workers or on interruptions.

    Args:
        job: what is to be predicted.
        find_model: returns the model; called once the arguments have been checked.
        on_progress: called with the number of finished files and of all files.

    Raises:
        UsageError: the output exists, or the call that is to be resumed was another one.
        DatasetError: there are no files, or one was changed since the call that is to be resumed.
        StoreError: the output cannot be written.
        MlopsError: the model cannot be loaded, or its workers end again and again.
        KeyboardInterrupt: the call was interrupted, and can be resumed.
    """
    with Journal(job.output) as journal:
        if not job.is_resumed:
            journal.check_absent()
        inputs = list_inputs(job.arguments, output=job.output)
        model = find_model()
        asyncio.run(_predict(job, model, inputs, journal, on_progress))
        journal.complete()
        summary = BatchSummary(
            files=journal.finished,
            samples=journal.samples,
            resumed=journal.resumed,
            faults=(*((line, FaultCause.FILE) for line in inputs.missing), *journal.faults),
            skipped=inputs.skipped,
            skipped_text=inputs.skipped_text,
        )
        journal.discard()
        return summary


async def _predict(
    job: BatchJob,
    model: ServedModel,
    inputs: BatchInputs,
    journal: Journal,
    on_progress: Callable[[int, int], None],
) -> None:
    identity = _identity(model, job)
    journal.prepare(identity, inputs.files, is_resumed=job.is_resumed)
    async with BatchWorkers(model, size=job.workers or usable_cores()) as workers:
        journal.begin(identity, inputs.files, first_line=b"")
        waiting = inputs.files[journal.finished :]
        on_progress(journal.finished, len(inputs.files))
        requests = (file_request(path, name=_printable(path), kind=job.kind) for path in waiting)
        paths = iter(waiting)
        async with contextlib.aclosing(workers.answers(requests)) as answers:
            async for answer in answers:
                path = next(paths)
                is_csv = job.kind is AnswerFormat.CSV
                journal.add(path, _with_heading(answer, workers, journal, path=path) if is_csv else answer)
                on_progress(journal.finished, len(inputs.files))


def _with_heading(answer: FileAnswer, workers: BatchWorkers, journal: Journal, *, path: str) -> FileAnswer:
    """Return an answer with the heading before it if it is the first one, which tells the columns.

    An answer with other columns than those before is replaced by a fault.
    """
    if answer.fault:
        return answer
    heading = named_heading(workers.loaded.classes, has_objects=answer.has_objects)
    first = journal.first_bytes(len(heading))
    if not first:
        return replace(answer, body=heading + answer.body)
    if first != heading:
        fault = f"{_printable(path)}: some answers of the model are objects with boxes, and some are not; write .jsonl"
        return replace(answer, body=b"", samples=0, fault=fault, cause=FaultCause.MODEL)
    return answer


def _identity(model: ServedModel, job: BatchJob) -> dict[str, str]:
    """Return what decides the content of the output, besides the files."""
    from mlops_core.use_cases.discovery import find_use_case
    from mlops_core.use_cases.model_code import find_plugin_code

    installed = find_use_case(model.use_case)
    code = find_plugin_code(installed)
    return {
        "the version of mlops": importlib.metadata.version("mlops-usecases"),
        "the use case": model.use_case,
        "the plugin": f"{installed.distribution} {installed.version}",
        "the digest of the plugin's code": code.digest() if code else "",
        "the model": model.label,
        "the digest of the model": digest_tree(model.folder),
        "the folder of the kept code": str(model.code or ""),
        "the format": job.kind.value,
    }


def _printable(path: str) -> str:
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
