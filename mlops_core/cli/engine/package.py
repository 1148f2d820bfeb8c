"""``mlops package``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_core.cli.options import chosen_use_case, use_case_option
from mlops_core.cli.runner_options import RunnerCommand, only_runner_with
from mlops_core.runners.plugin import Ability

if TYPE_CHECKING:
    from mlops_core.runners.plugin import RunnerOptions


@click.command("package", cls=RunnerCommand, default_runner=only_runner_with(Ability.PACKAGE))
@use_case_option
@click.option(
    "--output", "-o", type=click.Path(file_okay=False), default="image", show_default=True, help="Folder to write."
)
@click.option("--tag", "tag_only", is_flag=True, help="Print the image's tag without writing anything.")
def command(*, usecase: str | None, output: str, tag_only: bool, runner: str, runner_options: RunnerOptions) -> None:
    """Write a folder for `docker build`: the step image with core, the engine, one use case and pinned versions."""
    del runner_options
    from mlops_core.runners.container.packaging import image_tag, write_image_folder
    from mlops_core.runners.discovery import load_runner
    from mlops_core.use_cases.discovery import find_use_case

    use_case = find_use_case(chosen_use_case(usecase))
    image = load_runner(runner).container_image()
    if tag_only:
        click.echo(image_tag(use_case, image))
        return
    for wheel in write_image_folder(use_case, image, Path(output)):
        click.echo(wheel.name)
    click.echo(f"docker build --tag {image_tag(use_case, image)} {output}")
