"""The steps that a run executes: all, those from one step on, only some, or some by force."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.errors import UsageError, did_you_mean
from mlops_core.pipeline import tuned_step

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlops_core.pipeline import Pipeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The selected steps.

    Attributes:
        force: steps that run even if their results could be reused.
        start: this step and all that follow it run; those before it must have results.
        only: only these steps run, without the gate; their inputs must have results. Empty for all.
        keep_going: after a failure, run the steps that do not depend on the failed one.
    """

    force: frozenset[str] = frozenset()
    start: str = ""
    only: frozenset[str] = frozenset()
    keep_going: bool = False

    def check(self, pipeline: Pipeline) -> None:
        """Refuse steps that the pipeline does not have, and options that contradict each other.

        Raises:
            UsageError: names the step or the options.
        """
        for option, names in (("--force", self.force), ("--from", [self.start]), ("--only", self.only)):
            _require_steps(option, [name for name in names if name], pipeline)
        if self.start and self.only:
            raise UsageError("--from and --only exclude each other; give one of them")

    def must_run(self, step: str, pipeline: Pipeline) -> bool:
        """Return whether the step runs even if its results are known."""
        if {step, tuned_step(step)} & (self.force | self.only):
            return True
        return bool(self.start) and self._follows(step, pipeline)

    def must_be_reused(self, step: str, pipeline: Pipeline) -> bool:
        """Return whether the step may only be reused, because it comes before the selected steps."""
        if self.only:
            return not {step, tuned_step(step)} & self.only
        return bool(self.start) and not self._follows(step, pipeline)

    def _follows(self, step: str, pipeline: Pipeline) -> bool:
        return bool({step, tuned_step(step)} & pipeline.followers(self.start))

    def is_left_out(self, step: str, pipeline: Pipeline) -> bool:
        """Return whether the step is neither selected nor read by a selected step."""
        return bool(self.only) and not any(step == name or step in pipeline.ancestors(name) for name in self.only)


def _require_steps(option: str, names: Iterable[str], pipeline: Pipeline) -> None:
    known = [step.name for step in pipeline.steps]
    for name in names:
        if name not in known:
            raise UsageError(f"{option}: no step '{name}'{did_you_mean(name, known) or ';'} steps: {', '.join(known)}")
