"""``mlops predict``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from mlops_core.cli.options import chosen_use_case, json_option, use_case_option
from mlops_core.cli.output import print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mlops_core.prediction import Predictor, SampleScores


@click.command("predict")
@use_case_option
@click.option("--model", metavar="MODEL", help="A version's number or an alias such as 'best' (default: the newest).")
@click.option("--top", type=click.IntRange(min=1), default=1, show_default=True, help="Classes to show for each file.")
@json_option
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=str))
@click.pass_obj
def command(
    context: dict[str, str | None],
    *,
    usecase: str | None,
    model: str | None,
    top: int,
    as_json: bool,
    files: tuple[str, ...],
) -> None:
    """Classify FILES with a registered model: the best classes of each with their scores.

    Only the registered artifact is used: neither data set nor run are needed.
    """
    from mlops_core.api import load_model

    paths = _existing(files)
    predictor = load_model(chosen_use_case(usecase), model, workspace=context["workspace"])
    answers = list(_with_progress(predictor, paths))
    classes = predictor.classes
    if as_json:
        print_json([{"path": answer.path, "scores": _named(answer, classes)} for answer in answers])
        return
    print_table(("file", "class" if classes else "value", "score"), [_row(answer, classes, top) for answer in answers])


def _existing(files: Sequence[str]) -> list[Path]:
    from pathlib import Path

    from mlops_core.errors import DatasetError

    paths = [Path(file) for file in files]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise DatasetError(f"no file {missing[0]}" + (f" and {len(missing) - 1} more" if len(missing) > 1 else ""))
    return paths


def _with_progress(predictor: Predictor, paths: Sequence[Path]) -> Iterator[SampleScores]:
    """Yield the answers, with a progress bar on a terminal when there is more than one."""
    if len(paths) == 1 or not sys.stderr.isatty():
        yield from predictor.predict(paths)
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(
        predictor.predict(paths), total=len(paths), description="files", console=Console(stderr=True), transient=True
    )


def _named(answer: SampleScores, classes: Sequence[str]) -> dict[str, float] | list[float]:
    return dict(zip(classes, answer.scores, strict=True)) if classes else list(answer.scores)


def _row(answer: SampleScores, classes: Sequence[str], top: int) -> tuple[str, str, str]:
    if not classes:
        return answer.path, " ".join(f"{value:.6g}" for value in answer.scores), "-"
    ranked = sorted(zip(answer.scores, classes, strict=True), key=lambda pair: -pair[0])[:top]
    return answer.path, ", ".join(name for _, name in ranked), ", ".join(f"{score:.3f}" for score, _ in ranked)
