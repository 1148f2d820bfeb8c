"""Reuse of results: for each step its key, whether it is executed or reused, and why.

A run and a plan decide with the same code, so a plan is what a run would do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.errors import UsageError
from mlops_core.pipeline import DATASET, EVALUATION_OUTPUT
from mlops_core.steps.keys import step_key
from mlops_core.steps.source_code import CodeIndex
from mlops_core.use_cases.searches import is_selection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_core.pipeline import Step
    from mlops_core.runners.request import RunRequest
    from mlops_core.steps.keys import Change, StepKey
    from mlops_core.workspace.step_cache import CachedStep
    from mlops_core.workspace.store import Store

_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ReuseDecision:
    """Whether a step is executed or reused.

    Attributes:
        key: key of the step.
        reused: execution whose results are reused; None when the step is executed.
        because: the reason, one sentence.
        changes: differences from the key of the last execution; empty when the step is reused.
    """

    key: StepKey
    reused: CachedStep | None
    because: str
    changes: tuple[Change, ...] = ()


class StepDecisions:
    """Decides for one run or plan; `digests` grows as outputs become known."""

    def __init__(self, store: Store, request: RunRequest) -> None:
        """Decide by the step cache of `store`."""
        self._store = store
        self._request = request
        self._code = CodeIndex()
        self._sections = request.config.comparable_sections()
        self._damage: dict[str, str] = {}
        self.digests: dict[str, str] = {}
        """Reference such as ``train.model`` -> digest."""

    def decide(self, step: Step) -> ReuseDecision:
        """Decide about a step whose inputs are all known.

        Raises:
            UsageError: the step may only be reused and has no results.
        """
        selection, pipeline = self._request.selection, self._request.pipeline
        key = self.key(step)
        if step.name in self._damage:
            return ReuseDecision(key=key, reused=None, because=f"its artifact was damaged: {self._damage[step.name]}")
        known = self._store.step_cache.find(key.digest)
        missing = self._missing(step, known) if known else ""
        must_run = selection.must_run(step.name, pipeline)
        if known and not missing and not must_run:
            return ReuseDecision(key=key, reused=known, because=f"unchanged since run {known.run_id}")
        if selection.must_be_reused(step.name, pipeline):
            asked = f"--from {selection.start}" if selection.start else f"--only {', '.join(sorted(selection.only))}"
            raise UsageError(
                f"{asked}: step '{step.name}' comes before and has no results for this configuration; "
                "run without the option first"
            )
        if must_run:
            return ReuseDecision(key=key, reused=None, because="selected")
        if missing:
            return ReuseDecision(key=key, reused=None, because=missing)
        return self._changed(step, key)

    def key(self, step: Step) -> StepKey:
        """Return the key of a step whose inputs are all known."""
        return self._key(step, inputs=self.input_digests(step))

    def _key(self, step: Step, *, inputs: Mapping[str, str]) -> StepKey:
        extra = tuple(map(self._request.use_case.implementation_module, _hooks_of(step)))
        return step_key(
            step,
            config={name: self._sections[name] for name in step.config},
            parameters={name: self._request.parameters[name] for name in step.parameters},
            inputs=inputs,
            seed=self._request.seed,
            code=self._code,
            extra_modules=extra,
        )

    def changes_besides_inputs(self, step: Step) -> tuple[Change, ...] | None:
        """Return the changes since a step was executed, as far as its inputs are known; None if it never was.

        That is the execution with the same components, if there was one, else the last.
        """
        latest = self._store.step_cache.latest(self._request.use_case.name, step.name)
        if latest is None:
            return None
        known = {name: self.digests.get(reference, "") for name, reference in step.inputs.items()}
        key = self._key(step, inputs=known)

        def changes_since(components: Mapping[str, str]) -> tuple[Change, ...]:
            changes = key.changes_since(components)
            return tuple(change for change in changes if not change.component.startswith("input ") or change.new)

        cache, name = self._store.step_cache, self._request.use_case.name
        if cache.was_executed(name, step.name, lambda components: not changes_since(components)):
            return ()
        return changes_since(latest.components)

    def input_digests(self, step: Step) -> dict[str, str]:
        """Return local name -> digest, without the results of trials that failed."""
        return {
            name: self.digests[reference]
            for name, reference in step.inputs.items()
            if reference in self.digests or not step.may_lack(name)
        }

    def set_outputs(self, step: Step, outputs: Mapping[str, str]) -> None:
        """Record the outputs of a step for those that follow."""
        self.digests |= {f"{step.name}.{output}": digest for output, digest in outputs.items()}

    def note_damage(self, step: str, damage: str) -> None:
        """Record why the results of a step are lost."""
        self._damage[step] = damage

    def _missing(self, step: Step, known: CachedStep) -> str:
        """Return why cached results cannot be used; empty when they can.

        Core itself reads the evaluation and registers the model, so these two are verified here; the inputs of a step
        that is executed are verified before it starts.
        """
        read_by_core = {self._request.pipeline.model, f"{step.name}.{EVALUATION_OUTPUT}"}
        for output, digest in known.outputs.items():
            if not self._store.artifacts.has(digest):
                return f"its artifact '{output}' ({digest[:12]}) is gone"
            damage = self._store.artifacts.damage(digest) if f"{step.name}.{output}" in read_by_core else None
            if damage:
                self._store.artifacts.discard(digest)
                return f"its artifact '{output}' is damaged: {damage}"
        return ""

    def _changed(self, step: Step, key: StepKey) -> ReuseDecision:
        latest = self._store.step_cache.latest(self._request.use_case.name, step.name)
        if latest is None:
            return ReuseDecision(key=key, reused=None, because="never executed")
        changes = key.changes_since(latest.components)
        return ReuseDecision(key=key, reused=None, because=self.reason(changes, step), changes=changes)

    def reason(self, changes: tuple[Change, ...], step: Step) -> str:
        """Return the first few changes with their values, as one sentence."""
        shown = "; ".join(self._described(change, step) for change in changes[:_SHOWN])
        return f"changed: {shown}" + (f"; and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else "")

    def _described(self, change: Change, step: Step) -> str:
        """Return a change as text; for an input whose both states are known, name the files."""
        kind, _, name = change.component.partition(" ")
        if kind != "input" or not change.old or not change.new:
            return str(change)
        from mlops_core.workspace.manifests import changed_files

        old, new = self._store.manifests.find(change.old), self._store.manifests.find(change.new)
        if old is None or new is None:
            return str(change)
        files = changed_files(old, new)
        what = "data set" if step.inputs.get(name) == DATASET else f"input {name}"
        more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
        return f"{what}: {', '.join(_marked(file, old, new) for file in files[:_SHOWN])}{more}"


def _marked(file: str, old: Mapping[str, str], new: Mapping[str, str]) -> str:
    if file not in old:
        return f"+{file}"
    return f"-{file}" if file not in new else f"{file} {old[file][:8]} -> {new[file][:8]}"


def _hooks_of(step: Step) -> tuple[str, ...]:
    """Return the hooks whose code belongs to the key of a step, besides the step's own."""
    if is_selection(step):
        return ("mlops_get_metrics",)  # it compares by the declared direction
    if step.batch is not None:
        return ("mlops_load_predictor",)
    if not step.computes_metrics:
        return ()
    is_drawn_by_results = step.tuning is not None and not step.tuning.is_static
    return ("mlops_compute_metrics", *(("mlops_get_metrics",) if is_drawn_by_results else ()))
