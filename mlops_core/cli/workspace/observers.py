"""``mlops observers``: which observers are installed, how far they are behind, and delivery on request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mlops_core.cli.options import json_option
from mlops_core.cli.output import print_json, print_table
from mlops_core.cli.streams import echo_line
from mlops_core.errors import ExitCode, RunnerError

if TYPE_CHECKING:
    from mlops_core.observers.discovery import InstalledObserver


@click.group("observers")
def command() -> None:
    """Show installed observers and deliver the events that they have not received."""


@command.command("list")
@json_option
@click.pass_obj
def list_observers(context: dict[str, str | None], *, as_json: bool) -> None:
    """List the installed observers and how many events each of them has not received."""
    from dataclasses import asdict

    from mlops_core.api import workspace_path
    from mlops_core.observers.discovery import discover_observers
    from mlops_core.observers.queue import EventQueue
    from mlops_core.workspace.store import Store

    with Store(workspace_path(context["workspace"])) as store:
        states = [(observer, EventQueue(store.home, observer.name).state(store)) for observer in discover_observers()]
    if as_json:
        print_json([{**asdict(observer), **asdict(state)} for observer, state in states])
        return
    rows = [
        (one.name, f"{one.distribution} {one.version}", state.waiting, state.failed, state.dropped, state.last_error)
        for one, state in states
    ]
    print_table(("observer", "provided by", "waiting", "failed", "dropped", "last error"), rows)


@command.command("flush")
@click.argument("name", required=False)
@click.pass_obj
def flush(context: dict[str, str | None], *, name: str | None) -> int:
    """Deliver all waiting and failed events of the observer NAME, or of every active one, in this process.

    The exit code is 4 when an event could not be delivered.
    """
    from mlops_core.api import workspace_path
    from mlops_core.observers.discovery import active_observers, find_observer

    code = ExitCode.OK
    home = workspace_path(context["workspace"])
    for observer in [find_observer(name)] if name else active_observers(home):
        try:
            echo_line(f"{observer.name}: {_flushed(observer, context['workspace'])} events delivered")
        except RunnerError as error:
            echo_line(f"mlops: error: {error}", err=True)
            code = error.exit_code
    return code


def _flushed(observer: InstalledObserver, workspace: str | None) -> int:
    """Deliver the events of one observer and return their number.

    Raises:
        RunnerError: an event could not be delivered.
    """
    from mlops_core.api import workspace_path
    from mlops_core.observers.delivery import Delivery, delivery_lock
    from mlops_core.workspace.store import Store

    with Store(workspace_path(workspace)) as store, Delivery(store, observer.name) as delivery:
        with delivery_lock(delivery.queue.folder):
            delivery.queue.start(store)
            delivery.queue.retry_failed()
            result = delivery.deliver()
            delivery.deliver_lost_ends()
        waiting = delivery.queue.state(store).waiting
    if result.error:
        raise RunnerError(
            f"observer '{observer.name}': {result.error}; {waiting} events wait, try again later: "
            f"mlops observers flush {observer.name}"
        )
    return result.delivered
