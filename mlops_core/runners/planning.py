"""What a run would do: for each step run or reuse, and the reason, without executing anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core import datasets
from mlops_core.pipeline import DATASET, FETCH
from mlops_core.runners.local import key_of
from mlops_core.runners.sources import fetch_source

if TYPE_CHECKING:
    from mlops_core.pipeline import Step
    from mlops_core.runners import RunRequest
    from mlops_core.store import Store

_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """One line of a plan.

    Attributes:
        step: its name.
        action: ``run``, ``reuse``, ``fetch``, or ``maybe`` where it depends on what an earlier step will write.
        reason: one sentence.
        expected_s: how long it took when it was last run; None when it never was.
    """

    step: str
    action: str
    reason: str
    expected_s: float | None = None


def plan_run(request: RunRequest, *, store: Store) -> tuple[PlannedStep, ...]:
    """Return what a run of `request` would do now, in order of execution.

    Raises:
        DatasetError: ``dataset.path`` names a folder that does not exist.
    """
    digests: dict[str, str] = {}
    plan = [_plan_fetch(request, store=store, digests=digests)]
    plan += [_plan_step(step, request, store=store, digests=digests) for step in request.pipeline.ordered()]
    return tuple(plan)


def _plan_fetch(request: RunRequest, *, store: Store, digests: dict[str, str]) -> PlannedStep:
    config = request.config.model
    _, given = request.use_case.dataset_source(config)
    if given is None:
        dataset = request.use_case.dataset(config)
        if not datasets.is_complete(dataset, store.datasets / dataset.name):
            return PlannedStep(step=FETCH, action="fetch", reason=f"{dataset.name} is not in the workspace")
    source = fetch_source(request.use_case, config, store=store, is_offline=True)
    digests[DATASET] = source.record.digest
    return PlannedStep(step=FETCH, action="reuse", reason=f"{source.record.name} is complete in {source.path}")


def _plan_step(step: Step, request: RunRequest, *, store: Store, digests: dict[str, str]) -> PlannedStep:
    latest = store.latest_step(request.use_case.name, step.name)
    expected = latest.duration_s if latest else None
    missing = [reference for reference in step.inputs.values() if reference not in digests]
    if missing:
        action = "maybe" if latest else "run"
        reason = f"{missing[0]} will be written first"
        return PlannedStep(step=step.name, action=action, reason=reason, expected_s=expected)
    key = key_of(step, request, digests=digests)
    cached = store.cached_step(key.digest)
    if cached and step.name not in request.force:
        digests |= {f"{step.name}.{output}": digest for output, digest in cached.outputs.items()}
        return PlannedStep(
            step=step.name, action="reuse", reason=f"unchanged since run {cached.run_id}", expected_s=0.0
        )
    if cached:
        reason = "--force"
    elif latest is None:
        reason = "it was never run"
    else:
        changed = key.changes_since(latest.components)
        shown = ", ".join(changed[:_SHOWN]) + (f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else "")
        reason = f"changed: {shown}" if changed else "its artifacts are gone"
    return PlannedStep(step=step.name, action="run", reason=reason, expected_s=expected)
