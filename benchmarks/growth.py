"""How time, memory and files grow with the size of a workspace or of its data, each at two sizes.

A row shows the processor time and the peak memory at the larger size, the exponent between the sizes (1: linear), and
the targets, which hold at the full size. By default, sizes are a tenth of it; targets of time are then a tenth, too,
but not less than what does not depend on the size, such as a second for starting.

Usage: ``python benchmarks/growth.py [--share 0.1] [--only NAME ...]``
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

CASES = Path(__file__).with_name("growth_cases.py")
_START_S = 1.0
"""Processor time that a command with plugins and a driver may take for next to nothing."""
_NOISE_S = 0.15
"""Times of the smaller size below this say nothing about growth."""
_SAMPLED_S = 0.05
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What is measured, and its targets.

    Attributes:
        size: the full size.
        unit: what it counts.
        seconds: maximum of the processor time; None for none.
        megabytes: maximum of the peak memory of the process (of any of its processes).
        fixed: processor time that does not depend on the size; the limit of no size is lower.
        exponent: maximum of the exponent of the processor time.
        file: glob of a file whose size is limited.
        file_megabytes: its limit.
    """

    size: int
    unit: str
    seconds: float | None = None
    megabytes: float = math.inf
    fixed: float = _START_S
    exponent: float = 1.2
    file: str = ""
    file_megabytes: float = math.inf


ROWS: dict[str, Row] = {
    "models list": Row(size=5000, unit="versions", seconds=0.5),
    "models approve": Row(size=5000, unit="versions", seconds=0.5),
    "models alias": Row(size=5000, unit="versions", seconds=0.5),
    "gc --dry-run": Row(size=5000, unit="versions", seconds=0.5),
    "run, nothing to do": Row(size=5000, unit="versions", seconds=0.5),
    "doctor": Row(size=10_000, unit="runs", seconds=3),
    "evaluation.json": Row(size=1000, unit="classes", exponent=2.2, file="evaluation.json", file_megabytes=3),
    "predictions: merge": Row(size=1_000_000, unit="rows", megabytes=150),
    "predictions: evaluate": Row(size=1_000_000, unit="rows", megabytes=150),
    "predictions: page": Row(size=1_000_000, unit="rows", megabytes=150),
    "bootstrap_by_group": Row(size=1_000_000, unit="rows", seconds=5, fixed=5),  # the work is that of 20,000 rows
    "near copies": Row(size=2400, unit="pictures", megabytes=100),
    "steps, nothing to do": Row(
        size=5000, unit="steps", megabytes=80, exponent=1.3, file="runs/*/report.html", file_megabytes=1
    ),
    "step of many files": Row(size=100_000, unit="files", megabytes=60),
    "table": Row(size=1_000_000, unit="rows", seconds=90, megabytes=400, fixed=30),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Processor time in seconds, peak memory and size of the file in megabytes."""

    seconds: float
    megabytes: float
    file_megabytes: float


class _Tree:
    """A process and its descendants, sampled from ``/proc``: nobody waits for the processes of steps.

    Attributes:
        megabytes: peak memory of any of them.
    """

    def __init__(self, root: int) -> None:
        self._seconds: dict[int, float] = {root: 0.0}
        self.megabytes = 0.0

    @property
    def seconds(self) -> float:
        """Processor time of all of them together."""
        return sum(self._seconds.values())

    def sample(self) -> None:
        """Read what each has used so far; a process that is gone keeps what was read last."""
        children = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = path.read_text(errors="replace").rpartition(")")[2].split()
                children[int(path.parent.name)] = (int(fields[1]), (int(fields[11]) + int(fields[12])) / _TICKS)
        members = [pid for pid in children if pid in self._seconds]
        while members:
            for pid in members:
                self._seconds[pid] = children[pid][1]
                with contextlib.suppress(OSError):
                    status = Path(f"/proc/{pid}/status").read_text(errors="replace")
                    peak = re.search(r"VmHWM:\s+(\d+)", status)
                    self.megabytes = max(self.megabytes, int(peak[1]) / 1024 if peak else 0.0)
            members = [pid for pid, (parent, _) in children.items() if parent in members and pid not in self._seconds]


def measure(name: str, row: Row, size: int, folder: Path) -> Measurement:
    """Prepare a case and measure it in a process of its own; exit if it fails."""
    command = [sys.executable, str(CASES)]
    folder.parent.mkdir()
    subprocess.run([*command, "prepare", name, str(size), str(folder)], check=True)
    with (folder.parent / "output").open("w+b") as output:
        process = subprocess.Popen([*command, "measure", name, str(size), str(folder)], stdout=output, stderr=output)
        tree = _Tree(process.pid)
        while not (waited := os.wait4(process.pid, os.WNOHANG))[0]:
            tree.sample()
            time.sleep(_SAMPLED_S)
        _, status, usage = waited
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            sys.exit(f"{name} failed:\n{output.read().decode(errors='replace')[-2000:]}")
    found = [path.stat().st_size for path in folder.glob(row.file)] if row.file else []
    return Measurement(
        seconds=max(usage.ru_utime + usage.ru_stime, tree.seconds),
        megabytes=max(usage.ru_maxrss / 1024, tree.megabytes),
        file_megabytes=max(found, default=0) / 1e6,
    )


def is_met(row: Row, share: float, large: Measurement, exponent: float | None) -> bool:
    """Return whether all targets are met."""
    limit = math.inf if row.seconds is None else max(min(row.fixed, row.seconds), row.seconds * share)
    return (
        large.seconds <= limit
        and large.megabytes <= row.megabytes
        and large.file_megabytes <= row.file_megabytes
        and (exponent is None or exponent <= row.exponent)
    )


def report(name: str, row: Row, share: float) -> bool:
    """Measure a row at both sizes, print it, and return whether its targets are met."""
    size = max(10, round(row.size * share))
    sizes = (max(4, size // 10), size)
    with tempfile.TemporaryDirectory(prefix="mlops-growth-") as place:
        small, large = (measure(name, row, one, Path(place) / str(one) / "data") for one in sizes)
    is_noise = small.seconds < _NOISE_S or large.seconds < 2 * _NOISE_S
    exponent = None if is_noise else math.log(large.seconds / small.seconds) / math.log(sizes[1] / sizes[0])
    met = is_met(row, share, large, exponent)
    targets = [f"n^{row.exponent:g}"]
    targets += [] if row.seconds is None else [f"{row.seconds:g} s"]
    targets += [f"{row.megabytes:g} MB"] if math.isfinite(row.megabytes) else []
    targets += [f"file {row.file_megabytes:g} MB"] if row.file else []
    growth = "-" if exponent is None else f"{exponent:.2f}"
    print(
        f"{name:<24} {sizes[1]:>9} {row.unit:<9} {large.seconds:>8.2f}s {large.megabytes:>6.0f}MB {growth:>5}  "
        f"{large.file_megabytes:>5.2f}MB  {'met' if met else 'MISSED'} ({', '.join(targets)} at {row.size})",
        flush=True,
    )
    return met


def main() -> int:
    """Measure all rows; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=0.1, help="share of the full sizes (default: 0.1)")
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), metavar="NAME", help="rows to measure")
    arguments = parser.parse_args()
    print(f"{'what':<24} {'size':>19} {'processor':>9} {'memory':>8} {'exp.':>5}  {'file':>7}  targets")
    met = [report(name, ROWS[name], arguments.share) for name in arguments.only]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
