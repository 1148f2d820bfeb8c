"""``mlops package``."""

from __future__ import annotations

from pathlib import Path

import click

from mlops_core.cli.options import chosen_use_case, use_case_option


@click.command("package")
@use_case_option
@click.option(
    "--output", "-o", type=click.Path(file_okay=False), default="image", show_default=True, help="The folder to write."
)
@click.option("--tag", "tag_only", is_flag=True, help="Print the image's tag and write nothing.")
def command(*, usecase: str | None, output: str, tag_only: bool) -> None:
    """Write what `docker build` needs for the step image: core, the one plugin, pinned versions, nothing else."""
    from mlops_core.runners.container.packaging import image_tag, write_image_folder
    from mlops_core.use_cases.discovery import find_use_case

    use_case = find_use_case(chosen_use_case(usecase))
    if tag_only:
        click.echo(image_tag(use_case))
        return
    for wheel in write_image_folder(use_case, Path(output)):
        click.echo(f"{wheel.name}")
    click.echo(f"docker build --tag {image_tag(use_case)} {output}")
