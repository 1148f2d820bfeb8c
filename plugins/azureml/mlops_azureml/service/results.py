"""Copies what a job wrote from the datastore: the evaluation with its verdict, training histories, metadata.

Features and models stay where they are. The outputs of a node are below the id of its run, at the place that the
service gives them where a job names none.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_azureml.layout import METADATA, node_name, port_name
from mlops_azureml.service.jobs import registration_node
from mlops_core import Verdict
from mlops_core.runners import EVALUATION_OUTPUT, HISTORY_FILE, OBJECTIVE_OUTPUT, RunnerError
from mlops_core.runners.container.request import GATE_OUTPUT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlops_azureml.service.jobs import JobRun, NodeRun
    from mlops_core import Pipeline, Step
    from mlops_core.runners import Store
    from mlops_core.runners.remote.object_store import Bucket

PUBLISHED_PREFIX = "evaluation/build"
"""Folder of the datastore in which deployment scripts find the evaluation of the last run."""
_LARGEST = 64 * 1024 * 1024
"""Bytes of a history; a larger one is no history."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The results of the evaluation.

    Attributes:
        verdict: verdict of the gate.
        outputs: digests of the artifacts in the workspace, by output name.
        folder: folder of the evaluation in the datastore.
    """

    verdict: Verdict
    outputs: Mapping[str, str]
    folder: str


def output_folder(node: NodeRun, output: str) -> str:
    """Return the folder of an output of a node in the default datastore of its job."""
    return f"azureml/{node.output_run}/{port_name(output)}"


def fetch_evaluation(container: Bucket, pipeline: Pipeline, job: JobRun, *, store: Store) -> Evaluation:
    """Copy the outputs of the evaluation to the workspace on this machine.

    Raises:
        RunnerError: an output is missing, or the datastore refuses.
    """
    step = pipeline.evaluation_step
    node = job.node(node_name(step.name))
    if node is None:
        raise RunnerError(f"the job has no node of step '{step.name}'")
    outputs = {}
    for name in step.all_outputs:
        work = store.work_folder(f"{step.name}-{name}")
        try:
            download(container, output_folder(node, name), work / "files")
            outputs[name] = store.artifacts.add(work / "files")
        finally:
            shutil.rmtree(work, ignore_errors=True)
    folder = output_folder(node, EVALUATION_OUTPUT)
    return Evaluation(verdict=_verdict(container, node, store=store), outputs=outputs, folder=folder)


def download(container: Bucket, prefix: str, folder: Path, *, only: str = "") -> int:
    """Copy all files below a prefix, or those with one name, to a folder, which is created; return their number.

    Raises:
        DatasetError: the datastore refuses.
        RunnerError: there is no file, or a name would lead outside of the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for item in container.objects(prefix):
        name = item.key.removeprefix(f"{prefix}/")
        if not name or name.endswith("/") or only not in ("", name.rpartition("/")[2]):
            continue
        if only and item.size > _LARGEST:
            continue
        target = folder / name
        if not target.resolve().is_relative_to(folder.resolve()):
            raise RunnerError(f"{container.url}/{item.key}: the name leads outside of the folder")
        container.download(item.key, target)
        count += 1
    if not count and not only:
        raise RunnerError(f"{container.url}/{prefix} has no files; expected an output of the job")
    return count


def publish(container: Bucket, evaluation: Evaluation, *, store: Store) -> None:
    """Write the evaluation to the folder in which deployment scripts find that of the last run.

    Raises:
        DatasetError: the datastore refuses.
    """
    source = store.artifacts.path(evaluation.outputs[EVALUATION_OUTPUT])
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        container.write(f"{PUBLISHED_PREFIX}/{path.relative_to(source).as_posix()}", path)


def fetch_histories(container: Bucket, node: NodeRun, step: Step, *, folder: Path) -> None:
    """Copy each training history in the outputs of a step to ``OUTPUT/`` and its path in the output.

    Raises:
        RunnerError: the datastore refuses.
    """
    for output in step.all_outputs:
        download(container, output_folder(node, output), folder / output, only=HISTORY_FILE)


def read_objective(container: Bucket, trial: NodeRun) -> float:
    """Return the objective of a trial that has succeeded, as core recorded it.

    Raises:
        RunnerError: it is damaged, or the datastore refuses.
    """
    place = f"{output_folder(trial, OBJECTIVE_OUTPUT)}/objective.json"
    try:
        return float(json.loads(container.read(place) or b"")["value"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunnerError(f"{container.url}/{place} is not the result of a trial: {error}") from error


def registered_version(container: Bucket, job: JobRun) -> tuple[str, str]:
    """Return name and version of the model that a node of the job registered; empty if none did.

    Raises:
        RunnerError: its metadata are damaged, or the datastore refuses.
    """
    node = registration_node(job)
    if node is None:
        return "", ""
    place = f"{output_folder(node, METADATA)}/model_metadata.json"
    content = container.read(place)
    try:
        data: Any = json.loads(content or b"")
        return str(data["name"]), str(data["version"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunnerError(f"{container.url}/{place} does not name the registered model: {error}") from error


def _verdict(container: Bucket, node: NodeRun, *, store: Store) -> Verdict:
    place = output_folder(node, GATE_OUTPUT)
    work = store.work_folder("gate")
    try:
        download(container, place, work)
        data: Any = json.loads((work / "evaluation.json").read_text(encoding="utf-8"))
        return Verdict.from_json(data["verdict"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunnerError(f"the evaluation wrote no verdict to {container.url}/{place}: {error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
