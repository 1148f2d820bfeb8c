"""Captured requests through a monitor: which alarms would have been raised, and whether that says anything."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mlops_core.errors import DatasetError
from mlops_core.evaluation.reference_statistics import MOST_OBSERVED
from mlops_core.serving.drift.opening import require_numpy
from mlops_core.serving.drift.replay.kept import kept_preparation

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_core.serving.drift.alarms import DriftAlarm
    from mlops_core.serving.drift.policy import DriftPlan, DriftPolicy
    from mlops_core.serving.drift.reference import DriftReference
    from mlops_core.serving.drift.replay.sorting import CapturedSamples


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftCheck:
    """The result of a replay.

    Attributes:
        model: use case and version.
        alarms: in the order of their time.
        state: statistics at the end, thresholds and counters.
        preparation: what the report says about reference, plan and thresholds.
        counts: of requests and samples, and of what was left out.
        hours: from the first to the last sample.
        notes: what limits the result; one line each.
    """

    model: str
    alarms: tuple[DriftAlarm, ...]
    state: dict[str, float]
    preparation: dict[str, Any]
    counts: dict[str, int]
    hours: float
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return JSON types."""
        return {**asdict(self), "alarms": [asdict(alarm) for alarm in self.alarms], "notes": list(self.notes)}


def check_samples(
    samples: CapturedSamples, reference: DriftReference, policy: DriftPolicy, *, model: str, folder: Path | None = None
) -> DriftCheck:
    """Run samples through a monitor.

    Args:
        samples: in the order of their time.
        reference: the reference.
        policy: the policy.
        model: what alarms say about the model.
        folder: where the calibration is kept; None to calibrate anew.

    Raises:
        DatasetError: too few samples are observed for any window, so that no alarm would say nothing.
        UsageError, DatasetError, ConfigError: see `mlops_core.serving.drift.prepare`.
    """
    require_numpy()
    from mlops_core.serving.drift.monitor import DriftMonitor

    _require_enough(len(samples), policy.plan(len(reference.vectors)), policy)
    monitor = DriftMonitor(kept_preparation(reference, policy, folder), policy, model=model)
    alarms = []
    for time, vector in samples:
        alarm = monitor.observe_at(list(vector), datetime.fromtimestamp(time, UTC))
        if alarm is not None:
            alarms.append(alarm)
    state = dict(monitor.state())
    return DriftCheck(
        model=model,
        alarms=tuple(alarms),
        state=state,
        preparation=monitor.preparation.facts(),
        counts=samples.counts(),
        hours=samples.hours,
        notes=tuple(_notes(samples, policy)),
    )


def _require_enough(count: int, plan: DriftPlan, policy: DriftPolicy) -> None:
    if count // plan.every >= plan.windows[0]:
        return
    days = policy.days * policy.run_length / policy.requests_between_false_alarms
    all_of_them = f"observe all of them with --days {days:.2g} or less, or " if plan.every > 1 else ""
    raise DatasetError(
        f"drift: {count} samples were captured, of which one in {plan.every} is observed; the smallest window needs "
        f"{plan.windows[0]} observed ones: {all_of_them}capture at least {plan.windows[0] * plan.every}"
    )


def _notes(samples: CapturedSamples, policy: DriftPolicy) -> list[str]:
    notes = []
    count, hours = len(samples), samples.hours
    if hours > 0 and count > 100 and not 0.5 <= (rate := count / hours) / policy.requests_per_hour <= 2:
        notes.append(
            f"the captured requests hold {rate:.3g} samples per hour; the policy expects {policy.requests_per_hour:g}"
        )
    for number, what in (
        (samples.unreadable, "lines cannot be read and are left out"),
        (samples.undescribed, f"requests made the plugin fail and are left out; the first: {samples.first_failure}"),
        (samples.duplicates, "requests occur twice and are used once"),
        (samples.without_model, "requests do not say which registered version answered"),
        (samples.beyond, f"samples follow the first {MOST_OBSERVED} of their request and are left out, as by a server"),
        (samples.late, "requests follow later ones in their file and are sorted by time"),
    ):
        if number:
            notes.append(f"{number} {what}")
    return notes
