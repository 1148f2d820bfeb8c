"""``mlops step run``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_core.cli.options import chosen_use_case, config_options, parse_parameters, run_options, use_case_option
from mlops_core.cli.streams import echo_line
from mlops_core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.group("step")
def command() -> None:
    """Execute one step of a use case on given folders."""


@command.command("run")
@use_case_option
@click.argument("step")
@click.option("--input", "inputs", multiple=True, metavar="NAME=DIR", help="The folder of an input. Repeatable.")
@click.option("--output", "outputs", multiple=True, metavar="NAME=DIR", help="The folder of an output. Repeatable.")
@config_options
@run_options
def run_step(
    *,
    usecase: str | None,
    step: str,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    config: str | None,
    overrides: tuple[str, ...],
    parameters: tuple[str, ...],
    seed: int,
) -> None:
    """Execute STEP alone on given folders, to debug it, with the code by which runs and containers execute it.

    There is no run, nothing is reused or registered, and no shard or retry. Of a step that fails, no output appears.

    Example: mlops step run -u NAME evaluate --input model=m --input ... --output predictions=p --output evaluation=e
    """
    from mlops_core.api import prepare_run
    from mlops_core.runners.local.single_step import execute_single_step, find_single_step

    request = prepare_run(
        chosen_use_case(usecase),
        config=config,
        overrides=overrides,
        parameters=parse_parameters(parameters),
        seed=seed,
    )
    with request.config.redactor().errors(), tempfile.TemporaryDirectory(prefix="mlops-") as folder:
        single = find_single_step(
            request, step, inputs=_folders("--input", inputs), outputs=_folders("--output", outputs)
        )
        log = Path(folder) / "log"
        try:
            outcome = execute_single_step(request, single, log=log, on_progress=_ignore_progress)
        finally:
            printed = _print_log(log)
    for warning in outcome.warnings:
        if warning not in printed:
            echo_line(f"warning: {warning}", err=True)
    for name, target in single.outputs.items():
        echo_line(f"{name}: {target}")


def _folders(option: str, texts: Sequence[str]) -> dict[str, Path]:
    from mlops_core.settings import expand_home

    folders: dict[str, Path] = {}
    for text in texts:
        name, equals, folder = text.partition("=")
        if not (equals and name and folder):
            raise UsageError(f"{option}: {text!r} is not NAME=DIR")
        if name in folders:
            raise UsageError(f"{option}: '{name}' is given twice")
        folders[name] = expand_home(Path(folder), what=option)
    return folders


def _ignore_progress(label: str, done: int, total: int) -> None:
    """Print nothing: the log of the step is what is of interest."""


def _print_log(log: Path) -> str:
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    for line in text.splitlines():
        echo_line(line, err=True)
    return text
