"""How often a false alarm is acceptable, and what follows from it: windows, run lengths, sub-sampling."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass

from mlops_core.errors import ConfigError, DatasetError

SHORT_WINDOW = 20
LONG_WINDOW = 100
MIN_WINDOW = 5
SAMPLES_PER_WINDOW = 5
"""A reference holds at least so many samples per sample of a window, so that most of it remains to compare with."""
_LONG_SHARE = 8
_RUN_PER_WINDOW = 4
"""A run length below four windows would raise a false alarm within the first window in more than 22 % of cases."""
_LONGEST_RUN = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftPolicy:
    """One false alarm in `days` at `requests_per_hour`, and how it is reached.

    Attributes:
        days: mean time between false alarms of all statistics together, in days of traffic.
        requests_per_hour: expected samples per hour; a request with several samples counts as many.
        windows: sizes of the windows in observed samples; None chooses 20 and 100, less where the reference is small.
        run_length: largest mean number of *observed* samples between false alarms. Where `days` asks for more, only one
            in so many samples is observed. Larger values see drift after fewer requests, and take longer to calibrate.
        cooldown_days: after a proposal to retrain, none is made for so long.
        seed: of everything random.

    Raises:
        ConfigError: a value is impossible.

    Example:
        >>> DriftPolicy(days=30, requests_per_hour=500).requests_between_false_alarms
        360000.0
    """

    days: float = 30.0
    requests_per_hour: float = 500.0
    windows: tuple[int, ...] | None = None
    run_length: int = 2000
    cooldown_days: float = 7.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("days", "requests_per_hour"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"drift: {name} is {value}; expected a finite number above 0")
        if not (math.isfinite(self.cooldown_days) and self.cooldown_days >= 0):
            raise ConfigError(f"drift: cooldown_days is {self.cooldown_days}; expected a finite number from 0")
        if not 1 <= self.run_length <= _LONGEST_RUN:
            raise ConfigError(f"drift: run_length is {self.run_length}; expected 1 to {_LONGEST_RUN} samples")
        if self.windows is not None and (
            not 1 <= len(self.windows) <= 2
            or len(set(self.windows)) < len(self.windows)
            or min(self.windows) < MIN_WINDOW
        ):
            raise ConfigError(
                f"drift: windows are {list(self.windows)}; expected one or two different sizes of at least {MIN_WINDOW}"
            )

    @property
    def requests_between_false_alarms(self) -> float:
        """Mean number of samples between false alarms."""
        return self.days * 24.0 * self.requests_per_hour

    @property
    def digest(self) -> str:
        """Hash of all values that thresholds depend on."""
        values = {name: value for name, value in asdict(self).items() if name != "cooldown_days"}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    def plan(self, samples: int) -> DriftPlan:
        """Return what follows from the policy for a reference of so many samples.

        Raises:
            DatasetError: the reference is too small for the windows.
            ConfigError: the run length cannot be reached.
        """
        windows = self._windows(samples)
        between = self.requests_between_false_alarms
        every = max(1, math.ceil(between / self.run_length))
        observed = between / every
        statistics = len(windows) + 1
        if observed * statistics < _RUN_PER_WINDOW * windows[-1]:
            needed = _RUN_PER_WINDOW * windows[-1] / statistics
            raise ConfigError(
                f"drift: one false alarm in {self.days:g} days at {self.requests_per_hour:g} requests per hour is one "
                f"in {observed:.3g} observed samples; a window of {windows[-1]} needs at least {needed:.3g}: ask for "
                "fewer false alarms, or for smaller windows"
            )
        return DriftPlan(windows=windows, every=every, run_length=observed, run_length_each=observed * statistics)

    def _windows(self, samples: int) -> tuple[int, ...]:
        if self.windows is not None:
            windows = tuple(sorted(self.windows))
            if samples < SAMPLES_PER_WINDOW * windows[-1]:
                raise DatasetError(
                    f"drift: the reference has {samples} samples; a window of {windows[-1]} needs at least "
                    f"{SAMPLES_PER_WINDOW * windows[-1]} ({SAMPLES_PER_WINDOW} per sample of the window): use a larger "
                    "reference or a smaller window"
                )
            return windows
        short = min(SHORT_WINDOW, samples // SAMPLES_PER_WINDOW)
        if short < SHORT_WINDOW // 2:
            raise DatasetError(
                f"drift: the reference has {samples} samples; the smallest window of {SHORT_WINDOW // 2} needs at "
                f"least {SAMPLES_PER_WINDOW * SHORT_WINDOW // 2}: use a larger reference"
            )
        long = min(LONG_WINDOW, samples // _LONG_SHARE)
        return (short, long) if long >= 2 * short else (short,)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftPlan:
    """What follows from a policy for a reference.

    Attributes:
        windows: sizes in observed samples, the shorter one first.
        every: one in so many samples is observed.
        run_length: mean number of observed samples between false alarms of all statistics together.
        run_length_each: the same for each statistic alone, if no two of them raised an alarm together.
    """

    windows: tuple[int, ...]
    every: int
    run_length: float
    run_length_each: float
