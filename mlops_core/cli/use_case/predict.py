"""``mlops predict``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from mlops_core.cli.native_messages import without_native_notes
from mlops_core.cli.options import HomePath, chosen_use_case, json_option, use_case_option
from mlops_core.cli.output import print_json, print_table
from mlops_core.cli.streams import echo_line
from mlops_core.cli.use_case.prediction_files import (
    BatchArguments,
    predict_into_file,
    refuse_with_output,
    require_output,
)
from mlops_core.cli.use_case.prediction_outputs import STANDARD_INPUT, OutputCommand, chosen_output, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mlops_core.cli.use_case.prediction_outputs import ChosenOutput
    from mlops_core.predictors import Predictor, SampleScores
    from mlops_core.serving.client import Client

_BATCH = 64
"""Number of files per call of a predictor."""


@click.command("predict", cls=OutputCommand)
@use_case_option
@click.option(
    "--model",
    metavar="MODEL",
    help="Version number or alias such as 'best' (default: the newest that is not rejected).",
)
@click.option("--endpoint", metavar="URL", help="Ask a server that mlops serve has started, instead of a model here.")
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Number of classes, or of objects, per file.",
)
@click.option("--output", metavar="FILE", help="Write all scores to this .jsonl or .csv file; FILES may be folders.")
@click.option(
    "--workers", type=click.IntRange(min=1), metavar="N", help="Processes with --output (default: one per core)."
)
@click.option("--resume", is_flag=True, help="Continue an interrupted call with the same --output.")
@json_option
@click.argument("files", nargs=-1, required=True, type=HomePath(path_type=str))
@click.pass_context
def command(
    ctx: click.Context,
    *,
    usecase: str | None,
    model: str | None,
    endpoint: str | None,
    top: int,
    output: str | None,
    workers: int | None,
    resume: bool,
    as_json: bool,
    files: tuple[str, ...],
) -> None:
    """Predict FILES with a registered model: the best classes of each with their scores, or a number with its interval.

    A use case may add other kinds of output; mlops predict --usecase NAME --help shows them.

    Only the registered artifact is used; neither the data set nor the run is needed. With --endpoint, the files are
    sent to a server, and neither the use case nor its model needs to be here.

    With --output, the answers go to a file, also those of all files in folders, and several processes predict. The file
    appears when it is complete; an interrupted call is continued with --resume.
    """
    from pathlib import Path

    from mlops_core.api import load_model
    from mlops_core.errors import DatasetError

    chosen = chosen_output(ctx, as_json=as_json, exclusive=("top", "output"))
    if output is None:
        require_output(workers=workers, resume=resume)
    else:
        refuse_with_output(ctx, endpoint=endpoint)
        job = BatchArguments(files=files, output=output, workers=workers, is_resumed=resume)
        predict_into_file(job, use_case=chosen_use_case(usecase), model=model, ctx=ctx, as_json=as_json)
        return
    faults: list[str] = []
    reads_input = chosen is not None and chosen.output.reads_standard_input
    paths = _existing([file for file in files if not (reads_input and file == STANDARD_INPUT)], faults)
    usable = [file for file in files if (reads_input and file == STANDARD_INPUT) or Path(file) in paths]
    if not usable:
        _raise_faults(faults, of=len(files))
    if endpoint is not None:
        with _client(endpoint, model=model, output=chosen) as client:
            _print_answers(client, paths, faults, top=top, as_json=as_json, of=len(files), batch=1)
        return
    with without_native_notes():
        predictor = load_model(chosen_use_case(usecase), model, workspace=ctx.obj["workspace"])
    if chosen:
        _check_own_code(predictor, option=chosen.output.name)
        try:
            chosen.write(predictor, usable)
        except DatasetError as error:
            faults.append(str(error))
        _raise_faults(faults, of=len(files))
        return
    _print_answers(predictor, paths, faults, top=top, as_json=as_json, of=len(files))


def _client(endpoint: str, *, model: str | None, output: ChosenOutput | None) -> Client:
    """Return a client of a server.

    Raises:
        UsageError: the address is wrong, or an option needs a model here.
    """
    from mlops_core.errors import UsageError
    from mlops_core.serving.client import Client

    if model is not None:
        raise UsageError("--model cannot be combined with --endpoint: the server has chosen its model; leave one out")
    if output is not None:
        raise UsageError(f"--{output.output.name} needs a model here; leave --endpoint out")
    return Client(endpoint)


def _print_answers(
    predictor: Predictor,
    paths: Sequence[Path],
    faults: list[str],
    *,
    top: int,
    as_json: bool,
    of: int,
    batch: int = _BATCH,
) -> None:
    """Print the answers, then raise an error for what cannot be used."""
    from mlops_core.predictors import Detection

    answers = list(_with_progress(predictor, paths, faults, size=batch))
    classes = predictor.classes
    if not answers:
        _raise_faults(faults, of=of)
    if as_json:
        print_json([_to_json(answer, classes) for answer in answers])
    elif any(isinstance(answer, Detection) for answer in answers):
        rows = [row for answer in answers for row in _object_rows(answer, top)]
        print_table(("file", "class", "score", "left", "top", "right", "bottom"), rows)
    elif classes:
        print_table(("file", "class", "score"), [_row(answer, classes, top) for answer in answers])
    else:
        print_table(("file", "sample", "value", "interval"), [_number_row(answer) for answer in answers])
    _raise_faults(faults, of=of)


def _check_own_code(predictor: Predictor, *, option: str) -> None:
    """Refuse an output of the present plugin for a model that another version of it reads."""
    from mlops_core.errors import PluginError
    from mlops_core.use_cases.model_code import KeptPredictor

    if isinstance(predictor, KeptPredictor):
        raise PluginError(f"--{option} needs the version of the plugin that made the model: {predictor.advice}")


def _existing(files: Sequence[str], faults: list[str]) -> list[Path]:
    """Return the files that exist; add a line to `faults` for each that does not."""
    from pathlib import Path

    paths = [Path(file) for file in files]
    faults += [
        f"{printable(path)} is a folder; name its files, or add --output FILE.jsonl to predict all of them"
        if path.is_dir()
        else f"no file {printable(path)}"
        for path in paths
        if not path.is_file()
    ]
    return [path for path in paths if path.is_file()]


def _with_progress(
    predictor: Predictor, paths: Sequence[Path], faults: list[str], *, size: int
) -> Iterator[SampleScores]:
    """Yield the answers, with a progress bar on a terminal when there is more than one file.

    Args:
        predictor: the loaded model.
        paths: the files.
        faults: receives a line for each file that cannot be used; the others are still predicted.
        size: number of files per call of the predictor.
    """
    from rich.progress import Progress

    from mlops_core.cli.terminal import EscapingConsole

    is_shown = len(paths) > 1 and sys.stderr.isatty()
    with Progress(console=EscapingConsole(sys.stderr), transient=True, disable=not is_shown) as progress:
        bar = progress.add_task("files", total=len(paths))
        for start in range(0, len(paths), size):
            batch = paths[start : start + size]
            yield from _answers(predictor, batch, faults)
            progress.advance(bar, len(batch))


def _answers(predictor: Predictor, batch: Sequence[Path], faults: list[str]) -> Iterator[SampleScores]:
    from mlops_core.errors import DatasetError
    from mlops_core.names import with_path

    try:
        yield from list(predictor.predict(batch))
    except DatasetError as error:
        if len(batch) == 1:
            faults.append(with_path(str(error), str(batch[0])))
            return
        for path in batch:  # find the file that cannot be used and predict the others
            yield from _answers(predictor, [path], faults)


def _raise_faults(faults: Sequence[str], *, of: int) -> None:
    from mlops_core.errors import DatasetError

    if len(faults) == 1:
        raise DatasetError(faults[0])
    for fault in faults:
        echo_line(fault, err=True)
    if faults:
        raise DatasetError(f"{len(faults)} of {of} files cannot be used; each is named above")


def _to_json(answer: SampleScores, classes: Sequence[str]) -> dict[str, object]:
    """Return an answer as JSON types; with sample and interval only if it has them."""
    from mlops_core.predictors import Detection

    document: dict[str, object] = {"path": printable(answer.path)}
    if answer.sample:
        document["sample"] = answer.sample
    if isinstance(answer, Detection):
        document["objects"] = answer.objects()
        return document
    document["scores"] = dict(zip(classes, answer.scores, strict=True)) if classes else list(answer.scores)
    if answer.interval:
        document["interval"] = asdict(answer.interval)
    return document


def _object_rows(answer: SampleScores, top: int) -> list[tuple[str, ...]]:
    """Return a row for each of the best objects in a picture; one row of dashes if there is none."""
    from mlops_core.predictors import Detection

    name = printable(answer.path)
    if not isinstance(answer, Detection) or not answer.scores:
        return [(name, *("-",) * 6)]
    ranked = sorted(range(len(answer.scores)), key=lambda index: -answer.scores[index])[:top]
    return [
        (name, answer.labels[index], f"{answer.scores[index]:.3f}", *(f"{value:.1f}" for value in answer.boxes[index]))
        for index in ranked
    ]


def _number_row(answer: SampleScores) -> tuple[str, str, str, str]:
    interval = answer.interval
    text = f"{interval.low:.6g} to {interval.high:.6g} ({interval.level:.0%})" if interval else "-"
    return printable(answer.path), answer.sample or "-", " ".join(f"{value:.6g}" for value in answer.scores), text


def _row(answer: SampleScores, classes: Sequence[str], top: int) -> tuple[str, str, str]:
    ranked = sorted(zip(answer.scores, classes, strict=True), key=lambda pair: -pair[0])[:top]
    return (
        printable(answer.path),
        ", ".join(name for _, name in ranked),
        ", ".join(f"{score:.3f}" for score, _ in ranked),
    )
