"""Checks of failing steps: the run fails, says why, and stops."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.testing.checks import check
from mlops_core.testing.runners.backdoors import logs_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_core.testing.runners.session import RunnerSession

RAN = ("a_run_is_accepted",)
FAILED = ("a_failing_step_fails_the_run",)


@check(after=RAN)
def a_failing_step_fails_the_run(session: RunnerSession) -> Iterator[str]:
    """A run with a step that raises ends as failed.

    Fix: raise StepError when the outcome of a step is not OK.
    """
    if session.failing.status != "failed":
        yield f"it ended with {session.failing.outcome}"


@check(after=FAILED)
def the_error_names_step_and_cause(session: RunnerSession) -> Iterator[str]:
    """The error of a failed run is one line that names the step and what it raised.

    Fix: build the message from the step's name and its outcome.
    """
    error = session.failing.record["error"]
    if "train" not in error or "the probe was asked to fail" not in error or "\n" in error:
        yield f"it is {error!r}"


@check(after=FAILED)
def followers_of_a_failed_step_do_not_run(session: RunnerSession) -> Iterator[str]:
    """No step that reads from a failed one is executed.

    Fix: stop the schedule at the first failure.
    """
    if session.failing.of("evaluate"):
        yield "step 'evaluate' was executed"


@check(after=FAILED)
def failed_runs_register_nothing(session: RunnerSession) -> Iterator[str]:
    """A failed run registers no model.

    Fix: leave registration to Run.carry_out.
    """
    if session.failing.models or session.failing.record["model_version"] is not None:
        yield f"registered: {session.failing.models}"


@check(after=(*FAILED, "logs_are_reachable"))
def logs_of_failed_steps_hold_the_traceback(session: RunnerSession) -> Iterator[str]:
    """The log of a failed step holds its traceback.

    Fix: keep standard error of the step's process.
    """
    logs = logs_of(session.failing.workspace, session.failing.run_id)
    if "Traceback" not in "".join(text for name, text in logs.items() if name.partition(".")[0] == "train"):
        yield f"it does not (logs: {', '.join(logs) or 'none'})"


@check(after=FAILED)
def a_step_without_output_fails_the_run(session: RunnerSession) -> Iterator[str]:
    """A run with a step that writes nothing to an output ends as failed.

    Fix: execute steps with mlops_core.steps.execution, which checks their outputs.
    """
    if session.empty.status != "failed":
        yield f"it ended with {session.empty.outcome}"


@check(after=FAILED)
def a_process_that_exits_early_fails_the_run(session: RunnerSession) -> Iterator[str]:
    """A run with a step whose process ends with exit code 0 before the step has ended is failed.

    Fix: require the result file that the step's process writes; the exit code alone says nothing.
    """
    if session.exited.status != "failed":
        yield f"it ended with {session.exited.outcome}"
