"""Plans: for each step whether a run would execute or reuse it, why, and how long it took before."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlops_core.pipeline import DATASET, FETCH
from mlops_core.runners.dataset_source import fetch_source, is_source_there
from mlops_core.runners.reuse import StepDecisions

if TYPE_CHECKING:
    from mlops_core.pipeline import Step
    from mlops_core.runners.request import RunRequest
    from mlops_core.steps.keys import Change
    from mlops_core.workspace.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """A step of a plan.

    Attributes:
        step: name of the step.
        action: ``run``, ``reuse``, ``fetch``, ``leave out``, or ``maybe`` where it depends on the output of an
            earlier step.
        reason: one sentence.
        changes: components of its key that differ from those of its last execution.
        replaces: run whose results under the same key will be replaced; empty for none.
        expected_s: median duration of its last executions; None if it was never executed.
        key: digest of its step key; empty where it depends on the output of an earlier step.
    """

    step: str
    action: str
    reason: str
    changes: tuple[Change, ...] = ()
    replaces: str = ""
    expected_s: float | None = None
    key: str = ""


def plan_run(request: RunRequest, *, store: Store) -> tuple[PlannedStep, ...]:
    """Return the plan of a run, in the order of execution.

    Raises:
        DatasetError: ``dataset.path`` names a folder that does not exist.
        UsageError: a step that has to be reused has no results.
    """
    decisions = StepDecisions(store, request)
    plan = [_plan_fetch(request, store=store, decisions=decisions)]
    plan += [
        _with_values(step, _plan_step(step, request, store=store, decisions=decisions))
        for step in request.pipeline.ordered()
    ]
    return tuple(plan)


def _with_values(step: Step, planned: PlannedStep) -> PlannedStep:
    """Return the plan of a trial with the values that it tries."""
    values = step.tuning.values(step.trial) if step.tuning is not None and step.trial is not None else {}
    if not values:
        return planned
    shown = ", ".join(f"{name}={value}" for name, value in values.items())
    return replace(planned, reason=f"{shown}; {planned.reason}")


def _plan_fetch(request: RunRequest, *, store: Store, decisions: StepDecisions) -> PlannedStep:
    choice = request.dataset_choice()
    if not is_source_there(choice, store=store, seed=request.seed):
        return PlannedStep(step=FETCH, action="fetch", reason=f"{choice.name} is not in the workspace")
    source = fetch_source(request.use_case, choice, store=store, seed=request.seed, is_offline=True)
    decisions.digests[DATASET] = source.record.digest
    return PlannedStep(step=FETCH, action="reuse", reason=f"{source.record.name} is complete in {source.path}")


def _plan_step(step: Step, request: RunRequest, *, store: Store, decisions: StepDecisions) -> PlannedStep:
    if request.selection.is_left_out(step.name, request.pipeline):
        return PlannedStep(step=step.name, action="leave out", reason="not selected by --only")
    expected = store.step_cache.expected_duration_s(request.use_case.name, step.name)
    missing = [reference for reference in step.inputs.values() if reference not in decisions.digests]
    if missing:
        return _plan_uncertain(step, missing[0], decisions=decisions, expected_s=expected)
    decision = decisions.decide(step)
    if decision.reused:
        decisions.set_outputs(step, decision.reused.outputs)
        key = decision.key.digest
        return PlannedStep(step=step.name, action="reuse", reason=decision.because, expected_s=0.0, key=key)
    known = store.step_cache.find(decision.key.digest)
    return PlannedStep(
        step=step.name,
        action="run",
        reason=decision.because,
        changes=decision.changes,
        replaces=known.run_id if known else "",
        expected_s=expected,
        key=decision.key.digest,
    )


def _plan_uncertain(step: Step, awaited: str, *, decisions: StepDecisions, expected_s: float | None) -> PlannedStep:
    """Plan a step whose inputs are not all known; changes of its other components are."""
    changes = decisions.changes_besides_inputs(step)
    reason = f"{awaited} will be written first"
    if changes is None:
        return PlannedStep(step=step.name, action="run", reason="never executed", expected_s=expected_s)
    if changes:
        reason = f"{decisions.reason(changes, step)}; and {reason}"
    action = "run" if changes else "maybe"
    return PlannedStep(step=step.name, action=action, reason=reason, changes=changes, expected_s=expected_s)
