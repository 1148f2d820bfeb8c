"""``mlops parity``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mlops_core.cli.options import (
    chosen_use_case,
    config_options,
    json_option,
    parse_parameters,
    run_options,
    use_case_option,
)
from mlops_core.cli.output import print_json, print_table, run_observer
from mlops_core.cli.runner_options import RunnerCommand, only_runner_with
from mlops_core.cli.streams import echo_line
from mlops_core.errors import ExitCode
from mlops_core.runners.plugin import Ability

if TYPE_CHECKING:
    from mlops_core.runners.parity import ParityReport
    from mlops_core.runners.plugin import RunnerOptions


@click.command("parity", cls=RunnerCommand, default_runner=only_runner_with(Ability.PARITY))
@use_case_option
@config_options
@run_options
@click.option(
    "--jobs", "-j", type=click.IntRange(min=1), help="Number of steps to run in parallel (default: one per core)."
)
@click.option("--offline", "is_offline", is_flag=True, help="Refuse to fetch from the network.")
@click.option("--reuse", is_flag=True, help="Reuse results of earlier runs instead of executing every step again.")
@click.option("--all", "shows_all", is_flag=True, help="Also show comparisons that are empty on both sides.")
@json_option
@click.pass_obj
def command(
    context: dict[str, str | None],
    /,
    *,
    usecase: str | None,
    config: str | None,
    overrides: tuple[str, ...],
    parameters: tuple[str, ...],
    seed: int,
    runner: str,
    runner_options: RunnerOptions,
    jobs: int | None,
    is_offline: bool,
    reuse: bool,
    shows_all: bool,
    as_json: bool,
) -> int:
    """Run locally, execute the compiled definition, and compare the two.

    Order constraints, parameters, every artifact's digest, verdict and message are compared. Exit code 0: all equal,
    also when both rejected the model or both failed in the same way; 4: they differ.
    """
    from mlops_core import api
    from mlops_core.runners.discovery import load_runner
    from mlops_core.runners.parity import prove_parity
    from mlops_core.workspace.store import Store

    request = api.prepare_run(
        chosen_use_case(usecase),
        config=config,
        overrides=overrides,
        parameters=parse_parameters(parameters),
        seed=seed,
        is_offline=is_offline,
    )
    plugin = load_runner(runner)
    observer = run_observer()
    try:
        with Store(api.workspace_path(context["workspace"])) as store:
            report = prove_parity(
                request,
                store=store,
                observer=observer,
                runner=plugin.create_runner(store, observer=observer, jobs=jobs, options=runner_options),
                definition_of=lambda run_id: plugin.executed_definition(store, run_id),
                jobs=jobs,
                is_fresh=not reuse,
            )
    finally:
        observer.close()
    if as_json:
        print_json(report.to_json())
    else:
        _print(report, shows_all=shows_all)
    return ExitCode.STEP if report.differences else ExitCode.OK


def _print(report: ParityReport, *, shows_all: bool) -> None:
    rows = [
        ("equal" if row.is_equal else "DIFFERS", row.subject, row.what, row.local, row.executed)
        for row in report.rows
        if shows_all or not row.is_plain
    ]
    print_table(("", "subject", "what", "local run", "executed definition"), rows)
    echo_line(f"local run {report.local_run}, executed definition {report.executed_run}")
    if report.differences:
        echo_line(f"mlops: error: {len(report.differences)} of {len(report.rows)} comparisons differ", err=True)
    else:
        echo_line(f"all {len(report.rows)} comparisons are equal")
