"""``mlops package``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_core.cli.options import HomePath, chosen_use_case, use_case_option
from mlops_core.cli.runner_options import RunnerCommand, only_runner_with
from mlops_core.cli.streams import echo_line
from mlops_core.errors import UsageError
from mlops_core.quantities import format_size
from mlops_core.runners.plugin import Ability

if TYPE_CHECKING:
    from mlops_core.runners.plugin import ContainerImage, RunnerOptions
    from mlops_core.use_cases.discovery import InstalledUseCase


@click.command("package", cls=RunnerCommand, default_runner=only_runner_with(Ability.PACKAGE))
@use_case_option
@click.option(
    "--output", "-o", type=HomePath(file_okay=False), default="image", show_default=True, help="Folder to write."
)
@click.option("--tag", "tag_only", is_flag=True, help="Print the image's tag without writing anything.")
@click.option("--serve", is_flag=True, help="Write the serving image: only the packages that the model needs.")
@click.option(
    "--model",
    metavar="MODEL",
    help="With --serve: version, alias or folder of the model (default: the newest that is not rejected).",
)
@click.pass_context
def command(
    ctx: click.Context,
    *,
    usecase: str | None,
    output: str,
    tag_only: bool,
    serve: bool,
    model: str | None,
    runner: str,
    runner_options: RunnerOptions,
) -> None:
    """Write a folder for `docker build`: the step image with core, the engine, one use case and pinned versions.

    With --serve, the image serves a model of the use case. The model itself is not part of it.
    """
    del runner_options
    from mlops_core.runners.container.packaging import image_tag, write_image_folder
    from mlops_core.runners.discovery import load_runner
    from mlops_core.use_cases.discovery import find_use_case

    use_case = find_use_case(chosen_use_case(usecase))
    image = load_runner(runner).container_image()
    if serve:
        if tag_only:
            raise UsageError("--tag is that of the step image; leave --serve out")
        _write_serving_folder(use_case, model, image, Path(output), workspace=ctx.obj["workspace"])
        return
    if model is not None:
        raise UsageError("--model needs --serve, which is not set")
    if tag_only:
        echo_line(image_tag(use_case, image))
        return
    for wheel in write_image_folder(use_case, image, Path(output)):
        echo_line(wheel.name)
    echo_line(f"docker build --tag {image_tag(use_case, image)} {output}")


def _write_serving_folder(
    use_case: InstalledUseCase, model: str | None, image: ContainerImage, output: Path, *, workspace: str | None
) -> None:
    from mlops_core.serving.image import write_serving_folder
    from mlops_core.serving.models import find_model

    served = find_model(use_case.name, model, workspace=workspace)
    written = write_serving_folder(use_case, served, image, output)
    for wheel in written.wheels:
        echo_line(wheel.name)
    echo_line(f"{len(written.packages)} packages that {served} needs")
    for name, size in written.left_out.items():
        echo_line(f"left out: {name} and what only it needs, {format_size(size)}: the model was loaded without it")
    echo_line(f"docker build --tag {use_case.name.lower()}-serve {output}")
