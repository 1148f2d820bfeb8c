"""``mlops ci``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_core.cli.options import HomePath, chosen_use_case, use_case_option
from mlops_core.cli.runner_options import RunnerCommand, only_runner_with
from mlops_core.cli.streams import echo_line
from mlops_core.runners.plugin import Ability

if TYPE_CHECKING:
    from mlops_core.runners.plugin import RunnerOptions


@click.group("ci")
def command() -> None:
    """Train, judge and register a use case in a CI service."""


@command.command("init", cls=RunnerCommand, default_runner=only_runner_with(Ability.CI))
@use_case_option
@click.option("--provider", required=True, metavar="NAME", help="CI service of the runner, for example github.")
@click.option("--install", help="Command that installs core, the engine and the use case.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.argument("folder", type=HomePath(file_okay=False), default=".")
def init_command(
    *,
    usecase: str | None,
    provider: str,
    install: str | None,
    force: bool,
    folder: str,
    runner: str,
    runner_options: RunnerOptions,
) -> None:
    """Write the CI service's file for a use case into FOLDER (default: the current folder)."""
    from mlops_core.errors import UsageError
    from mlops_core.runners.discovery import load_runner
    from mlops_core.use_cases.discovery import find_use_case

    del runner_options
    use_case = find_use_case(chosen_use_case(usecase))
    file = load_runner(runner).ci_file(use_case.name, provider=provider, install=install)
    path = Path(folder) / file.path
    if path.exists() and not force:
        raise UsageError(f"{path} exists; --force replaces it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    echo_line(f"{path}: written")
    echo_line(f"set in the service: {', '.join(file.variables)}")
