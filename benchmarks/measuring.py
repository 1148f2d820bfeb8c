"""Measuring commands side by side: alternating repetitions, medians, and ratios with their targets."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A measured ratio of two medians, and what it shall not exceed."""

    name: str
    ours_s: float
    peer: str
    peer_s: float
    target: float

    @property
    def value(self) -> float:
        """Ours divided by the peer's."""
        return self.ours_s / self.peer_s

    @property
    def is_met(self) -> bool:
        """Not above the target."""
        return self.value <= self.target


def seconds(command: Sequence[str], *, cwd: str | None = None, extra: dict[str, str] | None = None) -> float:
    """Return the wall time of a command that must succeed."""
    began = time.perf_counter()
    result = subprocess.run(
        command, cwd=cwd, env={**os.environ, **(extra or {})}, capture_output=True, text=True, check=False
    )
    took = time.perf_counter() - began
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{result.stdout}\n{result.stderr}")
    return took


def medians(measures: Sequence[Callable[[], float]], *, repetitions: int) -> list[float]:
    """Return the median of each measure; they take turns, so that a slow minute hits all of them."""
    found: list[list[float]] = [[] for _ in measures]
    for _ in range(repetitions):
        for index, measure in enumerate(measures):
            found[index].append(measure())
    return [statistics.median(values) for values in found]


def report(ratios: Sequence[Ratio]) -> int:
    """Print a table; return 1 when a target is missed."""
    print(f"{'what':<34} {'ours':>9} {'peer':>9}  {'ratio':>6} {'target':>6}  peer")
    for ratio in ratios:
        verdict = "met" if ratio.is_met else "MISSED"
        print(
            f"{ratio.name:<34} {ratio.ours_s:>8.3f}s {ratio.peer_s:>8.3f}s  {ratio.value:>6.2f} {ratio.target:>6.2f}"
            f"  {verdict}, {ratio.peer}"
        )
    return 0 if all(ratio.is_met for ratio in ratios) else 1
