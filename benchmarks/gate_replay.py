"""A gate replayed over 1,000 stored runs, against reading the same files.

Each run has 200 predictions of its own. The whole command is measured: a clause about a value, a bound, a slice, the
worst slice, and the champion. The limit is the time in which one process starts, and parses the records, evaluations
and predictions that the command needs with `json.loads`; the absolute limit is 5 s.

Usage: ``python benchmarks/gate_replay.py [--runs 1000]``
"""

from __future__ import annotations

import argparse
import functools
import os
import random
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from measuring import Ratio, Timing, medians, report, timed_command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_core import Prediction

TOY = Path(__file__).resolve().parent.parent / "tests" / "toy"
SAMPLES = 200
SECONDS = 5.0
"""Limit of a command over 1,000 runs."""
CLAUSES = {
    "value": ("acc >= 0.8", 12.0),
    "bound": ("acc.lower >= 0.8", 12.0),
    "slice": ("acc[long] >= 0.8", 6.0),
    "worst slice": ("worst(recall) >= 0.8", 6.0),
    "champion": ("acc >= best.acc - 0.05", 6.0),
}
"""Name -> clause, and largest ratio to reading the files."""
COMMAND = [sys.executable, "-c", "import sys; from mlops_core.cli import main; sys.exit(main())"]
READ = """
import json, pathlib, sys
root = pathlib.Path(sys.argv[1])
for path in root.glob("runs/*/*.json"):
    json.loads(path.read_bytes())
if sys.argv[2] == "predictions":
    for path in root.glob("objects/*/*/predictions.jsonl"):
        with path.open() as stream:
            for line in stream:
                json.loads(line)
"""


def environ(workspace: Path) -> dict[str, str]:
    return {"PYTHONPATH": str(TOY), "MLOPS_HOME": str(workspace)}


def rows(seed: int) -> Iterator[Prediction]:
    from mlops_core import Prediction

    draw = random.Random(seed)
    skill = draw.uniform(0.7, 0.95)
    for number in range(SAMPLES):
        label, other = ("long", "short") if number % 2 else ("short", "long")
        is_long = float((label if draw.random() < skill else other) == "long")
        yield Prediction(sample=f"{number:03}.txt", group=f"{number:03}", label=label, scores=(is_long, 1 - is_long))


def prepare(workspace: Path, count: int) -> None:
    """Store runs with their records, evaluations and predictions, as a run of the toy use case left them."""
    from mlops_core import MetricReport, proportion, read_predictions, write_predictions
    from mlops_core.evaluation.evaluation_file import write_evaluation
    from mlops_core.pipeline import Pipeline
    from mlops_core.workspace.store import Store

    arguments = [*COMMAND, "run", "-u", "TOY"]
    subprocess.run(arguments, env={**os.environ, **environ(workspace)}, check=True, capture_output=True)
    with Store(workspace) as store, store.transaction():
        record = store.runs.load("latest")
        metrics = Pipeline.from_json(record.pipeline).metrics
        step = record.step("evaluate")
        for number in range(count):
            folder = store.work_folder("bench") / "predictions"
            folder.mkdir()
            write_predictions(folder, ("long", "short"), rows(number))
            found = read_predictions(folder).rows
            hits = sum((row.scores[0] == 1) == (row.label == "long") for row in found)
            outputs = {**step.outputs, "predictions": store.artifacts.add(folder)}
            steps = tuple(replace(one, outputs=outputs) if one is step else one for one in record.steps)
            run_id = f"20991231-{number // 3600:02}{number // 60 % 60:02}{number % 60:02}-{number:06x}"
            created = f"2099-12-31T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}.000+00:00"
            store.runs.save(replace(record, run_id=run_id, created=created, steps=steps, model_version=None))
            evaluated = MetricReport(values={"acc": proportion(hits, SAMPLES)})
            write_evaluation(store.runs.folder(run_id), evaluated, metrics)


def replay(workspace: Path, clause: str) -> Timing:
    command = [*COMMAND, "gate", "replay", "-u", "TOY", "--set", clause]
    return timed_command(command, extra=environ(workspace))


def read(workspace: Path, what: str) -> Timing:
    return timed_command([sys.executable, "-c", READ, str(workspace), what])


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="number of stored runs (default: 1000)")
    count = parser.parse_args().runs
    with tempfile.TemporaryDirectory(prefix="mlops-bench-") as place:
        workspace = Path(place) / "workspace"
        prepare(workspace, count)
        measures = [functools.partial(read, workspace, what) for what in ("records", "predictions")]
        measures += [functools.partial(replay, workspace, clause) for clause, _ in CLAUSES.values()]
        records, predictions, *ours = medians(measures, repetitions=3)
    ratios = []
    for (name, (clause, target)), timing in zip(CLAUSES.items(), ours, strict=True):
        has_rows = name not in ("value", "bound")
        peer, peer_time = ("json.loads of all", predictions) if has_rows else ("json.loads of records", records)
        ratios.append(Ratio(name=f"replay: {clause}", ours=timing, peer=peer, peer_time=peer_time, target=target))
        limit = SECONDS * count / 1000
        ratios.append(Ratio(name=f"the same, {name}", ours=timing, peer="limit", peer_time=limit, target=1.0))
    return report(ratios)


if __name__ == "__main__":
    sys.exit(main())
