"""``mlops drift alarms`` and ``mlops drift proposals``: what servers of this workspace have recorded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from mlops_core.cli.options import json_option, registered_name, require_use_case
from mlops_core.cli.output import format_time, print_json, print_table
from mlops_core.cli.streams import echo_line

if TYPE_CHECKING:
    from mlops_core.serving.watch.records import RecordedAlarm

_usecase_option = click.option("--usecase", "-u", metavar="NAME", help="Show only models of this use case.")
_all_option = click.option("--all", "is_all", is_flag=True, help="Show all instead of the newest 20.")
_SHOWN = 20


@click.command("alarms")
@_usecase_option
@_all_option
@json_option
@click.pass_context
def alarms(ctx: click.Context, *, usecase: str | None, is_all: bool, as_json: bool) -> None:
    """List the drift alarms of servers that keep their state in this workspace, newest first.

    An alarm means that requests differ from the samples that the model was tested with. Nothing was changed.
    """
    found = _recorded(ctx, usecase)
    if as_json:
        print_json([_data(each) for each in found])
        return
    rows = [
        (
            format_time(each.alarm.raised_at),
            each.alarm.model,
            each.alarm.statistic,
            f"{each.alarm.value:.4g} of {each.alarm.threshold:.4g}",
            ", ".join(f"{one.name} {one.shift:+.2g} sd" for one in each.alarm.features if one.has_moved) or "-",
            "retrain" if each.alarm.proposal else "-",
        )
        for each in (found if is_all else found[:_SHOWN])
    ]
    print_table(("time", "model", "statistic", "value", "moved", "proposal"), rows)
    if not is_all and len(found) > _SHOWN:
        echo_line(f"and {len(found) - _SHOWN} older ones: --all")


@click.command("proposals")
@_usecase_option
@json_option
@click.pass_context
def proposals(ctx: click.Context, *, usecase: str | None, as_json: bool) -> None:
    """List the proposals to retrain that followed from drift alarms, newest first.

    A proposal starts nothing: look at the alarm, see that the new data is right and labelled, and run the command.
    """
    from mlops_core.serving.watch.records import retrain_command

    found = [each for each in _recorded(ctx, usecase) if each.alarm.proposal]
    if as_json:
        made = ((each.use_case, json.loads(each.alarm.to_json())["proposal"]) for each in found)
        print_json([{"use_case": name, **proposal, "command": retrain_command(name)} for name, proposal in made])
        return
    rows = [
        (
            format_time(each.alarm.proposal.proposed_at),
            each.alarm.model,
            each.alarm.proposal.reason,
            format_time(each.alarm.proposal.next_at),
            retrain_command(each.use_case),
        )
        for each in found
        if each.alarm.proposal
    ]
    print_table(("time", "model", "reason", "no other before", "command"), rows)


def _recorded(ctx: click.Context, usecase: str | None) -> tuple[RecordedAlarm, ...]:
    from mlops_core.api import workspace_path
    from mlops_core.serving.watch.records import recorded_alarms

    found = recorded_alarms(workspace_path(ctx.obj["workspace"]), registered_name(usecase) if usecase else None)
    if not found:
        require_use_case(usecase)
    return found


def _data(recorded: RecordedAlarm) -> dict[str, object]:
    return {"use_case": recorded.use_case, **json.loads(recorded.alarm.to_json())}
