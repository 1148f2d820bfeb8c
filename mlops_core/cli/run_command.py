"""``mlops run``."""

from __future__ import annotations

import click

from mlops_core.cli.options import (
    chosen_use_case,
    config_options,
    json_option,
    parse_parameters,
    run_options,
    use_case_option,
)
from mlops_core.cli.output import print_json, print_outcome, run_observer


@click.command("run")
@use_case_option
@config_options
@run_options
@click.option("--jobs", "-j", type=click.IntRange(min=1), help="Steps at once (default: one a core).")
@click.option("--offline", "is_offline", is_flag=True, help="Refuse to fetch from the network.")
@json_option
@click.pass_obj
def command(
    context: dict[str, str | None],
    *,
    usecase: str | None,
    config: str | None,
    overrides: tuple[str, ...],
    parameters: tuple[str, ...],
    seed: int,
    force: tuple[str, ...],
    jobs: int | None,
    is_offline: bool,
    as_json: bool,
) -> int:
    """Run a use case: fetch, its steps, gate, register.

    Everything is checked before anything runs. A step whose inputs, code and configuration are unchanged is not
    run again. A model that the gate rejects is not registered, and the exit code is 3.
    """
    from mlops_core import api

    observer = run_observer()
    try:
        record = api.run(
            chosen_use_case(usecase),
            config=config,
            overrides=overrides,
            parameters=parse_parameters(parameters),
            workspace=context["workspace"],
            seed=seed,
            jobs=jobs,
            force=force,
            is_offline=is_offline,
            observer=observer,
        )
    finally:
        observer.close()
    if as_json:
        print_json(record.to_json())
    else:
        print_outcome(record)
    if record.error:
        click.echo(f"mlops: error: {record.error}", err=True)
    return record.exit_code
