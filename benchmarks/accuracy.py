"""Accuracy on real data: the mean and the range over several seeds, recorded, and quoted by the README files.

Each experiment is a use case with its shipped configuration and a public data set, run once per seed and test fold; its
figure is the mean over the folds. The record, ``accuracy.json``, is the only source of the figures in the pages: text
between ``<!-- figure: EXPERIMENT METRIC -->`` and ``<!-- /figure -->`` is replaced by the recorded one, and a test
compares all of them.

Usage: ``python benchmarks/accuracy.py --data FOLDER [--only NAME ...] [--seeds 0 1 2]``; ``--pages`` measures nothing
and updates the pages. The folder holds the data sets as they are published: ``abalone``, ``gtsrb``, ``intel``,
``ESC-50`` and ``yamnet_256``; an experiment without its data set is passed over. Instead of ``ESC-50`` it may hold
``esc10``, compressed clips of ESC-10 with the script ``esc50_layout.py`` that decodes them.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlops_core

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

ROOT = Path(__file__).parents[1]
RECORD = Path(__file__).with_name("accuracy.json")
EXAMPLES = ROOT / "plugins" / "aed" / "examples"
_FIGURE = re.compile(r"(<!-- figure: ([\w-]+) ([\w.-]+) -->)(.*?)(<!-- /figure -->)", re.DOTALL)
_AED = {
    "clip_int8": "multiclass_classification_metrics.clip_acc",
    "patch_int8": "multiclass_classification_metrics.patch_acc",
    "clip_float": "multiclass_classification_metrics.float_clip_acc",
    "patch_float": "multiclass_classification_metrics.float_patch_acc",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """What is run.

    Attributes:
        use_case: its name.
        data: the folder that it needs.
        metrics: name in the pages -> ``section.metric`` of the evaluation.
        overrides: as after ``--set``; ``{data}`` is the folder with all data sets, ``{dataset}`` that of this one.
        config: the configuration file; None for the plugin's own.
        folds: an override for each test fold; one run without an override where it is empty.
    """

    use_case: str
    data: str
    metrics: Mapping[str, str]
    overrides: tuple[str, ...]
    config: Path | None = None
    folds: tuple[str, ...] = ("",)


EXPERIMENTS = {
    "abalone": Experiment(
        use_case="ABALONE",
        data="abalone",
        metrics={"mse": "regression_metrics.mse", "coverage": "regression_metrics.interval_coverage"},
        overrides=("dataset.path={data}/abalone", "table.file=abalone.data"),
        folds=tuple(f"split.test_fold={fold}" for fold in range(1, 6)),
    ),
    "road-sign": Experiment(
        use_case="ROAD_SIGN",
        data="gtsrb",
        metrics={"accuracy": "classification_metrics.accuracy"},
        overrides=("dataset.path={data}/gtsrb",),
    ),
    "scene": Experiment(
        use_case="SCENE",
        data="intel",
        metrics={"accuracy": "multiclass_classification_metrics.accuracy"},
        overrides=("dataset.path={data}/intel",),
    ),
    "symbols": Experiment(
        use_case="SYMBOL_DETECTION",
        data="pid-symbols",
        metrics={
            name: f"object_detection_metrics.{name}"
            for name in ("mean_average_precision", "mean_average_precision_50_95", "precision", "recall")
        },
        overrides=("dataset.path={data}/pid-symbols/pages", "split.validation_split=0"),
        folds=tuple(f"split.mandatory_test_filenames=[{page}.jpg, {page + 1}.jpg]" for page in range(0, 10, 2)),
    ),
    "aed-pretrained": Experiment(
        use_case="AED",
        data="ESC-50",
        metrics=_AED,
        overrides=("dataset.path={dataset}", "training.model.weights={data}/yamnet_256/yamnet_256_f32.h5"),
        config=EXAMPLES / "esc10_yamnet.yaml",
        folds=("dataset.folds=all",),
    ),
    "aed-from-scratch": Experiment(
        use_case="AED",
        data="ESC-50",
        metrics=_AED,
        overrides=("dataset.path={dataset}",),
        config=EXAMPLES / "esc10_from_scratch.yaml",
        folds=("dataset.folds=all",),
    ),
}


def find_dataset(experiment: Experiment, data: Path, scratch: Path) -> Path | None:
    """Return the folder of the data set, decoded into `scratch` where `data` holds compressed clips; None if absent."""
    script = data / "esc10" / "esc50_layout.py"
    if not (data / experiment.data).is_dir() and experiment.data == "ESC-50" and script.is_file():
        subprocess.run([sys.executable, str(script), str(scratch / "ESC-50")], check=True)
        return scratch / "ESC-50"
    return data / experiment.data if (data / experiment.data).is_dir() else None


def measure(
    experiment: Experiment, *, data: Path, dataset: Path, seeds: Sequence[int], workspace: Path
) -> dict[str, Any]:
    """Run an experiment and return its entry of the record."""
    paths = {"data": data, "dataset": dataset}
    values: dict[str, list[float]] = {name: [] for name in experiment.metrics}
    duration_s: list[float] = []
    for seed in seeds:
        evaluations = []
        for fold in experiment.folds:
            began = time.monotonic()
            evaluations.append(_evaluation(experiment, paths=paths, seed=seed, fold=fold, workspace=workspace))
            duration_s.append(time.monotonic() - began)
        for name, address in experiment.metrics.items():
            section, _, metric = address.partition(".")
            values[name].append(sum(one[section][metric]["value"] for one in evaluations) / len(evaluations))
        print(f"  seed {seed}:", {name: round(found[-1], 4) for name, found in values.items()}, flush=True)
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "seeds": list(seeds),
        "folds": len(experiment.folds),
        "longest_run_s": round(max(duration_s)),
        "metrics": {name: [round(value, 4) for value in found] for name, found in values.items()},
    }


def _evaluation(
    experiment: Experiment, *, paths: Mapping[str, Path], seed: int, fold: str, workspace: Path
) -> dict[str, Any]:
    overrides = [override.format(**paths) for override in (*experiment.overrides, fold) if override]
    record = mlops_core.run(
        experiment.use_case, config=experiment.config, overrides=overrides, seed=seed, workspace=workspace
    )
    if record.verdict is None:
        sys.exit(f"accuracy.py: {experiment.use_case} {fold}: {record.error}")
    path = workspace / "runs" / record.run_id / "evaluation.json"
    evaluation: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return evaluation


# --- Pages ------------------------------------------------------------------------------------------------


def figure_text(entry: Mapping[str, Any], metric: str) -> str:
    """Return how a page quotes a figure: the mean and the range over the seeds, or another item of the entry."""
    if metric in entry["metrics"]:
        found = entry["metrics"][metric]
        return f"{sum(found) / len(found):.3f} ({min(found):.3f} to {max(found):.3f})"
    return str(len(entry["seeds"])) if metric == "seeds" else str(entry[metric])


def pages() -> Iterator[Path]:
    """Yield the pages that may quote figures."""
    yield from (ROOT / "README.md", *sorted(ROOT.glob("plugins/*/README.md")), *sorted(ROOT.glob("docs/*.md")))


def replace_figures(text: str, record: Mapping[str, Any]) -> str:
    """Return a page with the recorded figures.

    Raises:
        KeyError: the page quotes what is not recorded.
    """

    def recorded(match: re.Match[str]) -> str:
        return f"{match[1]}{figure_text(record[match[2]], match[3])}{match[5]}"

    return _FIGURE.sub(recorded, text)


def _for_each_page(change: Callable[[str], str]) -> None:
    for page in pages():
        text = page.read_text(encoding="utf-8")
        if (changed := change(text)) != text:
            page.write_text(changed, encoding="utf-8")


def main() -> int:
    """Measure, record, and update the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder with the data sets")
    parser.add_argument("--only", nargs="+", choices=EXPERIMENTS, default=list(EXPERIMENTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--pages", action="store_true", help="measure nothing; update the pages from the record")
    arguments = parser.parse_args()
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    for name in () if arguments.pages else arguments.only:
        experiment = EXPERIMENTS[name]
        with tempfile.TemporaryDirectory(prefix="mlops-accuracy-") as scratch:
            data = arguments.data.absolute() if arguments.data else Path(scratch)
            dataset = find_dataset(experiment, data, Path(scratch))
            if dataset is None:
                print(f"{name}: no folder {experiment.data} in {arguments.data}; passed over")
                continue
            print(f"{name}:", flush=True)
            record[name] = measure(
                experiment, data=data, dataset=dataset, seeds=arguments.seeds, workspace=Path(scratch) / "workspace"
            )
        RECORD.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        for metric in experiment.metrics:
            print(f"  {metric}: {figure_text(record[name], metric)}", flush=True)
    _for_each_page(lambda text: replace_figures(text, record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
