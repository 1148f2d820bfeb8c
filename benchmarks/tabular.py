"""Mean squared error on Abalone beside gradient-boosting libraries, on the same five folds of the same rows.

Ours is the mean over five runs of ``mlops run --usecase ABALONE``, one per test fold. A peer is fitted with its
defaults to the training rows of the same folds, the sex as three columns.

Usage: ``python benchmarks/tabular.py --data FOLDER --peers .venv-peers/bin``; the folder holds
``abalone/abalone.data``.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import mlops_core

FOLDS = range(1, 6)
PEERS = """\
import json, sys
import numpy as np
from catboost import CatBoostRegressor
from lightgbm import LGBMRegressor
from sklearn.ensemble import HistGradientBoostingRegressor

rows = [line.rstrip().split(",") for line in open(sys.argv[1])]
folds = np.array(json.load(open(sys.argv[2])))
sex = np.array([row[0] for row in rows])
numbers = np.array([row[1:8] for row in rows], float)
target = np.array([row[8] for row in rows], float)
columns = np.column_stack([numbers, *(sex == name for name in "FIM")]).astype(float)
made = {
    "CatBoost": lambda: CatBoostRegressor(verbose=False, random_seed=0, allow_writing_files=False),
    "HistGradientBoosting": lambda: HistGradientBoostingRegressor(random_state=0),
    "LightGBM": lambda: LGBMRegressor(random_state=0, verbose=-1),
}
found = {}
for name, make in made.items():
    errors = []
    for fold in sorted(set(folds)):
        test = folds == fold
        model = make().fit(columns[~test], target[~test])
        errors.append(float(np.mean((model.predict(columns[test]) - target[test]) ** 2)))
    found[name] = sum(errors) / len(errors)
print(json.dumps(found))
"""


def our_error(data: Path, folder: Path) -> tuple[float, list[int]]:
    """Return the mean squared error over the folds, and the fold of each row."""
    errors = []
    for fold in FOLDS:
        overrides = [f"dataset.path={data}", "table.file=abalone.data", f"split.test_fold={fold}"]
        record = mlops_core.run("ABALONE", overrides=overrides, workspace=folder)
        evaluation = json.loads((folder / "runs" / record.run_id / "evaluation.json").read_text(encoding="utf-8"))
        errors.append(evaluation["regression_metrics"]["mse"]["value"])
    digest = next(step.outputs["split"] for step in record.steps if step.name == "split")
    with (folder / "objects" / digest[:2] / digest / "split.csv").open(encoding="utf-8") as stream:
        return sum(errors) / len(errors), [int(row["fold"]) for row in csv.DictReader(stream)]


def peers_errors(data: Path, folds: list[int], *, peers: Path, folder: Path) -> dict[str, float]:
    """Return the mean squared error of each peer."""
    (folder / "folds.json").write_text(json.dumps(folds), encoding="utf-8")
    command = [str(peers / "python"), "-c", PEERS, str(data / "abalone.data"), str(folder / "folds.json")]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def main() -> int:
    """Measure and print the table; 1 when a peer is better."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds abalone/abalone.data")
    parser.add_argument("--peers", type=Path, required=True, help="folder with the Python of the peers")
    arguments = parser.parse_args()
    data = (arguments.data / "abalone").absolute()
    if not data.is_dir():
        print(f"tabular.py: no folder {data}; passed over")
        return 0
    with tempfile.TemporaryDirectory(prefix="mlops-tabular-") as folder:
        ours, folds = our_error(data, Path(folder))
        errors = peers_errors(data, folds, peers=arguments.peers.absolute(), folder=Path(folder))
    print(f"{'mean squared error over five folds':36} {'error':>6} {'ours / theirs':>14}")
    print(f"{'mlops ABALONE':36} {ours:6.3f}")
    for name, error in sorted(errors.items(), key=lambda item: item[1]):
        print(f"{name:36} {error:6.3f} {ours / error:14.3f}")
    return int(ours >= min(errors.values()))


if __name__ == "__main__":
    sys.exit(main())
