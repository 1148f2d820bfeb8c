"""Checks of runs that are interrupted, killed, cut off, or not alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.testing.checks import check
from mlops_core.testing.runners.backdoors import is_alive, registered_models, run_ids, stored_record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_core.testing.runners.session import RunnerSession

RAN = ("a_run_is_accepted",)
_INTERRUPTED = 130


@check(after=RAN, needs="stops_on_interrupt")
def an_interrupt_stops_the_run(session: RunnerSession) -> Iterator[str]:
    """Ctrl-C ends the run with exit code 130, recorded as stopped.

    Fix: let KeyboardInterrupt reach Run.carry_out after the steps were ended.
    """
    drive = session.interrupted
    if drive.exit_code != _INTERRUPTED:
        yield f"exit code {drive.exit_code}: {drive.outcome}"
    status = stored_record(drive.workspace, run_ids(drive.workspace)[-1]).get("status")
    if status != "stopped":
        yield f"recorded as {status}"


@check(after=("an_interrupt_stops_the_run",), needs="stops_on_interrupt")
def an_interrupt_ends_the_steps(session: RunnerSession) -> Iterator[str]:
    """After Ctrl-C no process of a step is left.

    Fix: kill the process trees of running steps before the run ends.
    """
    for visit in session.interrupted.visits:
        if visit.ended is None or is_alive(visit.pid):
            yield f"the process of step '{visit.step}' is still running"


@check(after=RAN)
def interrupted_and_killed_runs_register_nothing(session: RunnerSession) -> Iterator[str]:
    """A run that was interrupted or killed during its training has registered no model.

    Fix: leave registration to Run.carry_out.
    """
    for drive in (session.interrupted, session.killed):
        if drive.visits and registered_models(drive.workspace) and not session.declaration.has_connection:
            yield f"registered: {registered_models(drive.workspace)}"


@check(after=RAN, needs="ends_with_driver")
def steps_end_with_a_killed_run(session: RunnerSession) -> Iterator[str]:
    """When the process of a run is killed, so are the processes of its steps.

    Fix: execute steps with StepProcesses, or let them end when the connection to the run's process is closed.
    """
    for visit in session.killed.visits:
        if visit.ended is None or is_alive(visit.pid):
            yield f"the process of step '{visit.step}' is still running"


@check(after=("interrupted_and_killed_runs_register_nothing",), needs="is_resumable")
def killed_runs_can_be_resumed(session: RunnerSession) -> Iterator[str]:
    """A run whose process was killed can be resumed and is accepted; finished steps are not executed again.

    Fix: save the record of each step when it ends, and take the run's lock anew.
    """
    if session.taken_up.status != "accepted":
        yield f"it ended with {session.taken_up.outcome}"
    again = [name for name in ("prepare", "left", "right") if session.taken_up.of(name)]
    if again:
        yield f"executed again: {', '.join(again)}"


@check(after=RAN)
def runs_share_a_workspace(session: RunnerSession) -> Iterator[str]:
    """Two runs at the same time in one workspace are both accepted, and each registers its own model.

    Fix: keep everything that belongs to a run under its id; write with the store's own methods.
    """
    for drive in session.concurrent:
        if drive.status != "accepted":
            yield f"it ended with {drive.outcome}"
            return
    first, second = session.concurrent
    if len(first.models) != 1 or len(second.models) != 1 or first.models == second.models:
        yield f"registered by {first.run_id}: {first.models}, by {second.run_id}: {second.models}"
    if len({model["artifact"] for model in registered_models(first.workspace)}) == 1:
        yield "both registered the same model, although their seeds differ"


@check(after=RAN, needs="has_connection")
def a_lost_connection_ends_in_one_clear_line(session: RunnerSession) -> Iterator[str]:
    """A run that loses its connection to the service ends with an error of one line, and not as accepted.

    Fix: turn the errors of the service's client into RunnerError.
    """
    error = session.cut.error or str(session.cut.record.get("error", ""))
    if session.cut.status == "accepted" or not error or "Traceback" in error:
        yield f"it ended with {session.cut.outcome!r}"


@check(after=("a_lost_connection_ends_in_one_clear_line",), needs="has_connection")
def a_lost_connection_loses_no_run(session: RunnerSession) -> Iterator[str]:
    """When the connection is back, the run can be resumed; its training is not executed again.

    Fix: store what identifies the execution before the connection is used again.
    """
    if session.mended.status != "accepted":
        yield f"it ended with {session.mended.outcome}"
    if len(session.witness.visits("cut", "train")) != 1:
        yield f"step 'train' was executed {len(session.witness.visits('cut', 'train'))} times"
