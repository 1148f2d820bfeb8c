"""``mlops predict``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from mlops_core.cli.native_messages import without_native_notes
from mlops_core.cli.options import chosen_use_case, json_option, use_case_option
from mlops_core.cli.output import print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mlops_core.predictors import Predictor, SampleScores

_BATCH = 64
"""Files that a predictor is asked about at once."""


@click.command("predict")
@use_case_option
@click.option("--model", metavar="MODEL", help="A version's number or an alias such as 'best' (default: the newest).")
@click.option("--top", type=click.IntRange(min=1), default=1, show_default=True, help="Classes to show for each file.")
@click.option(
    "--events",
    "form",
    type=click.Choice(("table", "json", "audacity")),
    help="Find events in long recordings; '-' listens to standard input (WAV).",
)
@click.option("--threshold", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="Score of an event.")
@click.option("--shortest", type=click.FloatRange(min=0), default=0.0, help="Leave out events of fewer seconds.")
@click.option("--raw", type=click.IntRange(min=1), metavar="RATE", help="Standard input is 16-bit mono, no header.")
@click.option("--picture", metavar="PNG", help="Draw the recording and its events there.")
@json_option
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=str))
@click.pass_obj
def command(
    context: dict[str, str | None],
    *,
    usecase: str | None,
    model: str | None,
    top: int,
    form: str | None,
    threshold: float,
    shortest: float,
    raw: int | None,
    picture: str | None,
    as_json: bool,
    files: tuple[str, ...],
) -> None:
    """Ask a registered model about FILES: the best classes of each with their scores, or a number with its interval.

    Only the registered artifact is used: neither data set nor run are needed.
    """
    from mlops_core.api import load_model

    faults: list[str] = []
    paths = _existing([file for file in files if form is None or file != "-"], faults)
    if form is not None:
        _raise_faults(faults, of=len(files))
    with without_native_notes():
        predictor = load_model(chosen_use_case(usecase), model, workspace=context["workspace"])
    if form is not None:
        from mlops_core.cli.use_case.events_output import print_events
        from mlops_core.predictors import EventOptions

        options = EventOptions(threshold=threshold, shortest_s=shortest, raw_rate_hz=raw)
        print_events(predictor, files, options=options, form="json" if as_json else form, picture=picture)
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
    """Return the files that are there; `faults` takes a line for each that is not."""
    from pathlib import Path

    paths = [Path(file) for file in files]
    faults += [
        f"{path} is a folder; give its files" if path.is_dir() else f"no file {path}"
        for path in paths
        if not path.is_file()
    ]
    return [path for path in paths if path.is_file()]


def _with_progress(predictor: Predictor, paths: Sequence[Path], faults: list[str]) -> Iterator[SampleScores]:
    """Yield the answers, with a progress bar on a terminal when there is more than one file.

    Args:
        predictor: that is asked.
        paths: of the files.
        faults: takes a line for each file that cannot be used; the others are answered all the same.
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
        for path in batch:  # one of them cannot be used: the others shall not suffer
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
    """Return an answer as JSON types; sample and interval only where it has them."""
    found: dict[str, object] = {"path": answer.path}
    if answer.sample:
        found["sample"] = answer.sample
    found["scores"] = dict(zip(classes, answer.scores, strict=True)) if classes else list(answer.scores)
    if answer.interval:
        found["interval"] = asdict(answer.interval)
    return found


def _number_row(answer: SampleScores) -> tuple[str, str, str, str]:
    interval = answer.interval
    told = f"{interval.low:.6g} to {interval.high:.6g} ({interval.level:.0%})" if interval else "-"
    return answer.path, answer.sample or "-", " ".join(f"{value:.6g}" for value in answer.scores), told


def _row(answer: SampleScores, classes: Sequence[str], top: int) -> tuple[str, str, str]:
    ranked = sorted(zip(answer.scores, classes, strict=True), key=lambda pair: -pair[0])[:top]
    return answer.path, ", ".join(name for _, name in ranked), ", ".join(f"{score:.3f}" for score, _ in ranked)
