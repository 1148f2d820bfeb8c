"""``mlops compile``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_core.cli.options import (
    HomePath,
    chosen_use_case,
    config_options,
    parse_parameters,
    run_options,
    use_case_option,
)
from mlops_core.cli.runner_options import RunnerCommand, only_runner_with
from mlops_core.cli.streams import echo_line
from mlops_core.runners.plugin import Ability

if TYPE_CHECKING:
    from mlops_core.runners.plugin import RunnerOptions


@click.command("compile", cls=RunnerCommand, default_runner=only_runner_with(Ability.COMPILE))
@use_case_option
@config_options
@run_options
@click.option("--output", "-o", type=HomePath(dir_okay=False), help="File to write (default: standard output).")
@click.option(
    "--dataset-digest", default="", help="Digest of the data set, so that the engine can reuse steps that read it."
)
@click.option("--check/--no-check", default=True, help="Check the result before it is written.  [default: check]")
def command(
    *,
    usecase: str | None,
    config: str | None,
    overrides: tuple[str, ...],
    parameters: tuple[str, ...],
    seed: int,
    runner: str,
    runner_options: RunnerOptions,
    output: str | None,
    dataset_digest: str,
    check: bool,
) -> None:
    """Compile the pipeline to an engine's own definition: no account, no network, equal bytes each time.

    Names that are not set here become parameters without default, to be given when an execution is started.
    """
    from mlops_core.api import prepare_run
    from mlops_core.errors import RunnerError
    from mlops_core.runners.discovery import load_runner

    request = prepare_run(
        chosen_use_case(usecase), config=config, overrides=overrides, parameters=parse_parameters(parameters), seed=seed
    )
    with request.config.redactor().errors():
        compiled = load_runner(runner).compile(request, runner_options, dataset_digest=dataset_digest, is_checked=check)
    if check and compiled.faults:
        count = f"{len(compiled.faults)} fault{'s' if len(compiled.faults) > 1 else ''}"
        raise RunnerError(f"the compiled definition has {count}", problems=map(str, compiled.faults))
    if check:
        for note in compiled.notes:
            echo_line(note, err=True)
    if output is None:
        click.echo(compiled.text, nl=False)
        return
    _write(Path(output), compiled.text)
    echo_line(f"{output}: {compiled.summary}")
    if compiled.open_parameters:
        echo_line(f"to be given when an execution is started: {', '.join(compiled.open_parameters)}")


def _write(path: Path, text: str) -> None:
    from mlops_core.errors import UsageError

    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise UsageError(f"--output {path}: {error.strerror}; name a file in an existing folder") from error
