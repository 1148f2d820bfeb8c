"""``mlops doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mlops_core.cli.options import chosen_use_case, config_options, json_option, use_case_option
from mlops_core.cli.output import print_json, print_table
from mlops_core.cli.runner_options import RunnerCommand
from mlops_core.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_core.runners.plugin import RunnerOptions
    from mlops_core.workspace.maintenance.diagnosis import HealthCheck


@click.command("doctor", cls=RunnerCommand)
@click.option("--repair", "is_repaired", is_flag=True, help="Discard damaged artifacts, so that they are made again.")
@use_case_option
@config_options
@json_option
@click.pass_obj
def command(
    context: dict[str, str | None],
    /,
    *,
    is_repaired: bool,
    runner: str,
    runner_options: RunnerOptions,
    usecase: str | None,
    config: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> int:
    """Check environment, plugins, disk and workspace. Exit code 4 when something is wrong.

    With --runner NAME, check instead everything that a run of a use case on that runner needs, for example
    credentials, rights and quotas. Nothing is changed.
    """
    from dataclasses import asdict

    from mlops_core.api import prepare_run, workspace_path
    from mlops_core.runners.discovery import LOCAL, load_runner
    from mlops_core.workspace.maintenance.diagnosis import examine

    def checks() -> Iterator[HealthCheck]:
        if runner == LOCAL:
            yield from examine(workspace_path(context["workspace"]), is_repaired=is_repaired)
            yield from load_runner(LOCAL).check(None, runner_options)
            return
        request = prepare_run(chosen_use_case(usecase), config=config, overrides=overrides)
        yield from load_runner(runner).check(request, runner_options)

    outcomes = tuple(checks())
    if as_json:
        print_json([asdict(outcome) for outcome in outcomes])
    else:
        print_table(
            ("", "check", "detail", "fix"),
            [
                ("ok" if outcome.is_good else "WRONG", outcome.subject, outcome.detail, outcome.fix or "-")
                for outcome in outcomes
            ],
        )
    return ExitCode.OK if all(outcome.is_good for outcome in outcomes) else ExitCode.STEP
