"""Measurement of commands side by side: alternating repetitions, medians, and ratios with their targets.

Targets are ratios of wall time, which is what a user waits for. Other programs on the machine change it, so that the
ratio of processor time, which they hardly change, is printed beside it.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Wall time and processor time of one measurement, in seconds; `processor_s` includes child processes."""

    wall_s: float
    processor_s: float

    def share(self, count: int) -> Timing:
        """Return the time of one of `count` equal parts."""
        return Timing(wall_s=self.wall_s / count, processor_s=self.processor_s / count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """Ratio of two medians, and its maximum.

    Attributes:
        name: what is measured.
        ours: time of this framework.
        peer: name of the peer.
        peer_time: time of the peer; a number of seconds for a fixed limit, which has no processor time.
        target: maximum of the ratio of wall times.
    """

    name: str
    ours: Timing
    peer: str
    peer_time: Timing | float
    target: float

    @property
    def peer_s(self) -> float:
        """Wall time of the peer in seconds."""
        return self.peer_time.wall_s if isinstance(self.peer_time, Timing) else self.peer_time

    @property
    def wall(self) -> float:
        """Ratio of the wall times."""
        return self.ours.wall_s / self.peer_s

    @property
    def processor(self) -> float | None:
        """Ratio of the processor times; None for a fixed limit."""
        return self.ours.processor_s / self.peer_time.processor_s if isinstance(self.peer_time, Timing) else None

    @property
    def is_met(self) -> bool:
        """Whether the ratio of wall times does not exceed the target."""
        return self.wall <= self.target


def processor_s() -> float:
    """Return the processor time of this process and of the child processes that have ended, in seconds."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def timed(function: Callable[[], object]) -> Timing:
    """Return the time of a call."""
    began, spent = time.perf_counter(), processor_s()
    function()
    return Timing(wall_s=time.perf_counter() - began, processor_s=processor_s() - spent)


def timed_command(command: Sequence[str], *, cwd: str | None = None, extra: dict[str, str] | None = None) -> Timing:
    """Return the time of a command; exit if it fails. Python may write and use bytecode, as it does by default.

    Args:
        command: program and arguments.
        cwd: working directory.
        extra: additional environment variables.
    """
    environ = {**os.environ, **(extra or {})}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)

    def execute() -> None:
        result = subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            sys.exit(f"{' '.join(command)} failed:\n{result.stdout}\n{result.stderr}")

    return timed(execute)


def medians(measures: Sequence[Callable[[], Timing]], *, repetitions: int) -> list[Timing]:
    """Return the medians of each measure; the measures alternate, so that a slow minute affects all of them."""
    timings: list[list[Timing]] = [[] for _ in measures]
    for _ in range(repetitions):
        for index, measure in enumerate(measures):
            timings[index].append(measure())
    return [
        Timing(
            wall_s=statistics.median(timing.wall_s for timing in repeated),
            processor_s=statistics.median(timing.processor_s for timing in repeated),
        )
        for repeated in timings
    ]


def report(ratios: Sequence[Ratio]) -> int:
    """Print a table of the ratios; return 1 if a target is missed."""
    print(f"{'what':<34} {'ours':>9} {'peer':>9}  {'wall':>6} {'target':>6} {'processor':>9}  peer")
    for ratio in ratios:
        verdict = "met" if ratio.is_met else "MISSED"
        processor = "-" if ratio.processor is None else f"{ratio.processor:.2f}"
        print(
            f"{ratio.name:<34} {ratio.ours.wall_s:>8.3f}s {ratio.peer_s:>8.3f}s  {ratio.wall:>6.2f} "
            f"{ratio.target:>6.2f} {processor:>9}  {verdict}, {ratio.peer}"
        )
    return 0 if all(ratio.is_met for ratio in ratios) else 1
