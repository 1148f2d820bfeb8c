"""``mlops plan``."""

from __future__ import annotations

from dataclasses import asdict

import click

from mlops_core.cli.options import (
    chosen_use_case,
    config_options,
    json_option,
    parse_parameters,
    run_options,
    use_case_option,
)
from mlops_core.cli.output import format_duration, print_json, print_table


@click.command("plan")
@use_case_option
@config_options
@run_options
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
    as_json: bool,
) -> None:
    """Show what a run would do, and why, without doing it."""
    from mlops_core.api import prepare_run, workspace_path
    from mlops_core.runners.planning import plan_run
    from mlops_core.store import Store

    request = prepare_run(
        chosen_use_case(usecase),
        config=config,
        overrides=overrides,
        parameters=parse_parameters(parameters),
        seed=seed,
        force=force,
    )
    with Store(workspace_path(context["workspace"])) as store:
        plan = plan_run(request, store=store)
    if as_json:
        print_json([asdict(item) for item in plan])
        return
    print_table(
        ("step", "will", "because", "took before"),
        [
            (item.step, item.action, item.reason, "-" if item.expected_s is None else format_duration(item.expected_s))
            for item in plan
        ],
    )
