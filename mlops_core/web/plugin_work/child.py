"""The process that answers a question with a plugin's code: JSON on standard input, JSON on standard output."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_core.errors import MlopsError
from mlops_core.web.plugin_work.samples import changed_samples, dataset_samples

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mlops_core.workspace.store import Store

_NICE = 5
"""A page waits longer, so that a run does not."""


def main() -> None:
    """PageAnswer the question on standard input."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a plugin prints is not the answer
    os.nice(_NICE)
    order = json.loads(sys.stdin.buffer.read())
    try:
        answer = _answered(order)
    except MlopsError as error:
        answer = {"error": str(error)}
    with answers:
        answers.write(json.dumps(answer).encode())


def _answered(order: Mapping[str, Any]) -> dict[str, Any]:
    from mlops_core.workspace.store import Store

    with Store(Path(order["home"])) as store:
        return _QUESTIONS[order["question"]](store, order)


def _use_case(store: Store, order: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a use case as it would run now: pipeline, data sets, and what of it is cached."""
    from mlops_core.api import prepare_run
    from mlops_core.datasets.storage import is_complete
    from mlops_core.runners.dataset_source import dataset_folder
    from mlops_core.runners.planning import plan_run

    request = prepare_run(order["use_case"])
    try:
        plan = [asdict(item) for item in plan_run(request, store=store)]
        fault = ""
    except MlopsError as error:
        plan, fault = [], str(error)
    datasets = request.use_case.datasets(request.config.model)
    return {
        "name": request.use_case.name,
        "plugin": str(request.use_case.installed),
        "pipeline": request.pipeline.to_json(),
        "condition": str(request.pipeline.gate.condition),
        "order": [step.name for step in request.pipeline.ordered()],
        "plan": plan,
        "plan_fault": fault,
        "config": request.config.to_yaml(),
        "datasets": [
            {
                **{name: getattr(entry, name) for name in ("name", "title", "licence", "size_bytes", "is_generated")},
                "is_here": is_complete(entry, dataset_folder(store.datasets, entry, seed=0)),
            }
            for entry in datasets
        ],
    }


def _inspection(store: Store, order: Mapping[str, Any]) -> dict[str, Any]:
    """Inspect the data that a run read, with the plugin and the configuration of that run."""
    from mlops_core.api import prepare_run
    from mlops_core.runners.saved_config import CONFIG

    record = store.runs.load(order["run"])
    if record.dataset is None or not Path(record.dataset.path).is_dir():
        return {"error": "the data set is no longer at the path that the run read"}
    folder = store.runs.folder(record.run_id)
    config = folder / CONFIG if (folder / CONFIG).is_file() else None
    request = prepare_run(record.use_case, config=config)
    return dict(request.use_case.inspect_dataset(Path(record.dataset.path), request.config.model).to_json())


def _report(store: Store, order: Mapping[str, Any]) -> dict[str, Any]:
    """Write the report of a run."""
    from mlops_core.report import write_report

    notes: list[str] = []
    path = write_report(store, order["run"], note=notes.append)
    return {"name": path.name, "notes": notes}


def _comparison(store: Store, order: Mapping[str, Any]) -> dict[str, Any]:
    """Return the complete comparison of two runs as a page."""
    from mlops_core.report.compared.page import render_comparison
    from mlops_core.report.compared.runs import compare_stored_runs

    return {"page": render_comparison(compare_stored_runs(store, *order["runs"], with_previews=True))}


def _promotion(store: Store, order: Mapping[str, Any]) -> dict[str, Any]:
    """Move the alias ``best`` to a version that was approved, if it is better."""
    from mlops_core.runners.evidence import version_comparison
    from mlops_core.settings import read_settings
    from mlops_core.use_cases.manager import load_use_case
    from mlops_core.workspace.registry import Registry

    registry = Registry(store)
    version = registry.version(order["use_case"], order["version"])
    compare = version_comparison(store, lambda: load_use_case(version.use_case).compute_metrics)
    allows_pending = read_settings().best_allows_pending
    return {"note": registry.promote_best(version, compare=compare, allows_pending=allows_pending)}


_QUESTIONS: Mapping[str, Callable[[Store, Mapping[str, Any]], dict[str, Any]]] = {
    "use_case": _use_case,
    "inspection": _inspection,
    "samples": dataset_samples,
    "report": _report,
    "comparison": _comparison,
    "changed_samples": changed_samples,
    "promotion": _promotion,
}

if __name__ == "__main__":
    main()
