"""``mlops models history``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mlops_core.cli.options import json_option, registered_name, require_use_case, use_case_option
from mlops_core.cli.output import format_time, print_clauses, print_json, print_table
from mlops_core.cli.streams import echo_line

if TYPE_CHECKING:
    from mlops_core.trust.history import PastDecision, PastRegistry, ServedVersion


@click.command("history")
@use_case_option
@click.option("--at", metavar="TIME", help="Show the state at this time (ISO 8601), for example 2026-05-03.")
@json_option
@click.pass_obj
def command(context: dict[str, str | None], *, usecase: str | None, at: str | None, as_json: bool) -> None:
    """Show the ledger: who approved, rejected or moved what, when and why.

    With --at, show what each alias served at that time, and on what verdict and approval. A date means the end of that
    day, a time without offset is UTC.
    """
    from dataclasses import asdict

    from mlops_core.api import workspace_path
    from mlops_core.trust.history import parse_moment, registry_at
    from mlops_core.workspace.registry import Registry
    from mlops_core.workspace.store import Store

    moment, name = parse_moment(at) if at else None, registered_name(usecase)
    with Store(workspace_path(context["workspace"])) as store:
        if moment is not None:
            past = registry_at(store, name, moment)
            print_json(past.to_json()) if as_json else _print_past(past)
            return
        entries = Registry(store).history(name)
    if not entries:
        require_use_case(usecase)
    if as_json:
        print_json([asdict(entry) for entry in entries])
        return
    print_table(
        ("when", "who", "subject", "before", "now", "why"),
        [
            (format_time(entry.at), entry.who, entry.subject, entry.previous or "-", entry.value or "-", entry.why)
            for entry in entries
        ],
    )


def _print_past(past: PastRegistry) -> None:
    echo_line(f"model {past.use_case} at {past.at}")
    for note in past.notes:
        echo_line(f"  {note}")
    if past.approvals and not past.aliases:
        echo_line("  no alias pointed to a version")
    for served in past.aliases:
        _print_served(served)
    if past.approvals:
        rows = [(version, *_cells(approval)) for version, approval in past.approvals.items()]
        print_table(("version", "approval then", "since", "who", "why"), rows)


def _print_served(served: ServedVersion) -> None:
    _, since, who, why = _cells(served.move)
    echo_line(f"{served.alias}: version {served.version} since {since} by {who}: {why}")
    if served.approval:
        status, at, decider, reason = _cells(served.approval)
        echo_line(f"  approval then: {status} since {at} by {decider}: {reason}")
    if served.verdict is None:
        echo_line(f"  verdict: unknown: {served.problem}")
        return
    message = f": {served.verdict.message}" if served.verdict.message else ""
    echo_line(f"  verdict of run {served.run_id}: {served.verdict.outcome}{message}")
    print_clauses(served.verdict.clauses)


def _cells(decision: PastDecision) -> tuple[str, str, str, str]:
    return decision.value, format_time(decision.at), decision.who, decision.why
