"""``mlops predict``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from mlops_core.cli.native_messages import without_native_notes
from mlops_core.cli.options import chosen_use_case, json_option, use_case_option
from mlops_core.cli.output import print_json, print_table
from mlops_core.cli.use_case.prediction_outputs import STANDARD_INPUT, OutputCommand, chosen_output, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mlops_core.predictors import Predictor, SampleScores

_BATCH = 64
"""Number of files per call of a predictor."""


@click.command("predict", cls=OutputCommand)
@use_case_option
@click.option("--model", metavar="MODEL", help="Version number or alias such as 'best' (default: the newest).")
@click.option("--top", type=click.IntRange(min=1), default=1, show_default=True, help="Number of classes per file.")
@json_option
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=str))
@click.pass_context
def command(
    ctx: click.Context, *, usecase: str | None, model: str | None, top: int, as_json: bool, files: tuple[str, ...]
) -> None:
    """Predict FILES with a registered model: the best classes of each with their scores, or a number with its interval.

    A use case may add other kinds of output; mlops predict --usecase NAME --help shows them.

    Only the registered artifact is used; neither the data set nor the run is needed.
    """
    from pathlib import Path

    from mlops_core.api import load_model
    from mlops_core.errors import DatasetError

    output = chosen_output(ctx, as_json=as_json, exclusive=("top",))
    faults: list[str] = []
    reads_input = output is not None and output.output.reads_standard_input
    paths = _existing([file for file in files if not (reads_input and file == STANDARD_INPUT)], faults)
    usable = [file for file in files if (reads_input and file == STANDARD_INPUT) or Path(file) in paths]
    if not usable:
        _raise_faults(faults, of=len(files))
    with without_native_notes():
        predictor = load_model(chosen_use_case(usecase), model, workspace=ctx.obj["workspace"])
    if output:
        try:
            output.write(predictor, usable)
        except DatasetError as error:
            faults.append(str(error))
        _raise_faults(faults, of=len(files))
        return
    answers = list(_with_progress(predictor, paths, faults))
    classes = predictor.classes
    if as_json:
        print_json([_to_json(answer, classes) for answer in answers])
    elif classes:
        print_table(("file", "class", "score"), [_row(answer, classes, top) for answer in answers])
    else:
        print_table(("file", "sample", "value", "interval"), [_number_row(answer) for answer in answers])
    _raise_faults(faults, of=len(files))


def _existing(files: Sequence[str], faults: list[str]) -> list[Path]:
    """Return the files that exist; add a line to `faults` for each that does not."""
    from pathlib import Path

    paths = [Path(file) for file in files]
    faults += [
        f"{printable(path)} is a folder; expected its files" if path.is_dir() else f"no file {printable(path)}"
        for path in paths
        if not path.is_file()
    ]
    return [path for path in paths if path.is_file()]


def _with_progress(predictor: Predictor, paths: Sequence[Path], faults: list[str]) -> Iterator[SampleScores]:
    """Yield the answers, with a progress bar on a terminal when there is more than one file.

    Args:
        predictor: the loaded model.
        paths: the files.
        faults: receives a line for each file that cannot be used; the others are still predicted.
    """
    from rich.console import Console
    from rich.progress import Progress

    is_shown = len(paths) > 1 and sys.stderr.isatty()
    with Progress(console=Console(stderr=True), transient=True, disable=not is_shown) as progress:
        bar = progress.add_task("files", total=len(paths))
        for start in range(0, len(paths), _BATCH):
            batch = paths[start : start + _BATCH]
            yield from _answers(predictor, batch, faults)
            progress.advance(bar, len(batch))


def _answers(predictor: Predictor, batch: Sequence[Path], faults: list[str]) -> Iterator[SampleScores]:
    from mlops_core.errors import DatasetError

    try:
        yield from list(predictor.predict(batch))
    except DatasetError as error:
        if len(batch) == 1:
            faults.append(str(error))
            return
        for path in batch:  # find the file that cannot be used and predict the others
            yield from _answers(predictor, [path], faults)


def _raise_faults(faults: Sequence[str], *, of: int) -> None:
    from mlops_core.errors import DatasetError

    if len(faults) == 1:
        raise DatasetError(faults[0])
    for fault in faults:
        click.echo(fault, err=True)
    if faults:
        raise DatasetError(f"{len(faults)} of {of} files cannot be used; each is named above")


def _to_json(answer: SampleScores, classes: Sequence[str]) -> dict[str, object]:
    """Return an answer as JSON types; with sample and interval only if it has them."""
    document: dict[str, object] = {"path": printable(answer.path)}
    if answer.sample:
        document["sample"] = answer.sample
    document["scores"] = dict(zip(classes, answer.scores, strict=True)) if classes else list(answer.scores)
    if answer.interval:
        document["interval"] = asdict(answer.interval)
    return document


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
