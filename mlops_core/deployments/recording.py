"""Recording requests when a model is registered: a process of its own chooses test samples and asks the model.

What fails here changes nothing about the run: the version is registered without recorded requests, and a note says why.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.config_files.workspace_settings import read_workspace_settings
from mlops_core.deployments.recorded import REQUESTS_FILE, recorded_requests
from mlops_core.errors import MlopsError
from mlops_core.pipeline import PREDICTIONS_OUTPUT
from mlops_core.settings import environment
from mlops_core.workspace.manifests import REQUESTS_NOTE

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlops_core.deployments.plan import ModelReference
    from mlops_core.workspace.records import DatasetRecord, RunRecord
    from mlops_core.workspace.store import Store

_MODULE = "mlops_core.serving.recording"
_TIMEOUT_S = 300.0
_SHOWN = 300
_MOST_RUNS = 200
"""Number of recent runs among which that of a version is looked for."""


def record_requests(
    store: Store,
    use_case: str,
    *,
    model: str,
    predictions: Path,
    dataset: DatasetRecord,
    note: Callable[[str], None],
) -> str:
    """Record requests of a model that is about to be registered.

    Args:
        store: the workspace.
        use_case: name of the use case.
        model: digest of the model's artifact.
        predictions: folder with the predictions of its evaluation.
        dataset: the data that the run read.
        note: receives that it begins, since loading a model may take long, and the reason where there are none.

    Returns:
        The digest of the artifact with the requests; empty for none.
    """
    if not read_workspace_settings(store.home).record_requests:
        return ""
    files = store.manifests.find(dataset.digest)
    if files is None or not Path(dataset.path).is_dir():
        note("no requests were recorded: the data set is not on this machine")
        return ""
    note("recording requests for the deployment test: the model is loaded and answers a few test samples")
    work = store.work_folder("requests")
    try:
        output = work / "content"
        output.mkdir()
        order = {
            "use_case": use_case,
            "model": str(store.artifacts.path(model)),
            "predictions": str(predictions),
            "dataset": dataset.path,
            "files": files,
            "output": str(output),
        }
        (work / "order.json").write_text(json.dumps(order), encoding="utf-8")
        fault = _record(work / "order.json")
        if not fault and (output / REQUESTS_FILE).is_file():
            return store.artifacts.add(output)
        note(f"no requests were recorded: {fault}")
    except (MlopsError, OSError) as error:
        note(f"no requests were recorded: {error}")
    finally:
        store.remove_work_folder(work)
        shutil.rmtree(work, ignore_errors=True)
    return ""


def ensure_requests(store: Store, model: ModelReference) -> str:
    """Record requests of a version that an engine's registry holds, unless there are some.

    The version's files must be in the workspace; so must the run that made it, and its data.

    Returns:
        Why there are none; empty where there are.
    """
    if recorded_requests(store, model):
        return ""
    record = _run_of(store, model)
    if record is None or record.dataset is None:
        return "the run that made the version is not in this workspace"
    predictions = next(
        (step.outputs[PREDICTIONS_OUTPUT] for step in record.steps if PREDICTIONS_OUTPUT in step.outputs), ""
    )
    if not predictions or not store.artifacts.has(predictions):
        return f"the predictions of run {record.run_id} are not in the workspace"
    reasons: list[str] = []
    digest = record_requests(
        store,
        model.use_case,
        model=model.artifact,
        predictions=store.artifacts.path(predictions),
        dataset=record.dataset,
        note=reasons.append,
    )
    if digest:
        store.manifests.save_note(model.artifact, REQUESTS_NOTE, digest)
        return ""
    return reasons[-1] if reasons else "recording requests is switched off in workspace.yaml"


def _run_of(store: Store, model: ModelReference) -> RunRecord | None:
    """Return the run of this workspace whose model an engine registered as this version."""
    for summary in store.runs.newest(use_case=model.use_case, limit=_MOST_RUNS):
        record = store.runs.load(summary.run_id)
        if record.remote is not None and model.location and record.remote.model_package == model.location:
            return record
    return None


def _record(order: Path) -> str:
    """Carry out an order; return why there are no requests, empty where there are."""
    try:
        done = subprocess.run(  # noqa: S603  this Python, without a shell
            [sys.executable, "-P", "-m", _MODULE, str(order)],
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            env={
                "TF_CPP_MIN_LOG_LEVEL": "2",
                **environment(),
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                "TMPDIR": str(order.parent),
            },
        )
    except subprocess.TimeoutExpired:
        return f"the model did not answer within {_TIMEOUT_S:g} s"
    lines = (done.stdout.strip() or done.stderr.strip()).splitlines()
    if done.returncode == 0 and not done.stdout.strip():
        return ""
    return lines[-1][:_SHOWN] if lines else f"the process ended with exit code {done.returncode}"
