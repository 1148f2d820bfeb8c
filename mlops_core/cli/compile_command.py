"""``mlops compile``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_core.cli.options import chosen_use_case, config_options, parse_parameters, run_options, use_case_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_sagemaker.compiler.definition import Definition


@click.command("compile")
@use_case_option
@config_options
@run_options
@click.option("--output", "-o", type=click.Path(dir_okay=False), help="The file to write (default: standard output).")
@click.option(
    "--settings",
    type=click.Path(dir_okay=False),
    help="A sagemaker.yaml: account, changes of single steps, inference.",
)
@click.option(
    "--set-sagemaker",
    "settings_overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override one of these settings, for example account.bucket=name. Repeatable.",
)
@click.option("--role", help="ARN of the role of the jobs (short for --set-sagemaker account.role=...).")
@click.option("--bucket", help="Bucket for data and results (account.bucket).")
@click.option("--image", help="URI of the step image (account.image).")
@click.option("--dataset-digest", default="", help="Digest of the data set; lets the service reuse steps that read it.")
@click.option("--check/--no-check", default=True, help="Check the definition before it is written.  [default: check]")
def command(
    *,
    usecase: str | None,
    config: str | None,
    overrides: tuple[str, ...],
    parameters: tuple[str, ...],
    seed: int,
    output: str | None,
    settings: str | None,
    settings_overrides: tuple[str, ...],
    role: str | None,
    bucket: str | None,
    image: str | None,
    dataset_digest: str,
    check: bool,
) -> None:
    """Compile the pipeline to a SageMaker definition: no AWS, no credentials, equal bytes each time.

    What is not set here becomes a parameter without default, to be given when an execution is started.
    """
    from mlops_sagemaker.compiler.definition import compile_pipeline
    from mlops_sagemaker.settings import load_settings

    from mlops_core.api import prepare_run
    from mlops_core.settings import read_settings

    request = prepare_run(
        chosen_use_case(usecase), config=config, overrides=overrides, parameters=parse_parameters(parameters), seed=seed
    )
    given = {"role": role, "bucket": bucket, "image": image}
    changes = [*settings_overrides, *(f'account.{name}="{value}"' for name, value in given.items() if value)]
    loaded = load_settings(Path(settings) if settings else None, overrides=changes, environ=read_settings().environ)
    definition = compile_pipeline(request, loaded, dataset_digest=dataset_digest)
    if check:
        _check(definition)
    text = definition.to_text()
    if output is None:
        click.echo(text, nl=False)
        return
    _write(Path(output), text)
    steps = definition.data["Steps"]
    needed = [item["Name"] for item in definition.data["Parameters"] if "DefaultValue" not in item]
    click.echo(f"{output}: {len(steps)} steps, {len(definition.to_compact_text()):,} characters as submitted")
    if needed:
        click.echo(f"to be given when an execution is started: {', '.join(needed)}")


def _check(definition: Definition) -> None:
    from mlops_sagemaker.checking import check_definition, has_service_model

    from mlops_core.errors import RunnerError

    faults = check_definition(definition.data)
    if faults:
        raise RunnerError(_listed("the compiled definition", faults))
    if not has_service_model():
        click.echo("only the graph was checked: pip install 'mlops-sagemaker' to check the arguments too", err=True)


def _listed(what: str, faults: Sequence[object]) -> str:
    return "\n".join((f"{what} has {len(faults)} fault{'s' if len(faults) > 1 else ''}", *(f"  {f}" for f in faults)))


def _write(path: Path, text: str) -> None:
    from mlops_core.errors import UsageError

    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise UsageError(f"--output {path}: {error.strerror}; name a file in an existing folder") from error
