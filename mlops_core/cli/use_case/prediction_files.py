"""``mlops predict --output``: the answers for files and folders in one file, with progress and a summary."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.cli.output import print_json
from mlops_core.cli.streams import echo_line, is_interactive
from mlops_core.errors import DatasetError, MlopsError, PluginError, StepError, UsageError
from mlops_core.quantities import counted
from mlops_core.settings import expand_home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import click

    from mlops_core.serving.batch.folders import BatchSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchArguments:
    """The part of the command line that belongs to ``--output``.

    Attributes:
        files: paths of files and folders.
        output: the file to write.
        workers: number of processes; None for one per core.
        is_resumed: continue an interrupted call.
    """

    files: tuple[str, ...]
    output: str
    workers: int | None
    is_resumed: bool


def require_output(*, workers: int | None, resume: bool) -> None:
    """Refuse options that need ``--output``.

    Raises:
        UsageError: one of them is set.
    """
    for name, is_set in (("workers", workers is not None), ("resume", resume)):
        if is_set:
            raise UsageError(f"--{name} needs --output FILE, which is not set")


def refuse_with_output(ctx: click.Context, *, endpoint: str | None) -> None:
    """Refuse options that ``--output`` excludes.

    Raises:
        UsageError: one of them is set.
    """
    from click.core import ParameterSource

    if endpoint is not None:
        raise UsageError(
            "--output cannot be combined with --endpoint: leave --endpoint out to predict with a model that is here, "
            "or leave --output out, name files and redirect the answers of the server (--json FILE... > answers.json)"
        )
    if ctx.get_parameter_source("top") is not ParameterSource.DEFAULT:
        raise UsageError("--top cannot be combined with --output, which writes all scores; leave one out")


def predict_into_file(
    arguments: BatchArguments, *, use_case: str, model: str | None, ctx: click.Context, as_json: bool
) -> None:
    """Predict files and folders into a file, and print a summary.

    Raises:
        DatasetError: files cannot be used; each is named, and the others are in the output.
        PluginError: the model failed for some files, likewise.
        StepError: worker processes ended for some files, likewise.
        MlopsError: nothing was finished; what was begun can be resumed.
    """
    from mlops_core.serving.batch.folders import BatchJob, predict_folders
    from mlops_core.serving.models import find_model

    job = BatchJob(
        arguments=arguments.files,
        output=expand_home(Path(arguments.output), what="--output"),
        workers=arguments.workers,
        is_resumed=arguments.is_resumed,
    )
    try:
        with _progress() as show:
            summary = predict_folders(
                job, lambda: find_model(use_case, model, workspace=ctx.obj["workspace"]), on_progress=show
            )
    except KeyboardInterrupt:
        echo_line(f"{job.output} is not complete; continue with --resume", err=True)
        raise
    if as_json:
        print_json(_to_json(summary, job.output))
    else:
        resumed = f", {summary.resumed} of them by an earlier call" if summary.resumed else ""
        answered = f"{counted(summary.samples, 'answer')} for {counted(summary.files, 'file')}{resumed}"
        echo_line(f"{job.output}: {answered}")
        if summary.skipped_text:
            echo_line(summary.skipped_text, err=True)
    _raise_faults(summary)


def _raise_faults(summary: BatchSummary) -> None:
    from mlops_core.serving.batch.answers import FaultCause

    if not summary.faults:
        return
    causes = {cause for _, cause in summary.faults}
    kind: type[MlopsError] = DatasetError
    if FaultCause.MODEL in causes:
        kind = PluginError
    elif FaultCause.WORKER in causes:
        kind = StepError
    lines = [line for line, _ in summary.faults]
    if len(lines) == 1:
        raise kind(lines[0])
    for line in lines:
        echo_line(line, err=True)
    raise kind(f"{len(lines)} of {summary.files} files have no answer; each is named above")


def _to_json(summary: BatchSummary, output: Path) -> dict[str, object]:
    return {
        "output": str(output),
        "files": summary.files,
        "samples": summary.samples,
        "resumed": summary.resumed,
        "skipped": dict(summary.skipped),
        "faults": [{"fault": line, "cause": cause.value} for line, cause in summary.faults],
    }


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on a terminal."""
    from rich.progress import MofNCompleteColumn, Progress

    from mlops_core.cli.terminal import EscapingConsole

    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    console = EscapingConsole(sys.stderr)
    with Progress(*columns, console=console, transient=True, disable=not is_interactive(sys.stderr)) as progress:
        bar = progress.add_task("files", total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)
