"""Both windows, the cumulative sums and sub-sampling together; attached to a server or fed with captured requests."""

from __future__ import annotations

import hashlib
import json
import math
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_core.errors import StoreError
from mlops_core.serving.drift.alarms import DriftAlarm, MovedFeature, RetrainProposal
from mlops_core.serving.drift.calibration import kernel_reference, steps_of
from mlops_core.serving.drift.cusum import advance
from mlops_core.serving.drift.mmd import OnlineMmd
from mlops_core.serving.drift.preparation import prepared
from mlops_core.serving.drift.scaling import reference_arrays
from mlops_core.serving.drift.states import StateFolder
from mlops_core.serving.drift.streams import GroupStreams

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mlops_core.serving.drift.policy import DriftPolicy
    from mlops_core.serving.drift.preparation import Calibrate, PreparedReference
    from mlops_core.serving.drift.reference import DriftReference

_SAVED_EVERY = 10
_NAMED_FEATURES = 5
_MOVED_BY_CHANCE = 0.01
_SPLIT_STREAM = 5
_ATTEMPTS = 100


class DriftMonitor:
    """Observes samples, and raises an alarm when a statistic reaches its threshold; then everything begins anew.

    It satisfies `mlops_core.serving.DriftDetector`. Memory does not grow with traffic. The same seed, reference, policy
    and samples give the same alarms; a monitor that is closed and opened again continues as if it had not been closed.
    After a kill it continues from the last state that was written: a thread gets one every ten observed samples, and
    with each alarm, after the alarm itself. An alarm that was recorded after the state counts as well.

    Attributes:
        preparation: plan, thresholds and the rate of false alarms on data that was held out.
        alarms: number of alarms since the folder was created.
        last_alarm: the last one that this process raised.
    """

    def __init__(
        self,
        preparation: PreparedReference,
        policy: DriftPolicy,
        *,
        folder: StateFolder | None = None,
        model: str = "",
        on_alarm: Callable[[DriftAlarm], None] | None = None,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        """Begin with windows of the reference; `open` also reads the state."""
        self.preparation = preparation
        self.alarms = 0
        self.last_alarm: DriftAlarm | None = None
        self._policy = policy
        self._folder = folder
        self._model = model
        self._on_alarm = on_alarm
        self._clock = clock or _now
        self._kernel_reference = kernel_reference(preparation.reference, seed=policy.seed)
        self._streams = GroupStreams(
            len(self._kernel_reference.values), self._kernel_reference.groups, every=preparation.plan.every
        )
        self._seen = self._skipped = self._observed_in_all = 0
        self._next_proposal = ""
        self._chosen: dict[int, int] = {}
        self._is_one_due = False
        self._unsaved = 0
        self._begin()

    @classmethod
    def open(  # noqa: PLR0913  each part has a default
        cls,
        reference: DriftReference,
        policy: DriftPolicy,
        folder: Path | None = None,
        *,
        model: str = "",
        on_alarm: Callable[[DriftAlarm], None] | None = None,
        clock: Callable[[], datetime] | None = None,
        calibrate: Calibrate | None = None,
    ) -> DriftMonitor:
        """Return a monitor that continues where the last one ended: see `mlops_core.serving.drift.open_monitor`."""
        calibrate = calibrate or prepared
        if folder is None:
            return cls(calibrate(reference, policy, None), policy, model=model, on_alarm=on_alarm, clock=clock)
        # The calibration takes seconds: the folder is locked before.
        states = StateFolder(folder, reference=reference_arrays(reference).digest, policy=policy.digest)
        try:
            saved = states.read()
            preparation = calibrate(reference, policy, folder)
            monitor = cls(preparation, policy, folder=states, model=model, on_alarm=on_alarm, clock=clock)
            if saved is not None:
                monitor._restore(saved)
            monitor._take_over(states, is_restored=saved is not None)
        except BaseException:
            states.close()
            raise
        return monitor

    def observe(self, features: Sequence[Sequence[float | None]]) -> Mapping[str, object]:
        """Take the samples of a request; return what its log line says.

        Args:
            features: one sequence per sample, in the order of the reference's features. A sample with None, or a number
                that is not finite, is counted and left out.

        Returns:
            nothing unless a sample was observed; then the statistics, and id and reason of an alarm.

        Raises:
            DatasetError: a sample has another number of features than the reference.
        """
        facts: dict[str, object] = {}
        for sample in features:
            observed = self._observed_in_all
            alarm = self.observe_at(sample)
            if alarm is not None:
                facts.update(alarm=alarm.id, reason=alarm.reason)
            if self._observed_in_all > observed:
                facts.update({name: round(value, 6) for name, value in self._values().items()})
        return facts

    def observe_at(self, sample: Sequence[float | None], moment: datetime | None = None) -> DriftAlarm | None:
        """Take one sample; return the alarm that it raised.

        Args:
            sample: its features.
            moment: its time, UTC; None for the clock.

        Raises:
            DatasetError: it has another number of features than the reference.
        """
        self._seen += 1
        if not self._is_chosen():
            return None
        vector = self.preparation.reference.vector(sample)
        if vector is None:
            self._skipped += 1
            return None
        self._update(vector)
        alarm = self._crossed(moment)
        self._unsaved += 1
        if alarm is not None and self._folder is not None:
            self._folder.append_alarm(alarm)
        if self._unsaved >= _SAVED_EVERY or alarm is not None:
            self.save()
        if alarm is not None and self._on_alarm is not None:
            self._on_alarm(alarm)
        return alarm

    def may_observe(self, count: int) -> bool:
        """Return whether one of the next `count` samples is to be observed, so that they must be described."""
        every = self.preparation.plan.every
        if self._is_one_due or count >= every:
            return True
        last = self._seen + count
        blocks = range(self._seen // every, (last - 1) // every + 1)
        return any(self._seen <= block * every + self._chosen_in(block) < last for block in blocks)

    def skip(self, count: int) -> None:
        """Count samples that were not described; one that was to be observed is replaced by the next described one."""
        for _ in range(count):
            self._seen += 1
            if self._is_at_chosen():
                self._is_one_due = True

    def state(self) -> Mapping[str, float]:
        """Return statistics, thresholds and counters by name."""
        thresholds = {f"{name}_threshold": value for name, value in self._thresholds().items()}
        return {
            **self._values(),
            **thresholds,
            "seen": self._seen,
            "observed": self._observed_in_all,
            "not_finite": self._skipped,
            "alarms": self.alarms,
        }

    def features(self) -> tuple[MovedFeature, ...]:
        """Return the features that moved most in the larger window; none before the first sample."""
        return self._features(max(self._mmd)) if self._observed else ()

    def save(self) -> None:
        """Have the state written to the folder, by a thread."""
        if self._folder is None:
            return
        self._unsaved = 0
        self._folder.save(
            {
                "counters": [self._seen, self._skipped, self._observed_in_all, self._observed, self.alarms],
                "next_proposal": self._next_proposal,
                "cusum": self._sums.copy(),
                "mmd": {str(window): mmd.saved() for window, mmd in self._mmd.items()},
            }
        )

    def keep(self, name: str, text: Callable[[], str]) -> None:
        """Have a further file written to the folder, by the same thread."""
        if self._folder is not None:
            self._folder.write(name, text)

    def close(self) -> None:
        """Save the state and release the folder."""
        if self._folder is not None:
            self.save()
            self._folder.close()

    def _is_chosen(self) -> bool:
        """Return whether the last sample is observed: the one of its block, or one in place of one that was skipped."""
        is_chosen = self._is_one_due or self._is_at_chosen()
        self._is_one_due = self._is_one_due and self._is_at_chosen()  # if both are, one is due still
        return is_chosen

    def _is_at_chosen(self) -> bool:
        block, at = divmod(self._seen - 1, self.preparation.plan.every)
        return at == self._chosen_in(block)

    def _chosen_in(self, block: int) -> int:
        """Return which sample of a block is observed: a random one, by the seed."""
        every = self.preparation.plan.every
        if every == 1:
            return 0
        if block not in self._chosen:
            self._chosen = {each: at for each, at in self._chosen.items() if each >= block - 1}
            self._chosen[block] = random.Random(f"{self._policy.seed}:{block}").randrange(every)  # noqa: S311  no secret
        return self._chosen[block]

    def _begin(self) -> None:
        """Fill the windows with samples of the reference that are left out of it: another split after each alarm."""
        values = self._kernel_reference.values
        calibration = self.preparation.calibration
        self._observed = 0
        self._sums = np.zeros((2, values.shape[1]))
        self._mmd = {}
        for window, threshold in calibration.thresholds.items():
            source = np.random.default_rng([self._policy.seed, _SPLIT_STREAM, window, self.alarms])
            for _ in range(_ATTEMPTS):
                indices, used = self._streams.draw(source, 1, window + steps_of(len(values), window))
                rest = ~np.isin(self._streams.group_of, used[0])
                mmd = OnlineMmd(values[rest], values[indices[0, :window]], calibration.gamma)
                if mmd.value < threshold:
                    break
            self._mmd[window] = mmd

    def _update(self, vector: NDArray[np.float64]) -> None:
        self._observed += 1
        self._observed_in_all += 1
        for mmd in self._mmd.values():
            mmd.update(vector)
        advance(self._sums, vector)

    def _values(self) -> dict[str, float]:
        return {**{f"mmd_{window}": mmd.value for window, mmd in self._mmd.items()}, "cusum": float(self._sums.max())}

    def _thresholds(self) -> dict[str, float]:
        calibration = self.preparation.calibration
        mmd = {f"mmd_{window}": threshold for window, threshold in calibration.thresholds.items()}
        return {**mmd, "cusum": calibration.cusum}

    def _crossed(self, moment: datetime | None) -> DriftAlarm | None:
        """Return an alarm for the statistic that is farthest beyond its threshold, and begin anew."""
        values, thresholds = self._values(), self._thresholds()
        name = max(values, key=lambda each: values[each] / max(thresholds[each], 1e-12))
        if not any(values[each] >= thresholds[each] for each in values):
            return None
        moment = moment or self._clock()
        window = min(self._mmd) if name == "cusum" else int(name.removeprefix("mmd_"))
        identity = (self.preparation.reference.digest, self._policy.digest, self._seen, moment.isoformat())
        alarm = DriftAlarm(
            id=hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16],
            raised_at=_iso(moment),
            model=self._model,
            statistic=name,
            value=values[name],
            threshold=thresholds[name],
            window=min(window, self._observed),
            observed=self._observed,
            seen=self._seen,
            features=self._features(window),
        )
        proposal = self._proposal(alarm, moment)
        if proposal is not None:
            alarm = replace(alarm, proposal=proposal)
        self.alarms += 1
        self.last_alarm = alarm
        self._begin()
        return alarm

    def _proposal(self, alarm: DriftAlarm, moment: datetime) -> RetrainProposal | None:
        now = _iso(moment)
        if now < self._next_proposal:
            return None
        self._next_proposal = _iso(moment + timedelta(days=self._policy.cooldown_days))
        return RetrainProposal(
            proposed_at=now, model=self._model, alarm=alarm.id, reason=alarm.reason, next_at=self._next_proposal
        )

    def _features(self, window: int) -> tuple[MovedFeature, ...]:
        """Return the features that moved most, judged by the samples in the window that arrived since it was filled."""
        reference = self.preparation.reference
        recent = self._mmd[window].window[-self._observed :]
        shifts = recent.mean(axis=0)
        sums = self._sums.max(axis=0)
        bound = NormalDist().inv_cdf(1 - _MOVED_BY_CHANCE / (2 * len(shifts))) / math.sqrt(len(recent))
        moved = (sums >= self.preparation.calibration.cusum) | (np.abs(shifts) >= bound)
        order = np.lexsort((-np.abs(shifts), ~moved))[:_NAMED_FEATURES]
        return tuple(
            MovedFeature(
                name=reference.features[index],
                shift=float(shifts[index]),
                cusum=float(sums[index]),
                ks=_ks(reference.values[:, index], recent[:, index]),
                has_moved=bool(moved[index]),
            )
            for index in order
        )

    def _restore(self, saved: Mapping[str, Any]) -> None:
        """Continue from a saved state.

        Raises:
            StoreError: it does not fit.
        """
        try:
            counters = [int(each) for each in saved["counters"]]
            self._seen, self._skipped, self._observed_in_all, _, self.alarms = counters
            self._begin()
            self._observed = counters[3]
            self._next_proposal = str(saved["next_proposal"])
            if saved["cusum"].shape != self._sums.shape or saved["mmd"].keys() != {str(each) for each in self._mmd}:
                raise ValueError("other windows or features")  # noqa: TRY301  the same as what NumPy raises
            self._sums = saved["cusum"].copy()
            for window, mmd in self._mmd.items():
                mmd.restore(saved["mmd"][str(window)])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise StoreError(f"drift: the saved state does not fit ({error}); remove it to begin anew") from error

    def _take_over(self, states: StateFolder, *, is_restored: bool) -> None:
        """Count alarms that were recorded after the state was written: a kill came between; all begins anew with them.

        Without a state, a cool-down lasts as well, but only for proposals about the same model.
        """
        count, later = states.alarms_after(self.alarms)
        if count <= self.alarms:
            return
        self.alarms = count
        lost = [alarm for alarm in later if alarm.model == self._model]
        proposals = [alarm.proposal for alarm in lost if alarm.proposal is not None]
        self._next_proposal = max([self._next_proposal, *(proposal.next_at for proposal in proposals)])
        newer = [alarm for alarm in lost if alarm.seen > self._seen]
        if is_restored and newer:
            self._observed_in_all += sum(alarm.observed for alarm in newer) - self._observed
            self._seen = newer[-1].seen
        if newer:
            self._begin()


def _ks(reference: NDArray[np.float64], recent: NDArray[np.float64]) -> float:
    """Return the largest distance between two empirical distribution functions."""
    points = np.concatenate([reference, recent])
    below_reference = np.searchsorted(np.sort(reference), points, side="right") / len(reference)
    below_recent = np.searchsorted(np.sort(recent), points, side="right") / len(recent)
    return float(np.abs(below_reference - below_recent).max())


def _now() -> datetime:
    return datetime.now(UTC)


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
