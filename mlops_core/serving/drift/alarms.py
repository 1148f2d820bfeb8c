"""What an alarm says, and the proposal to retrain that may follow from it; nothing here deploys anything."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedFeature:
    """A feature at the time of an alarm.

    Attributes:
        name: of the feature.
        shift: mean of the window less that of the reference, in standard deviations of the reference. For a feature
            that is constant in the reference: the share of samples above less the share below it.
        cusum: larger one of the two cumulative sums.
        ks: largest distance between the distribution functions of window and reference (Kolmogorov-Smirnov); a figure
            for the reader, no verdict.
        has_moved: it stands out by itself: its cumulative sum reached the threshold, or its mean in the window is
            farther from the reference than the largest of all features would be by chance (1 %, normal approximation).
    """

    name: str
    shift: float
    cusum: float
    ks: float
    has_moved: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainProposal:
    """A proposal to train again; a person or a rule decides.

    Attributes:
        proposed_at: time; ISO 8601, UTC.
        model: the model that was served.
        alarm: id of the alarm.
        reason: one line.
        next_at: no further proposal is made before.
    """

    proposed_at: str
    model: str
    alarm: str
    reason: str
    next_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftAlarm:
    """The moment at which a statistic reached its threshold.

    Attributes:
        id: unique for a reference, a policy and a stream.
        raised_at: time of the sample; ISO 8601, UTC.
        model: the model that was served.
        statistic: ``mmd_20`` for a window of 20, ``cusum``.
        value: of the statistic.
        threshold: that it reached.
        window: size of the window that the features describe.
        observed: number of samples that were observed since the last start or alarm.
        seen: number of samples in all.
        features: up to five, the one that moved most first.
        proposal: the proposal to retrain, unless one was made within the cool-down.
    """

    id: str
    raised_at: str
    model: str
    statistic: str
    value: float
    threshold: float
    window: int
    observed: int
    seen: int
    features: tuple[MovedFeature, ...] = field(default=())
    proposal: RetrainProposal | None = None

    @property
    def reason(self) -> str:
        """One line: statistic, threshold and the features that moved."""
        moved = [f"{each.name} by {each.shift:+.2g} sd" for each in self.features if each.has_moved]
        what = ", ".join(moved) if moved else "no feature alone"
        return f"{self.statistic} {self.value:.4g} reached {self.threshold:.4g}; moved: {what}"

    def to_json(self) -> str:
        """Return one line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str | bytes) -> DriftAlarm:
        """Return the alarm that `to_json` wrote."""
        data: Mapping[str, Any] = json.loads(line)
        proposal = data["proposal"]
        return cls(
            **{
                **data,
                "features": tuple(MovedFeature(**each) for each in data["features"]),
                "proposal": None if proposal is None else RetrainProposal(**proposal),
            }
        )
