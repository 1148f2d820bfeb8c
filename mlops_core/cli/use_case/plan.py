"""``mlops plan``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

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
from mlops_core.cli.output import format_duration, print_estimate, print_json, print_table
from mlops_core.cli.runner_options import RunnerCommand
from mlops_core.cli.streams import echo_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_core.runners.planning import PlannedStep
    from mlops_core.runners.plugin import RunnerOptions


@click.command("plan", cls=RunnerCommand)
@use_case_option
@config_options
@folds_option
@run_options
@selection_options
@json_option
@click.pass_obj
def command(
    context: dict[str, str | None],
    /,
    *,
    usecase: str | None,
    parameters: tuple[str, ...],
    runner: str,
    runner_options: RunnerOptions,
    as_json: bool,
    **arguments: Any,
) -> None:
    """Show which steps a run would execute and why, what changed, and which results it would replace.

    With a runner whose engine decides about reuse itself, show instead the machine of each step, how long it may take
    and what it may cost.
    """
    from mlops_core.api import prepare_run, workspace_path
    from mlops_core.runners.discovery import LOCAL, load_runner
    from mlops_core.runners.local.base_models import require_base_models_of
    from mlops_core.runners.planning import plan_run
    from mlops_core.workspace.store import Store

    request = prepare_run(chosen_use_case(usecase), parameters=parse_parameters(parameters), **arguments)
    with Store(workspace_path(context["workspace"])) as store, request.config.redactor().errors():
        if runner != LOCAL:
            print_estimate(load_runner(runner).estimate(request, runner_options, store=store), as_json=as_json)
            return
        require_base_models_of(request)
        plan = plan_run(request, store=store)
    if as_json:
        print_json([asdict(item) for item in plan])
        return
    print_table(
        ("step", "will", "because", "overwrites", "expected"),
        [(item.step, item.action, item.reason, _overwritten(item), _expected(item.expected_s)) for item in plan],
    )
    echo_line(_summary(plan))


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
