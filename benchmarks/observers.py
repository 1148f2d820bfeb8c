"""What an observer costs a run: one that hangs, crashes or prints without end, against a run without observers.

Each round runs the toy use case of the tests once without observers and once with each behaviour, in an order that
changes, with a configuration that no run had before, so that every step is executed. The table shows medians; the
target is the larger of 1 % of the run and 0.2 s.

Usage: ``python benchmarks/observers.py [--rounds 5]``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLUGINS = (ROOT / "tests" / "toy", ROOT / "tests" / "observers" / "recorder")
BEHAVIOURS = ("none", "normal", "hang", "exit", "flood")
COMMAND = (sys.executable, "-c", "from mlops_core.cli import main; main()")
LIMIT_S, LIMIT_SHARE = 0.2, 0.01


def prepare(folder: Path, behaviour: str) -> Path:
    """Return a workspace whose observer behaves in a way; ``none`` has no observer."""
    workspace, recorded = folder / behaviour / "workspace", folder / behaviour / "recorded"
    workspace.mkdir(parents=True)
    recorded.mkdir()
    (recorded / "behaviour").write_text("" if behaviour == "normal" else behaviour)
    if behaviour != "none":
        settings = {"observers": {"recorder": {"folder": str(recorded)}}}
        (workspace / "workspace.yaml").write_text(json.dumps(settings))
    return workspace


def run(workspace: Path, number: int) -> float:
    """Carry out a run and return its duration in seconds."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, PLUGINS))}
    command = (*COMMAND, "--workspace", str(workspace), "run", "-u", "TOY", "--set", f"training.bias={number / 1000}")
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True, env=environ)
    return time.monotonic() - began


def main() -> int:
    """Measure, print the table, and return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    durations: dict[str, list[float]] = {behaviour: [] for behaviour in BEHAVIOURS}
    with tempfile.TemporaryDirectory(prefix="mlops-observers-", ignore_cleanup_errors=True) as name:
        workspaces = {behaviour: prepare(Path(name), behaviour) for behaviour in BEHAVIOURS}
        for workspace in workspaces.values():
            run(workspace, 0)
        for number in range(1, rounds + 1):
            order = list(BEHAVIOURS)
            random.Random(number).shuffle(order)
            for behaviour in order:
                durations[behaviour].append(run(workspaces[behaviour], number))
    base = statistics.median(durations["none"])
    limit = max(LIMIT_S, LIMIT_SHARE * base)
    print("| observer | run, s | delay, s | limit, s |\n|---|---|---|---|")
    is_missed = False
    for behaviour, values in durations.items():
        delay = statistics.median(values) - base
        is_missed |= delay > limit
        print(f"| {behaviour} | {statistics.median(values):.3f} | {delay:+.3f} | {limit:.3f} |")
    return int(is_missed)


if __name__ == "__main__":
    sys.exit(main())
