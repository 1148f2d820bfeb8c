"""``mlops deployments``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mlops_core.cli.deployment.opening import OPTIONS_OF, endpoint_option, opened_deployer, print_outcome, stage_option
from mlops_core.cli.options import chosen_use_case, json_option, registered_name, require_use_case, use_case_option
from mlops_core.cli.output import format_time, print_json, print_table
from mlops_core.cli.runner_options import RunnerCommand
from mlops_core.cli.streams import echo_line
from mlops_core.errors import UsageError

if TYPE_CHECKING:
    import datetime as dt

    from mlops_core.deployments.ledger import Deployment, DeploymentLedger
    from mlops_core.deployments.states import EndpointStatus
    from mlops_core.runners.plugin import RunnerOptions
    from mlops_core.workspace.model_versions import LedgerEntry

_why_option = click.option("--why", required=True, metavar="TEXT", help="Reason, kept in the ledger.")


@click.group("deployments")
def command() -> None:
    """List, show, test, roll back and delete deployments."""


@command.command("list")
@use_case_option
@click.option("--all", "with_ended", is_flag=True, help="Include deployments that are over.")
@json_option
@click.pass_obj
def list_deployments(context: dict[str, str | None], *, usecase: str | None, with_ended: bool, as_json: bool) -> None:
    """List deployments from the ledger, newest first: of one use case, or of all."""
    from mlops_core.api import workspace_path
    from mlops_core.deployments.ledger import DeploymentLedger
    from mlops_core.workspace.store import Store

    with Store(workspace_path(context["workspace"])) as store:
        known = DeploymentLedger(store).deployments(registered_name(usecase) if usecase else None)
    if not known:
        require_use_case(usecase)
    shown = [each for each in known if with_ended or not each.state.is_final]
    if as_json:
        print_json([each.to_json() for each in shown])
        return
    if not known:
        what = f" of '{registered_name(usecase)}'" if usecase else ""
        name = registered_name(usecase) if usecase else "NAME"
        echo_line(f"nothing{what} was deployed yet; deploy a version with: mlops deploy -u {name} --to staging")
        return
    if shown:
        _print_deployments(shown)
    else:
        echo_line("nothing is in service or under way")
    if len(shown) < len(known):
        echo_line(f"{len(known) - len(shown)} more are over; show them with --all")


def _print_deployments(deployments: list[Deployment]) -> None:
    rows = [
        (
            each.plan.model.use_case,
            each.number,
            each.plan.stage,
            each.plan.model.version,
            each.state,
            format_time(each.changed),
            each.plan.endpoint,
            each.runner,
        )
        for each in deployments
    ]
    print_table(("use case", "deployment", "stage", "version", "state", "since", "endpoint", "runner"), rows)


@command.command("show", cls=RunnerCommand, options_of=OPTIONS_OF)
@use_case_option
@click.argument("number", type=click.IntRange(min=1), required=False)
@click.option("--at", metavar="TIME", help="Show what served at this time (ISO 8601), for example 2026-05-03.")
@json_option
@click.pass_context
def show_deployment(
    ctx: click.Context,
    *,
    usecase: str | None,
    number: int | None,
    at: str | None,
    as_json: bool,
    runner: str,
    runner_options: RunnerOptions,
) -> None:
    """Show a deployment (default: the newest) with its ledger entries, and what the engine says about its endpoint.

    With --at, show which version each stage served at that time. A date means the end of that day, a time without
    offset is UTC.
    """
    from mlops_core.trust.history import parse_moment

    if at is not None and number is not None:
        raise UsageError("--at shows what every stage served; leave the number out")
    moment = parse_moment(at) if at else None
    with opened_deployer(ctx.obj["workspace"], runner, runner_options) as deployer:
        name = usecase if usecase or number is None else _owner(deployer.ledger, number)
        name = chosen_use_case(name)
        if moment is not None:
            _show_past(deployer.ledger, name, moment, as_json=as_json)
            return
        deployment = _found(deployer.ledger, name, number)
        status = deployer.status(deployment)
        entries = deployer.ledger.history(deployment)
    if as_json:
        from dataclasses import asdict

        document = deployment.to_json() | {"ledger": [asdict(entry) for entry in entries]}
        print_json(document | {"status": status.to_json() if status else None})
        return
    _print_deployment(deployment, status, entries)


def _print_deployment(deployment: Deployment, status: EndpointStatus | None, entries: tuple[LedgerEntry, ...]) -> None:
    echo_line(f"{deployment} is {deployment.state}")
    echo_line(f"  endpoint: {deployment.plan.endpoint} ({deployment.runner}), configuration: {deployment.plan.name}")
    if status is None:
        echo_line(f"  the engine was not asked; add --runner {deployment.runner}")
    else:
        pending = f", {status.pending} pending ({status.pending_percent} %)" if status.pending else ""
        reason = f": {status.reason}" if status.reason else ""
        echo_line(
            f"  the engine says: {status.phase}{reason}; it answers with {status.configuration or 'nothing'}{pending}"
        )
        if status.address:
            echo_line(f"  address: {status.address}")
    rows = [(format_time(entry.at), entry.who, entry.subject, entry.value, entry.why) for entry in entries]
    print_table(("when", "who", "subject", "now", "why"), rows)


def _owner(ledger: DeploymentLedger, number: int) -> str | None:
    """Return the use case of the deployment with a number; None where USECASE_NAME decides, or there is none.

    Raises:
        UsageError: several use cases have a deployment with this number.
    """
    from mlops_core.settings import read_settings

    if read_settings().use_case:
        return None
    names = sorted({each.plan.model.use_case for each in ledger.deployments() if each.number == number})
    if len(names) > 1:
        raise UsageError(
            f"numbers count per use case, and {' and '.join(names)} each have a deployment {number}; add -u NAME"
        )
    if not names:
        raise UsageError(f"no deployment {number} of any use case; see: mlops deployments list --all")
    return names[0]


def _found(ledger: DeploymentLedger, use_case: str, number: int | None) -> Deployment:
    if number is not None:
        return ledger.deployment(use_case, number)
    known = ledger.deployments(use_case)
    if not known:
        raise UsageError(
            f"nothing of '{use_case}' was deployed; deploy it with: mlops deploy -u {use_case} --to staging"
        )
    return known[0]


def _show_past(ledger: DeploymentLedger, use_case: str, moment: dt.datetime, *, as_json: bool) -> None:
    from mlops_core.deployments.states import DeploymentState

    served = [each for each in ledger.deployments(use_case, until=moment) if each.state is DeploymentState.IN_SERVICE]
    if as_json:
        print_json({"use_case": use_case, "at": moment.isoformat(), "served": [each.to_json() for each in served]})
        return
    echo_line(f"{use_case} at {moment.isoformat(timespec='seconds')}")
    if not served:
        echo_line("  nothing was in service")
    for each in served:
        model = each.plan.model
        echo_line(
            f"  {each.plan.stage} ({each.plan.endpoint}, {each.runner}): version {model.version} since "
            f"{format_time(each.changed)}, deployment {each.number} by {each.who}"
        )


@command.command("test", cls=RunnerCommand, options_of=OPTIONS_OF)
@use_case_option
@stage_option
@endpoint_option
@json_option
@click.pass_context
def test_deployment(
    ctx: click.Context,
    *,
    usecase: str | None,
    stage: str,
    endpoint: str,
    as_json: bool,
    runner: str,
    runner_options: RunnerOptions,
) -> None:
    """Replay the recorded requests against an endpoint; exit code 3 where an answer differs from the recorded one."""
    from mlops_core.deployments.plan import Stage

    with opened_deployer(ctx.obj["workspace"], runner, runner_options) as deployer:
        outcome = deployer.test(chosen_use_case(usecase), Stage(stage), endpoint=endpoint)
    print_json(outcome.to_json()) if as_json else print_outcome(outcome)


@command.command("rollback", cls=RunnerCommand, options_of=OPTIONS_OF)
@use_case_option
@stage_option
@endpoint_option
@_why_option
@json_option
@click.pass_context
def roll_back(
    ctx: click.Context,
    *,
    usecase: str | None,
    stage: str,
    endpoint: str,
    why: str,
    as_json: bool,
    runner: str,
    runner_options: RunnerOptions,
) -> None:
    """End the deployment that is under way, or bring the deployment before the present one back, at once."""
    from mlops_core.deployments.plan import Stage

    with opened_deployer(ctx.obj["workspace"], runner, runner_options) as deployer:
        outcome = deployer.roll_back(chosen_use_case(usecase), Stage(stage), why=why, endpoint=endpoint)
    print_json(outcome.to_json()) if as_json else print_outcome(outcome)


@command.command("delete", cls=RunnerCommand, options_of=OPTIONS_OF)
@use_case_option
@stage_option
@endpoint_option
@_why_option
@json_option
@click.pass_context
def delete_endpoint(
    ctx: click.Context,
    *,
    usecase: str | None,
    stage: str,
    endpoint: str,
    why: str,
    as_json: bool,
    runner: str,
    runner_options: RunnerOptions,
) -> None:
    """Delete the endpoint of a stage; the ledger keeps what it served."""
    from mlops_core.deployments.plan import Stage

    with opened_deployer(ctx.obj["workspace"], runner, runner_options) as deployer:
        outcome = deployer.delete(chosen_use_case(usecase), Stage(stage), why=why, endpoint=endpoint)
    print_json(outcome.to_json()) if as_json else print_outcome(outcome)
