"""The steps of a run with many steps: those that need attention one by one, the others in groups of similar names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.quantities import format_duration
from mlops_core.workspace.records import StepStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_core.report.timeline import Bar
    from mlops_core.workspace.records import StepRecord

SHOWN_STEPS = 100
"""Up to so many steps are shown one by one."""
_NOTEWORTHY = 50
_GROUPS = 100
_NUMBER = re.compile(r"\d+")
_ORDINARY = (StepStatus.DONE, StepStatus.REUSED, StepStatus.SKIPPED, StepStatus.PENDING)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepGroup:
    """Steps whose names differ in numbers only, and which ended in the same way.

    Attributes:
        name: their common name, with ``*`` for the numbers.
        status: how they ended.
        steps: in order of execution.
    """

    name: str
    status: StepStatus
    steps: tuple[StepRecord, ...]

    @property
    def duration_s(self) -> float:
        """Duration of all steps together."""
        return sum(step.duration_s for step in self.steps)

    @property
    def reason(self) -> str:
        """Why they were executed or reused; of several reasons the most frequent."""
        reasons = [step.because for step in self.steps]
        return max(dict.fromkeys(reasons), key=reasons.count) if len(set(reasons)) < _GROUPS else ""

    def listing(self) -> str:
        """Return one line per step: name and duration."""
        return "\n".join(f"{step.name}  {format_duration(step.duration_s)}" for step in self.steps)


def group_steps(steps: Sequence[StepRecord]) -> tuple[tuple[StepRecord, ...], tuple[StepGroup, ...]]:
    """Return the steps to show one by one, and the groups of all others.

    Steps that failed, were stopped or warned are shown one by one, up to 50; names that form too many groups are one.
    """
    shown = tuple(step for step in steps if _is_noteworthy(step))[:_NOTEWORTHY]
    alone = {step.name for step in shown}
    groups: dict[tuple[str, StepStatus], list[StepRecord]] = {}
    for step in steps:
        if step.name not in alone:
            key = (_NUMBER.sub("*", step.name), step.status)
            groups.setdefault(key if key in groups or len(groups) < _GROUPS else ("others", step.status), []).append(
                step
            )
    return shown, tuple(
        StepGroup(name=name, status=status, steps=tuple(members)) for (name, status), members in groups.items()
    )


def span_of(bars: Sequence[Bar]) -> tuple[float, float] | None:
    """Return start and length of the part of the axis that bars cover together; None without bars."""
    if not bars:
        return None
    start = min(bar.start for bar in bars)
    return start, max(bar.start + bar.length for bar in bars) - start


def _is_noteworthy(step: StepRecord) -> bool:
    return step.status not in _ORDINARY or bool(step.error or step.warning) or step.attempts > 1
