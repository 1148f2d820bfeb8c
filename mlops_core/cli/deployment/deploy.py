"""``mlops deploy``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_core.cli.deployment.opening import OPTIONS_OF, opened_deployer, print_outcome, stage_option
from mlops_core.cli.options import HomePath, chosen_use_case, json_option, use_case_option
from mlops_core.cli.output import print_json
from mlops_core.cli.runner_options import RunnerCommand

if TYPE_CHECKING:
    from mlops_core.deployments.settings import DeploymentsFile
    from mlops_core.runners.plugin import RunnerOptions


@click.command("deploy", cls=RunnerCommand, options_of=OPTIONS_OF)
@use_case_option
@stage_option
@click.option(
    "--model",
    metavar="MODEL",
    help="Version number or alias (default: the newest that is not rejected; for production, that is approved).",
)
@click.option(
    "--deployment-settings",
    "settings_file",
    type=HomePath(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Settings of the stages (default: deployments.yaml, if it exists).",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override one setting, for example production.traffic.percent=20. Repeatable.",
)
@click.option(
    "--max-cost",
    type=click.FloatRange(min=0),
    metavar="USD",
    help="Refuse a deployment whose estimated monthly cost is higher.",
)
@click.option("--no-test", is_flag=True, help="Do not replay the recorded requests against staging.")
@click.option(
    "--why", default="deployed by hand", show_default=True, metavar="TEXT", help="Reason, kept in the ledger."
)
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    *,
    usecase: str | None,
    stage: str,
    model: str | None,
    settings_file: Path | None,
    overrides: tuple[str, ...],
    max_cost: float | None,
    no_test: bool,
    why: str,
    as_json: bool,
    runner: str,
    runner_options: RunnerOptions,
) -> None:
    """Deploy a model version: start it beside the old one, move the traffic, and roll back where an alarm fires.

    Staging takes a version that waits for approval and, once it is in service, tests it: the requests that were
    recorded when it was registered must be answered as they were then. Production takes approved versions only.

    A deployment that is in service is left as it is. One that was interrupted is resumed by the same command. Exit code
    3: it was rolled back, or the test in staging failed.
    """
    from mlops_core.deployments.driver import DeploymentRequest
    from mlops_core.deployments.plan import Stage

    chosen = Stage(stage)
    request = DeploymentRequest(
        use_case=chosen_use_case(usecase),
        version=model,
        stage=chosen,
        settings=getattr(_settings(settings_file, overrides), chosen),
        why=why,
        max_cost=max_cost,
        is_tested=not no_test,
    )
    with opened_deployer(ctx.obj["workspace"], runner, runner_options) as deployer:
        outcome = deployer.deploy(request)
    print_json(outcome.to_json()) if as_json else print_outcome(outcome)


def _settings(path: Path | None, overrides: tuple[str, ...]) -> DeploymentsFile:
    """Return the settings of both stages.

    Raises:
        ConfigError: the file or an override is wrong; every fault is named with its line.
    """
    from mlops_core.config_files.loading import load_config
    from mlops_core.deployments.settings import SETTINGS_FILE, DeploymentsFile
    from mlops_core.settings import environment

    if path is None and Path(SETTINGS_FILE).exists():
        path = Path(SETTINGS_FILE)
    loaded = load_config(DeploymentsFile, default=None, path=path, overrides=overrides, environ=environment())
    assert isinstance(loaded.model, DeploymentsFile)  # noqa: S101  for mypy
    return loaded.model
