"""What the commands about deployments share: the stage, the engine's endpoints, and how a deployment is printed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, TypeVar

import click

from mlops_core.cli.streams import echo_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlops_core.deployments.driver import Deployer, DeploymentOutcome
    from mlops_core.runners.plugin import RunnerOptions

F = TypeVar("F", bound="Callable[..., object]")
STAGES = ("staging", "production")
OPTIONS_OF = "deploy"


def stage_option(function: F) -> F:
    """Add ``--to``."""
    return click.option(
        "--to", "stage", type=click.Choice(STAGES, case_sensitive=False), required=True, help="Stage of the endpoint."
    )(function)


def endpoint_option(function: F) -> F:
    """Add ``--endpoint``."""
    return click.option(
        "--endpoint", default="", metavar="NAME", help="Name of the endpoint, if the stage has several."
    )(function)


@contextlib.contextmanager
def opened_deployer(workspace: str | None, runner: str, options: RunnerOptions) -> Iterator[Deployer]:
    """Open the workspace and the endpoints of an engine.

    Raises:
        UsageError: the engine does not deploy.
    """
    from mlops_core.api import workspace_path
    from mlops_core.deployments.driver import Deployer
    from mlops_core.runners.discovery import load_runner
    from mlops_core.runners.plugin import Ability
    from mlops_core.workspace.store import Store

    plugin = load_runner(runner)
    if Ability.DEPLOY not in plugin.abilities:
        raise plugin.refused(Ability.DEPLOY)
    with Store(workspace_path(workspace)) as store:
        yield Deployer(store, plugin.deployment_target(store, options), note=lambda text: echo_line(text, err=True))


def print_outcome(outcome: DeploymentOutcome) -> None:
    """Print what a command did."""
    deployment, status = outcome.deployment, outcome.status
    already = " already" if outcome.was_there else ""
    echo_line(f"{deployment} is {deployment.state}{already}")
    where = f" at {status.address}" if status.address else ""
    echo_line(f"  endpoint: {status.endpoint}{where} ({deployment.runner})")
    replaced = f", in place of {deployment.replaces}" if deployment.replaces else ""
    echo_line(f"  configuration: {deployment.plan.name}{replaced}")
    if outcome.cost is not None:
        amount = "not known" if outcome.cost.usd is None else f"{outcome.cost.usd:.2f} USD a month"
        most = f", at most {outcome.cost.max_usd:.2f} USD" if outcome.cost.max_usd is not None else ""
        echo_line(f"  cost: {amount}{most} ({outcome.cost.basis})")
    if status.note:
        echo_line(f"  note: {status.note}")
    if outcome.test is not None:
        echo_line(f"  test: {outcome.test.summary}")
    elif outcome.untested:
        echo_line(f"  test: none: {outcome.untested}")
