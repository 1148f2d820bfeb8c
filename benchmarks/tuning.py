"""Searches: what a trial costs beside its training, what is reused, what a killed search repeats, what trials gain.

The use case of the tests trains in no time, so the time of a search divided by its trials is the overhead of a trial:
process, verification of the split, predictions, objective, artifacts. A killed search must repeat no finished trial.

Usage: ``python benchmarks/tuning.py [--trials 40]`` or ``python benchmarks/tuning.py --gain FOLDER [--trials 30]
[--folds 1]`` for the mean squared error on the table in FOLDER, of the best trial and of the defaults.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measuring import Ratio, Timing, medians, report, timed_command

import mlops_core

TUNED = Path(__file__).resolve().parent.parent / "tests" / "tuning" / "tuned_toy"
COMMAND = [sys.executable, "-c", "import sys; from mlops_core.cli import main; sys.exit(main())"]
OVERHEAD_S = 0.5
"""Limit of the time of a trial without its training, of those that run in parallel on two cores."""
REPETITIONS = 3


def environ(workspace: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(TUNED), "MLOPS_HOME": str(workspace)}


def search(trials: int) -> list[str]:
    return [*COMMAND, "run", "-u", "TUNED", "--set", f"tuning.trials={trials}", "--set", "tuning.sampler=sobol"]


def statuses(workspace: Path) -> dict[str, str]:
    command = [*COMMAND, "runs", "show", "--json"]
    shown = subprocess.run(command, env=environ(workspace), check=True, capture_output=True)
    steps = json.loads(shown.stdout)["steps"]
    return {step["name"]: step["status"] for step in steps if ".trial-" in step["name"]}


def overhead(trials: int) -> list[Ratio]:
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        one = timed_command(search(1), extra=environ(workspace))
        cold = timed_command(search(trials), extra=environ(workspace))
        more = timed_command(search(trials + 4), extra=environ(workspace))
        assert list(statuses(workspace).values()).count("reused") == trials
        plain, again = medians(
            [
                lambda: timed_command(search(1), extra=environ(workspace)),
                lambda: timed_command(search(trials), extra=environ(workspace)),
            ],
            repetitions=REPETITIONS,
        )
    each = (cold.wall_s - one.wall_s) / trials
    print(f"{trials} trials: {cold.wall_s:.1f} s; 4 trials more: {more.wall_s:.1f} s; load {os.getloadavg()[0]:.1f}")
    spent = Timing(wall_s=each, processor_s=each)
    return [
        Ratio(name="a trial without its training", ours=spent, peer="limit", peer_time=OVERHEAD_S, target=1.0),
        Ratio(name=f"{trials} trials, all reused", ours=again, peer="no search, reused", peer_time=plain, target=2.0),
    ]


def killed(trials: int) -> None:
    """Kill a search when some trials are done; the next run must reuse each of them."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        process = subprocess.Popen(
            search(trials), env=environ(workspace), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        done = 0
        for line in process.stderr:
            done += b"trial-" in line and b": done" in line
            if done >= trials // 2:
                os.killpg(process.pid, signal.SIGKILL)
                break
        process.wait()
        began = time.monotonic()
        subprocess.run(search(trials), env=environ(workspace), check=True, capture_output=True)
        reused = list(statuses(workspace).values()).count("reused")
    print(f"killed after {done} of {trials} trials: {reused} reused, the rest in {time.monotonic() - began:.1f} s")
    assert reused >= done, "a finished trial was executed again"


def gain(folder: Path, *, file: str, trials: int, folds: int) -> None:
    """Print the error on the test fold of the defaults and of the best of `trials`, and the price in time."""
    for fold in range(1, folds + 1):
        with tempfile.TemporaryDirectory() as home:
            errors, seconds = [], []
            for count in (1, trials):
                began = time.monotonic()
                record = mlops_core.run(
                    "ABALONE",
                    workspace=home,
                    overrides=[
                        f"dataset.path={folder}",
                        f"table.file={file}", f"split.test_fold={fold}", f"tuning.trials={count}",
                        "tuning.sampler=sobol", "training.objectives=[gamma]", "training.leaves=[9]",
                    ],
                )  # fmt: skip
                seconds.append(time.monotonic() - began)
                (clause,) = record.verdict.clauses
                errors.append(clause.value)
        print(
            f"fold {fold}: mean squared error {errors[0]:.4f} by default, {errors[1]:.4f} with {trials} trials "
            f"({errors[1] - errors[0]:+.4f}); {seconds[0]:.0f} s and {seconds[1]:.0f} s"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int)
    parser.add_argument("--folds", type=int, default=1)
    parser.add_argument("--file", default="abalone.csv", help="of the table, in the folder")
    parser.add_argument("--gain", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    if arguments.gain is not None:
        gain(arguments.gain, file=arguments.file, trials=arguments.trials or 30, folds=arguments.folds)
        return 0
    trials = arguments.trials or 40
    ratios = overhead(trials)
    killed(trials)
    return report(ratios)


if __name__ == "__main__":
    sys.exit(main())
