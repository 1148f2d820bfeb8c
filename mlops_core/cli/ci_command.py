"""``mlops ci``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from mlops_core.cli.options import chosen_use_case, use_case_option


@click.group("ci")
def command() -> None:
    """Let a CI service train, judge and register a use case."""


@command.command("init")
@use_case_option
@click.option("--provider", type=click.Choice(["codebuild", "github", "gitlab"]), required=True, help="The CI service.")
@click.option("--install", help="The command that installs core and the plugin.")
@click.option("--force", is_flag=True, help="Replace a file that exists.")
@click.argument("folder", type=click.Path(file_okay=False), default=".")
def init_command(*, usecase: str | None, provider: str, install: str | None, force: bool, folder: str) -> None:
    """Write the CI service's file for a use case into FOLDER (default: here)."""
    from mlops_sagemaker.delivery.ci import INSTALL, PROVIDERS, SECRETS, Project

    from mlops_core.errors import UsageError
    from mlops_core.use_cases.discovery import find_use_case

    use_case = find_use_case(chosen_use_case(usecase))
    name, write = PROVIDERS[provider]
    path = Path(folder) / name
    if path.exists() and not force:
        raise UsageError(f"{path} exists; --force replaces it")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    text = write(Project(use_case=use_case.name, install=install or INSTALL, python=python))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    click.echo(f"{path}: written")
    click.echo(f"set in the service: {', '.join(SECRETS)}; and STEP_IMAGE_REPOSITORY or MLOPS_STEP_IMAGE")
