"""Checks of the observer: it receives every event in order, and cannot harm the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.testing.checks import check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_core.testing.runners.session import RunnerSession

RAN = ("a_run_is_accepted",)
STEPS = ("fetch", "prepare", "left", "right", "train", "evaluate")


@check(after=RAN)
def the_start_of_a_run_is_its_first_event(session: RunnerSession) -> Iterator[str]:
    """The observer receives ``run_started`` once, before all other events, with the run's id.

    Fix: let Run.carry_out begin the run.
    """
    events = [event for event in session.done.events if event[0] != "note"]
    if not events or list(events[0]) != ["run_started", session.done.run_id]:
        yield f"the first event is {events[0] if events else 'missing'}"
    if sum(event[0] == "run_started" for event in events) != 1:
        yield "run_started came more than once"


@check(after=RAN, needs="has_events")
def steps_start_and_end_once_for_the_observer(session: RunnerSession) -> Iterator[str]:
    """The observer receives the start and then the end of every step, ``fetch`` included, once each.

    Fix: call step_started before a step and step_ended with its record after it.
    """
    for step in STEPS:
        kinds = [event[0] for event in session.done.events if event[0] in _STEP_EVENTS and event[1] == step]
        if kinds != ["step_started", "step_ended"]:
            yield f"step '{step}': {kinds or 'no events'}"


@check(after=("steps_start_and_end_once_for_the_observer", "steps_run_after_what_they_read"), needs="has_events")
def events_follow_the_order_of_the_steps(session: RunnerSession) -> Iterator[str]:
    """For the observer, too, a step starts after the end of the steps that it reads from.

    Fix: report the end of a step before its followers start.
    """
    order = [(event[0], event[1]) for event in session.done.events if event[0] in _STEP_EVENTS]
    for before, after in (("fetch", "prepare"), ("prepare", "left"), ("left", "train"), ("train", "evaluate")):
        if order.index(("step_ended", before)) > order.index(("step_started", after)):
            yield f"step '{after}' started before step '{before}' ended"


@check(after=RAN, needs="has_progress")
def progress_reaches_the_observer(session: RunnerSession) -> Iterator[str]:
    """The observer receives the last progress of a step before its end.

    Fix: pass on_progress to StepExecution.execute, or read the step's progress file.
    """
    events = [list(event) for event in session.done.events]
    progress = ["step_progress", "train", "probe", 1, 1]
    ended = ["step_ended", "train", "done"]
    if progress not in events or (ended in events and events.index(progress) > events.index(ended)):
        yield "the progress of step 'train' did not arrive before its end"


@check(after=RAN)
def observers_cannot_fail_a_run(session: RunnerSession) -> Iterator[str]:
    """A run whose observer raises at every event ends as it would without it.

    Fix: call the observer that create_runner receives, and no other one.
    """
    if session.forced.status != "accepted":
        yield f"it ended with {session.forced.outcome}"


@check(after=(*RAN, "a_failing_step_fails_the_run"), needs="has_events")
def a_failed_step_is_reported_as_failed(session: RunnerSession) -> Iterator[str]:
    """The observer receives the end of a failed step with the status failed.

    Fix: call step_ended with the step's record before the error is raised.
    """
    if ["step_ended", "train", "failed"] not in [list(event) for event in session.failing.events]:
        yield f"events of step 'train': {[list(event) for event in session.failing.events if 'train' in event]}"


_STEP_EVENTS = ("step_started", "step_ended")
