"""What `growth.py` measures: each case prepares a workspace or data of a size, and then does one thing with it.

Usage: ``python benchmarks/growth_cases.py prepare|measure CASE SIZE FOLDER``; `growth.py` starts each in a process of
its own, so that memory is that of the case alone.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlops_core import Prediction, Predictions

CHAIN = Path(__file__).parent / "chain_plugin"


def mlops(folder: Path, *arguments: str) -> None:
    """Replace this process by a command of the framework."""
    environ = {**os.environ, "PYTHONPATH": str(CHAIN), "MLOPS_HOME": str(folder)}
    code = "import sys; from mlops_core.cli import main; sys.exit(main())"
    os.execve(sys.executable, [sys.executable, "-c", code, *arguments], environ)


def chain_run(folder: Path, *arguments: str) -> None:
    code = "import sys; from mlops_core.cli import main; sys.exit(main())"
    environ = {**os.environ, "PYTHONPATH": str(CHAIN), "MLOPS_HOME": str(folder)}
    command = [sys.executable, "-c", code, "run", "-u", "CHAIN", *arguments]
    subprocess.run(command, env=environ, check=True, capture_output=True)


# --- The workspace ----------------------------------------------------------------------------------------


def versions(size: int, folder: Path) -> None:
    """Register `size` versions, each of a run of its own."""
    from mlops_core.workspace.registry import Registry
    from mlops_core.workspace.store import Store

    chain_run(folder)
    with Store(folder) as store:
        registry, record = Registry(store), store.runs.load("latest")
        base = registry.version("CHAIN")
        for number in range(size):
            run_id = f"20260101-000000-{number:06x}"
            version = registry.register(
                replace(base, run_id=run_id, artifact=f"{number:064x}", metrics={"acc": number / size})
            )
            store.runs.save(replace(record, run_id=run_id, model_version=version.version))
    chain_run(folder)


def runs(size: int, folder: Path) -> None:
    """Save `size` runs without models."""
    from mlops_core.workspace.store import Store

    chain_run(folder)
    with Store(folder) as store:
        record = store.runs.load("latest")
        for number in range(size):
            store.runs.save(replace(record, run_id=f"20260101-000000-{number:06x}", model_version=None))


def steps(size: int, folder: Path) -> None:
    chain_run(folder, "--set", f"shape.length={size}", "--set", "shape.is_wide=true")


def files(size: int, folder: Path) -> None:
    """Write `size` files where a step would."""
    output = folder / "work" / "output"
    for number in range(size):
        if number % 1000 == 0:
            (output / f"{number // 1000:04d}").mkdir(parents=True)
        (output / f"{number // 1000:04d}" / f"{number:08d}.txt").write_text(str(number))


def add_artifact(_: int, folder: Path) -> None:
    from mlops_core.workspace.store import Store

    with Store(folder) as store:
        store.artifacts.add(folder / "work" / "output")


# --- Evaluation -------------------------------------------------------------------------------------------


def rows(size: int) -> Iterator[Prediction]:
    from mlops_core import Prediction

    draw = random.Random(1)
    numbers = list(range(size))
    draw.shuffle(numbers)
    for number in numbers:
        share = draw.random()
        label = "ab"[draw.random() < share]
        yield Prediction(sample=f"{number:08d}.png", group=f"{number}", label=label, scores=(1 - share, share))


def predictions(size: int, folder: Path) -> None:
    from mlops_core import write_predictions

    folder.mkdir(parents=True)
    write_predictions(folder, ("a", "b"), rows(size))


def merge(_: int, folder: Path) -> None:
    from mlops_core.predictions import merge_predictions

    merge_predictions((folder,), folder)


def evaluate(_: int, folder: Path) -> None:
    from mlops_core import MetricReport, proportion, read_predictions
    from mlops_core.evaluation.baselines import constant_warning
    from mlops_core.predictions import digest_test_set
    from mlops_core.steps.evaluation import evaluate_predictions

    def compute(found: Predictions) -> MetricReport:
        hits = sum(max(zip(row.scores, found.classes, strict=True))[1] == row.label for row in found.rows)
        return MetricReport(values={"acc": proportion(hits, len(found.rows))})

    found = read_predictions(folder)
    constant_warning(found)
    evaluate_predictions(found, compute, metrics=[])
    digest_test_set(found)


def worst(_: int, folder: Path) -> None:
    from mlops_core.report.worst import find_worst

    find_worst(folder, limit=12, per_confusion=2)


def bootstrap(size: int, folder: Path) -> None:
    from mlops_core import bootstrap_by_group

    draw = random.Random(1)
    groups = {str(number): [draw.random()] for number in range(size)}
    bootstrap_by_group(groups, lambda items: sum(items) / len(items))


def matrix(size: int, folder: Path) -> None:
    """Write and read an evaluation of `size` classes with 50 test samples each."""
    from mlops_core import ConfusionMatrix, MetricReport
    from mlops_core.evaluation.evaluation_file import read_evaluation, write_evaluation

    draw = random.Random(1)
    counts = [[0] * size for _ in range(size)]
    for truth in range(size):
        for _ in range(50):
            counts[truth][truth if draw.random() < 0.7 else draw.randrange(size)] += 1
    names = tuple(f"class-{number:04d}" for number in range(size))
    found = ConfusionMatrix(classes=names, counts=tuple(map(tuple, counts)), section="metrics")
    folder.mkdir(parents=True, exist_ok=True)
    write_evaluation(folder, MetricReport(values={}, confusion_matrices={"test": found}), [])
    read_evaluation(folder, [])


# --- Data -------------------------------------------------------------------------------------------------


def near_copies(size: int, folder: Path) -> None:
    """Find the copies among pictures that are all similar; two labels."""
    import numpy as np
    from mlops_image_classification.data.fingerprints import Fingerprints, find_copies

    draw = np.random.default_rng(0)
    prints = Fingerprints(
        numbers=np.arange(size),
        digests=np.array([number.to_bytes(32, "big") for number in range(size)], "V32"),
        hashes=np.uint64(1) << draw.integers(0, 64, size, dtype=np.uint64),
        thumbnails=np.repeat(draw.integers(0, 256, (1, 432), dtype=np.uint8), size, axis=0),
        details=np.repeat(draw.normal(size=(1, 256)).astype(np.float16), size, axis=0),
    )
    find_copies(prints, ["a", "b"] * (size // 2), max_bits=7, min_similarity=0.98)


def table(size: int, folder: Path) -> None:
    """Write a table of `size` rows with the columns of Abalone."""
    draw = random.Random(1)
    (folder / "data").mkdir(parents=True)
    with (folder / "data" / "table.data").open("w", encoding="utf-8") as stream:
        for _ in range(size):
            length = draw.uniform(0.1, 0.8)
            weights = [draw.uniform(0.5, 1) * length**3 for _ in range(4)]
            cells = [draw.choice("MFI"), length, 0.8 * length, 0.3 * length, *weights, 1 + round(20 * length)]
            stream.write(",".join(f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in cells) + "\n")


def table_run(_: int, folder: Path) -> None:
    source = ("--set", f"dataset.path={folder / 'data'}")
    mlops(folder / "workspace", "run", "-u", "ABALONE", *source, "--param", "mse_threshold=1000000")


def _nothing(_: int, folder: Path) -> None:
    """Prepare nothing."""


def _command(*arguments: str) -> Callable[[int, Path], None]:
    return lambda _, folder: mlops(folder, *arguments)


def _steps_again(size: int, folder: Path) -> None:
    mlops(folder, "run", "-u", "CHAIN", "--set", f"shape.length={size}", "--set", "shape.is_wide=true")


CASES: dict[str, tuple[Callable[[int, Path], None], Callable[[int, Path], None]]] = {
    "models list": (versions, _command("models", "list")),
    "models approve": (versions, _command("models", "approve", "2", "-u", "CHAIN", "--why", "growth")),
    "models alias": (versions, _command("models", "alias", "production", "2", "-u", "CHAIN", "--why", "growth")),
    "gc --dry-run": (versions, _command("gc", "--dry-run")),
    "run, nothing to do": (versions, _command("run", "-u", "CHAIN")),
    "doctor": (runs, _command("doctor")),
    "evaluation.json": (_nothing, matrix),
    "predictions: merge": (predictions, merge),
    "predictions: evaluate": (predictions, evaluate),
    "predictions: page": (predictions, worst),
    "bootstrap_by_group": (_nothing, bootstrap),
    "near copies": (_nothing, near_copies),
    "steps, nothing to do": (steps, _steps_again),
    "step of many files": (files, add_artifact),
    "table": (table, table_run),
}
"""Name -> what prepares a folder, and what is measured in it."""


if __name__ == "__main__":
    CASES[sys.argv[2]][sys.argv[1] == "measure"](int(sys.argv[3]), Path(sys.argv[4]))
