"""Checks of reuse and resumption: what is finished is not done again, and what changed is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.testing.checks import check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_core.testing.runners.session import RunnerSession

RAN = ("a_run_is_accepted",)
STEPS = ("prepare", "left", "right", "train", "evaluate")


@check(after=RAN)
def a_second_run_reuses_or_says_why_not(session: RunnerSession) -> Iterator[str]:
    """A second run with nothing changed executes no step, or records why it executed one.

    Fix: decide with StepDecisions, or fill StepRecord.because.
    """
    for step in session.repeated.record.get("steps", ()):
        was_executed = bool(session.repeated.of(step["name"]))
        if was_executed and (session.declaration.is_reusing or not step["because"]):
            yield f"step '{step['name']}' was executed again: {step['because'] or 'no reason is recorded'}"
        if not was_executed and step["status"] != "reused":
            yield f"step '{step['name']}' was not executed and is recorded as {step['status']}"
    if session.repeated.status != "accepted":
        yield f"it ended with {session.repeated.outcome}"


@check(after=("a_second_run_reuses_or_says_why_not",), needs="is_reusing")
def reused_steps_keep_their_digests(session: RunnerSession) -> Iterator[str]:
    """A reused step is recorded with the digests of the run that executed it.

    Fix: copy the outputs of the reused step to the record.
    """
    for name in STEPS:
        if session.repeated.step(name).get("outputs") != session.done.step(name).get("outputs"):
            yield f"step '{name}': {session.repeated.step(name).get('outputs')}"


@check(after=("a_second_run_reuses_or_says_why_not",), needs="has_force")
def forced_steps_run_again(session: RunnerSession) -> Iterator[str]:
    """A step that is forced is executed; those before it are reused.

    Fix: ask Selection.must_run before a step is reused.
    """
    executed = [name for name in STEPS if session.forced.of(name)]
    if executed != ["train"] and (session.declaration.is_reusing or "train" not in executed):
        yield f"forced was 'train'; executed were {executed}"


@check(after=("a_second_run_reuses_or_says_why_not",), needs="is_reusing")
def a_changed_section_runs_its_readers_again(session: RunnerSession) -> Iterator[str]:
    """When a section changes, the step that declares it and those that read from it run again, and no others.

    Fix: include the declared sections in the step's key.
    """
    executed = [name for name in STEPS if session.changed.of(name)]
    if executed != ["train", "evaluate"]:
        yield f"training.level changed; executed were {executed}"


@check(after=("a_failing_step_fails_the_run",), needs="is_resumable")
def failed_runs_can_be_resumed(session: RunnerSession) -> Iterator[str]:
    """A failed run that is resumed keeps its id and is accepted when its step succeeds.

    Fix: continue RunRequest.resumed; Run keeps its id.
    """
    if session.resumed.status != "accepted":
        yield f"it ended with {session.resumed.outcome}"
    elif session.resumed.run_id != session.failing.run_id:
        yield f"the run {session.failing.run_id} was resumed as {session.resumed.run_id}"


@check(after=("failed_runs_can_be_resumed",), needs="is_resumable")
def resumed_runs_repeat_no_finished_step(session: RunnerSession) -> Iterator[str]:
    """A resumed run executes only the steps that had not succeeded.

    Fix: reuse what the run has finished.
    """
    executed = [name for name in STEPS if session.resumed.of(name)]
    if executed != ["train", "evaluate"]:
        yield f"'train' had failed; executed were {executed}"
