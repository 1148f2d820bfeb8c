"""Checks of retries, time and memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.testing.checks import check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_core.testing.runners.session import RunnerSession

RAN = ("a_run_is_accepted",)


@check(after=(*RAN, "a_failing_step_fails_the_run"), needs="has_retries")
def failed_steps_are_retried(session: RunnerSession) -> Iterator[str]:
    """A step that declares retries and fails once is executed again, and the run is accepted.

    Fix: repeat a failed step as often as Resources.retries says.
    """
    if session.retried.status != "accepted":
        yield f"it ended with {session.retried.outcome}"
    if len(session.retried.of("train")) != 2:
        yield f"step 'train' was executed {len(session.retried.of('train'))} times"


@check(after=("failed_steps_are_retried",), needs="has_retries")
def attempts_are_recorded(session: RunnerSession) -> Iterator[str]:
    """The record of a retried step holds the number of attempts.

    Fix: count every start of the step in StepRecord.attempts.
    """
    if session.retried.step("train")["attempts"] != 2:
        yield f"recorded are {session.retried.step('train')['attempts']}, made were 2"


@check(after=("failed_steps_are_retried",), needs="has_retries")
def retries_are_limited(session: RunnerSession) -> Iterator[str]:
    """A step that always fails is executed once more than it declares retries, and the run fails.

    Fix: give up after Resources.retries repetitions.
    """
    count = len(session.exhausted.of("train"))
    if session.exhausted.status != "failed" or count != 2:
        yield f"with one retry it was executed {count} times; the run ended with {session.exhausted.outcome}"


@check(after=RAN, needs="has_timeouts")
def steps_end_after_their_timeout(session: RunnerSession) -> Iterator[str]:
    """A step that takes longer than it declares is ended, with its processes, and the run fails.

    Fix: kill the step's process tree after Resources.timeout_s.
    """
    if session.timed_out.status != "failed":
        yield f"it ended with {session.timed_out.outcome}"
    if any(visit.ended is None for visit in session.timed_out.of("train")):
        yield "the process of step 'train' is still running"


@check(after=RAN, needs="has_memory_limits")
def steps_end_at_their_memory_limit(session: RunnerSession) -> Iterator[str]:
    """A step that uses more memory than it declares is ended, and the run fails.

    Fix: watch the memory of the step's process tree against Resources.memory_limit_mb.
    """
    if session.oversized.status != "failed" or "could allocate" in session.oversized.outcome:
        yield f"it ended with {session.oversized.outcome}"
