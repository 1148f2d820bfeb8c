"""The drift detector of a server, with the recent history of its statistics for the page."""

from __future__ import annotations

import contextlib
import json
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_core.errors import DatasetError, UsageError
from mlops_core.evaluation.reference_statistics import DESCRIPTION, PREDICTION, REFERENCE_FILE, SCORES
from mlops_core.serving.drift.opening import open_monitor
from mlops_core.serving.drift.reference import FolderInUseError
from mlops_core.serving.drift.replay.references import find_reference
from mlops_core.serving.watch.calibrating import prepare_apart
from mlops_core.serving.watch.clock import SteadyClock
from mlops_core.serving.watch.folders import state_folders
from mlops_core.serving.watch.options import rate_in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from mlops_core.evaluation.reference_statistics import ReferenceStatistics
    from mlops_core.serving.drift.alarms import DriftAlarm, MovedFeature
    from mlops_core.serving.drift.monitor import DriftMonitor
    from mlops_core.serving.drift.policy import DriftPlan
    from mlops_core.serving.drift.preparation import PreparedReference
    from mlops_core.serving.models import ServedModel
    from mlops_core.serving.watch.options import WatchOptions

HISTORY_FILE = "history.json"
_POINTS = 500
_SHOWN_ALARMS = 20
_NAMES_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport:
    """What the page of a server says about drift.

    Attributes:
        plan: windows, and how many samples are observed.
        days: mean time between false alarms, as the policy states it.
        requests_per_hour: number of samples per hour that the policy expects.
        reference: size and source of the reference, as text.
        held_out: false alarms on data that was held out from the calibration, as text.
        state: statistics, thresholds and counters, by name.
        history: time in seconds since 1970, and the statistics by name, of observed samples; the oldest one first.
        now: the present time in seconds since 1970.
        moved: features of the present window, the one that moved most first.
        alarms: the newest ones, newest first.
        use_case: for the command that trains again.
    """

    plan: DriftPlan
    days: float
    requests_per_hour: float
    reference: str
    held_out: str
    state: Mapping[str, float]
    history: Sequence[tuple[float, Mapping[str, float]]]
    now: float
    moved: Sequence[MovedFeature]
    alarms: Sequence[DriftAlarm]
    use_case: str

    @property
    def statistics(self) -> tuple[str, ...]:
        """Names of the statistics that have a threshold."""
        return tuple(name for name in self.state if f"{name}_threshold" in self.state)

    def to_json(self) -> dict[str, Any]:
        """Return the present state as JSON types."""
        return {
            "statistics": {
                name: {"value": self.state[name], "threshold": self.state[f"{name}_threshold"]}
                for name in self.statistics
            },
            "samples": self.state["seen"],
            "observed": self.state["observed"],
            "one_observed_in": self.plan.every,
            "alarms": self.state["alarms"],
            "held_out": self.held_out,
            "moved": [each.name for each in self.moved if each.has_moved],
            "last_alarm": json.loads(self.alarms[0].to_json()) if self.alarms else None,
        }


class DriftWatch:
    """A `mlops_core.serving.DriftDetector` that remembers the recent past and is saved from time to time.

    Attributes:
        source: which features of a sample it observes: its scores, or its description.
        reference: of the model.
    """

    def __init__(
        self,
        monitor: DriftMonitor,
        *,
        model: ServedModel,
        reference: ReferenceStatistics,
        options: WatchOptions,
        folder: Path | None,
        alarms: deque[DriftAlarm],
    ) -> None:
        """Take over an open monitor, and the alarms that it appends to; those of earlier processes are read."""
        self.source = reference.source
        self.reference = reference
        self._monitor = monitor
        self._model = model
        self._options = options
        self._history: deque[tuple[float, dict[str, float]]] = deque(maxlen=_POINTS)
        self._alarms = alarms
        self._clock = SteadyClock()
        self._folder = folder
        self._saved_at = -1.0
        if folder is not None:
            self._restore(folder)

    @classmethod
    def open(cls, model: ServedModel, options: WatchOptions, *, on_alarm: Callable[[DriftAlarm], None]) -> DriftWatch:
        """Open the detector of a model; it takes seconds where thresholds have to be calibrated.

        Raises:
            UsageError: the model has no reference, or NumPy is not installed.
            DatasetError: the reference is damaged or too small.
            ConfigError: the stated rate of false alarms cannot be reached.
            StoreError: the folder holds the state of another reference, or cannot be used.
        """
        from mlops_core.api import workspace_path

        try:
            reference = find_reference(model, workspace=options.workspace)
        except UsageError:
            raise UsageError(f"{model} has no {REFERENCE_FILE}; run the use case again, which writes it") from None
        folders: Iterator[Path | None] = iter([options.folder])
        home = workspace_path(options.workspace).absolute()
        if options.folder is None and home.is_dir():
            folders = state_folders(home, model, reference, options.policy)
        alarms: deque[DriftAlarm] = deque(maxlen=_SHOWN_ALARMS)

        def raised(alarm: DriftAlarm) -> None:
            alarms.appendleft(alarm)
            on_alarm(alarm)

        in_use: FolderInUseError | None = None
        for folder in folders:
            try:
                monitor = open_monitor(
                    reference,
                    options.policy,
                    folder,
                    model=str(model),
                    on_alarm=raised,
                    clock=SteadyClock(),
                    calibrate=prepare_apart,
                )
            except FolderInUseError as error:
                in_use = error
                continue
            return cls(monitor, model=model, reference=reference, options=options, folder=folder, alarms=alarms)
        assert in_use is not None  # noqa: S101  there is a folder at least
        raise in_use

    def check_features(self, classes: Sequence[str], described: Sequence[str]) -> None:
        """Compare the features of the loaded model with those of the reference.

        Raises:
            DatasetError: they are others.
        """
        found = described if self.source == DESCRIPTION else classes or (PREDICTION,)
        if tuple(found) == self.reference.features:
            return
        what = {DESCRIPTION: "descriptions", SCORES: "scores"}[self.source]
        raise DatasetError(
            f"the reference has the {what} {_names(self.reference.features)}, the model has {_names(found) or 'none'}; "
            "evaluate the model again"
        )

    def summary(self) -> str:
        """Return how drift is watched, in one line."""
        plan, policy = self._monitor.preparation.plan, self._options.policy
        every = "each sample" if plan.every == 1 else f"one in {plan.every} samples"
        where = f"state in {self._folder}" if self._folder else "its state is not kept: name a folder with --state-dir"
        return (
            f"watching drift of {len(self.reference.features)} features of the {self.source} against "
            f"{len(self.reference)} samples: {every}; false alarms: "
            f"{rate_in_words(policy.days, policy.requests_per_hour)}; {where}"
        )

    # --- What a server calls --------------------------------------------------------------------------------

    def observe(self, features: Sequence[Sequence[float | None]]) -> Mapping[str, object]:
        """Take the samples of a request; return what its log line says."""
        facts = self._monitor.observe(features)
        values = {name: value for name, value in facts.items() if isinstance(value, float)}
        moment = self._clock().timestamp()
        if "alarm" in facts:  # the statistics have begun anew: the chart also shows what reached the threshold
            self._history.append((moment, {self._alarms[0].statistic: self._alarms[0].value}))
        if values:
            self._history.append((moment, values))
        return facts

    def may_observe(self, count: int) -> bool:
        """Return whether one of the next `count` samples is to be observed, so that they must be described."""
        return self._monitor.may_observe(count)

    def skip(self, count: int) -> None:
        """Count samples that were not described."""
        self._monitor.skip(count)

    def state(self) -> Mapping[str, float]:
        """Return statistics, thresholds and counters by name."""
        return self._monitor.state()

    def report(self) -> DriftReport:
        """Return what the page says."""
        size = f"{len(self.reference):,} held-out samples, {len(self.reference.features):,} features"
        what = "computed from the samples" if self.source == DESCRIPTION else "of the answers"
        policy = self._options.policy
        return DriftReport(
            plan=self._monitor.preparation.plan,
            days=policy.days,
            requests_per_hour=policy.requests_per_hour,
            reference=f"{size} {what}",
            held_out=held_out_in_words(self._monitor.preparation),
            state=self.state(),
            history=tuple(self._history),
            now=self._clock().timestamp(),
            moved=self._monitor.features(),
            alarms=tuple(self._alarms),
            use_case=self._model.use_case,
        )

    def save(self) -> None:
        """Have state and history written if a sample was seen since the last time; a full disk is noted once."""
        seen = self.state()["seen"]
        if seen == self._saved_at:
            return
        self._saved_at = seen
        self._monitor.save()
        points = list(self._history)
        self._monitor.keep(HISTORY_FILE, lambda: json.dumps({"format": 1, "points": points}) + "\n")

    def close(self) -> None:
        """Save everything and release the folder."""
        self.save()
        self._monitor.close()

    def _restore(self, folder: Path) -> None:
        """Read the history and the alarms of earlier processes; what is damaged is left out."""
        from mlops_core.serving.watch.records import read_alarms

        self._alarms.extend(list(read_alarms(folder))[::-1][:_SHOWN_ALARMS])
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            data = json.loads((folder / HISTORY_FILE).read_bytes())
            points = [
                (float(moment), {str(name): float(value) for name, value in values.items()})
                for moment, values in data["points"]
            ]
            self._history.extend(points)


def open_in_thread(
    model: ServedModel,
    options: WatchOptions,
    *,
    on_alarm: Callable[[DriftAlarm], None],
    when_done: Callable[[DriftWatch | Exception], None],
) -> None:
    """Open a detector in a thread that does not hold up the end of the process.

    Args:
        model: that is served.
        options: about drift.
        on_alarm: called with each alarm, in the thread of `DriftWatch.observe`.
        when_done: called in the new thread with the detector, or with the error.
    """

    def run() -> None:
        try:
            outcome: DriftWatch | Exception = DriftWatch.open(model, options, on_alarm=on_alarm)
        except Exception as error:  # noqa: BLE001  whatever it is, the server must know
            outcome = error
        with contextlib.suppress(RuntimeError):  # the server has ended meanwhile
            when_done(outcome)

    threading.Thread(target=run, name="drift", daemon=True).start()


def alarm_lines(alarm: DriftAlarm, use_case: str) -> tuple[str, ...]:
    """Return what a person reads about an alarm: that it happened, and what it proposes."""
    first = f"drift alarm {alarm.id}: {alarm.reason}"
    if alarm.proposal is None:
        return (first,)
    return (first, f"proposal: retrain on recent data with mlops run -u {use_case}; nothing was started or deployed")


def alarm_event(alarm: DriftAlarm, moment: datetime) -> dict[str, Any]:
    """Return the line of the log about an alarm."""
    time = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"time": time, "event": "drift_alarm", "alarm": json.loads(alarm.to_json())}


def held_out_in_words(preparation: PreparedReference) -> str:
    """Return the false alarms on data that was held out from the calibration, as text."""
    rate = preparation.held_out
    if rate is None:
        return preparation.held_out_note or "not measured: half of the reference is too small for a window"
    expected = f"{rate.expected:,.1f} expected"
    return f"{rate.alarms:,} false alarms in {rate.samples:,} samples; {expected} ({rate.ratio:.2f} of that)"


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"{', '.join(map(repr, names[:_NAMES_SHOWN]))}{more}"
