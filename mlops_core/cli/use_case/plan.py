"""``mlops plan``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from mlops_core.cli.options import (
    chosen_use_case,
    config_options,
    folds_option,
    json_option,
    parse_parameters,
    run_options,
    selection_options,
    use_case_option,
)
from mlops_core.cli.output import format_duration, print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_core.runners.planning import PlannedStep


@click.command("plan")
@use_case_option
@config_options
@folds_option
@run_options
@selection_options
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
    start: str,
    only: tuple[str, ...],
    force: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show which steps a run would execute and why, what changed, and which results it would replace."""
    from mlops_core.api import prepare_run, workspace_path
    from mlops_core.runners.planning import plan_run
    from mlops_core.workspace.store import Store

    request = prepare_run(
        chosen_use_case(usecase),
        config=config,
        overrides=overrides,
        parameters=parse_parameters(parameters),
        seed=seed,
        start=start,
        only=only,
        force=force,
    )
    with Store(workspace_path(context["workspace"])) as store:
        plan = plan_run(request, store=store)
    if as_json:
        print_json([asdict(item) for item in plan])
        return
    print_table(
        ("step", "will", "because", "overwrites", "expected"),
        [(item.step, item.action, item.reason, _overwritten(item), _expected(item.expected_s)) for item in plan],
    )
    click.echo(_summary(plan))


def _overwritten(item: PlannedStep) -> str:
    return f"cached result of run {item.replaces}" if item.replaces else "nothing"


def _expected(seconds: float | None) -> str:
    return "-" if seconds is None else format_duration(seconds)


def _summary(plan: Sequence[PlannedStep]) -> str:
    running = [item for item in plan if item.action in ("run", "maybe")]
    known = [item.expected_s for item in running if item.expected_s is not None]
    text = f"{len(running)} of {len(plan)} steps may run"
    if running and len(known) == len(running):
        return f"{text}, together about {format_duration(sum(known))}"
    return text if not running else f"{text}; {len(running) - len(known)} of them have no recorded duration"
