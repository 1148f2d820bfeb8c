"""Checks of interruption: a run that was killed in any step can be resumed and ends as it would have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlops_core.testing.checks import NotApplicableError, check
from mlops_core.testing.observation.trees import differences, shown
from mlops_core.testing.runners.installed import outputs_of
from mlops_core.testing.use_cases.checks.data import CHECKED_BY_CORE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlops_core.testing.observation.processes import Answer
    from mlops_core.testing.use_cases.session import ContractSession

LOCAL = ("steps_succeed_on_this_machine",)
_SIGKILL = -9
_SHARES = (0.5, 0.1, 0.0)
"""After which shares of a step's usual duration the run is killed, until it was in time; 0 is when it starts."""
_SHORTEST_S = 0.1
"""A step that takes less can be hit at its start only."""


@check(
    after=(
        "fetching_writes_to_its_folder_only",
        "steps_survive_read_only_inputs",
        "steps_leave_no_process_behind",
        "outputs_have_portable_names",
        "step_packages_are_installed",
        "results_ignore_all_surroundings_together",
        "metrics_are_the_same_when_recomputed",
        *CHECKED_BY_CORE,
    )
)
def steps_succeed_on_this_machine(session: ContractSession) -> Iterator[str]:
    """A whole run with the smallest configuration reaches a verdict on the local runner.

    Fix: whatever the error says; the steps succeeded when they were executed one by one.
    """
    if session.local.error:
        yield session.local.error


@check(after=LOCAL)
def second_run_reuses_every_step(session: ContractSession) -> Iterator[str]:
    """A second run with nothing changed executes no step.

    Fix: let hooks declare the same steps each time; nothing that changes by itself may be in configuration or code.
    """
    answer = session.run_locally(session.local.workspace)
    if answer.error:
        yield answer.error
        return
    again = [step["name"] for step in answer.result["steps"] if step["status"] != "reused"]
    if again:
        yield f"executed again: {shown(again)}"


@check(after=("second_run_reuses_every_step", "outputs_are_equal_on_every_runner"), needs="is_resumable")
def killed_runs_can_be_resumed(session: ContractSession) -> Iterator[str]:
    """A run that is killed in each of its steps, one after the other, can be resumed and ends with the same outputs.

    Fix: let a step start from scratch each time: keep nothing outside of its outputs that a later attempt could find.
    """
    answer = _resumed(session)
    if answer.error or answer.result["status"] != session.local.status:
        yield f"resumed, it ended with {answer.error or answer.result['error'] or answer.result['status']}"
    elif session.declaration.is_deterministic:
        found = outputs_of(answer.result)
        for reference, files in session.local.outputs.items():
            differing = differences(files, found.get(reference, {}))
            if differing:
                yield f"{reference}: {shown(differing)}"


@check(after=("killed_runs_can_be_resumed",), needs="is_resumable")
def resumed_runs_repeat_no_finished_step(session: ContractSession) -> Iterator[str]:
    """Steps that were finished before a run was killed are not executed again.

    Fix: run mlops plan: it names what changes between two runs with equal arguments.
    """
    last = list(session.pipeline.ordered())[-1].name
    steps: list[dict[str, Any]] = _resumed(session).result["steps"]
    again = [step["name"] for step in steps if step["status"] == "done" and step["name"] != last]
    if again:
        yield f"executed again: {shown(again)}"


def _resumed(session: ContractSession) -> Answer:
    """Kill a run in each of its steps, resume it, and return how it ended; made once."""
    if "resumed" not in session.shared:
        session.shared["resumed"] = session.run_locally(_workspace_of_kills(session))
    answer: Answer = session.shared["resumed"]
    return answer


def _workspace_of_kills(session: ContractSession) -> Path:
    """Return a workspace in which a run was killed in each step, one after the other.

    A kill that comes too late spoils its workspace, because the step has a result: all kills start over, that one
    earlier.
    """
    delays = {step.name: _delays_s(session, step.name) for step in session.pipeline.ordered()}
    while True:
        workspace = session.new_folder("workspace of kills")
        missed = next((name for name in delays if not _is_killed(session, workspace, name, delays[name][0])), "")
        if not missed:
            return workspace
        delays[missed] = delays[missed][1:]
        if not delays[missed]:
            raise NotApplicableError(f"the run could not be killed in the step '{missed}'")


def _delays_s(session: ContractSession, step: str) -> tuple[float, ...]:
    usual_s = session.step_duration_s(step)
    return tuple(usual_s * share for share in _SHARES) if usual_s >= _SHORTEST_S else (0.0,)


def _is_killed(session: ContractSession, workspace: Path, step: str, delay_s: float) -> bool:
    return session.run_locally(workspace, kill=[step, delay_s], jobs=1).returncode == _SIGKILL
