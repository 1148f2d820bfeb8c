"""Executes single nodes: folders, command, environment, outputs, and the trials of a sweep."""

from __future__ import annotations

import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mlops_azureml.interpreter.containers import NodeOrder
from mlops_azureml.interpreter.document import is_literal
from mlops_azureml.interpreter.expressions import command_line, literal_text
from mlops_azureml.interpreter.records import JobStatus, NodeRecord, now
from mlops_azureml.values.mlflow import RUN_ID, URI, read_metric
from mlops_core import MlopsError
from mlops_core.runners import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlops_azureml.interpreter.containers import Containers
    from mlops_azureml.interpreter.datastores import FolderDatastores
    from mlops_azureml.interpreter.document import Binding, NodeDefinition

_ERROR = "mlops: error: "
_TAIL_BYTES = 1 << 16
_DOWNLOAD, _DIRECT = "download", "direct"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlace:
    """Where the nodes of one job are executed.

    Attributes:
        job: name of the job.
        datastores: the folders behind addresses.
        datastore: the default datastore, which outputs are written to.
        containers: executes commands.
        work: folder for the nodes' own folders.
        logs: folder for logs.
        slots: bounds the number of commands at once.
        environment: additional environment variables of every node.
        stopped: set when the job is stopped.
        is_over: set after a failure: what has not begun will not begin.
    """

    job: str
    datastores: FolderDatastores
    datastore: str
    containers: Containers
    work: Path
    logs: Path
    slots: threading.Semaphore
    environment: Mapping[str, str] = field(default_factory=dict)
    stopped: threading.Event = field(default_factory=threading.Event)
    is_over: threading.Event = field(default_factory=threading.Event)

    def address(self, run_id: str, port: str) -> str:
        """Return the default address of an output."""
        return f"azureml://datastores/{self.datastore}/paths/azureml/{run_id}/{port}/"


def run_command(node: NodeDefinition, record: NodeRecord, values: Mapping[str, Any], place: NodePlace) -> NodeRecord:
    """Execute the command of a node and return its final record.

    Args:
        node: the node.
        record: its record, with name, run id and log.
        values: port -> value or address.
        place: where it is executed.
    """
    folder = place.work / record.run_id
    shutil.rmtree(folder, ignore_errors=True)
    try:
        outputs = {port: folder / "outputs" / port for port in node.outputs}
        for path in (folder / "wd", folder / "tmp", *outputs.values()):
            path.mkdir(parents=True)
        order = NodeOrder(
            name=record.name,
            command=_command(node, values, outputs, folder=folder, place=place),
            environment=_environment(node, record, folder=folder, place=place),
            folder=folder / "wd",
            log=place.logs / record.log,
            timeout_s=node.timeout_s,
            stopped=place.stopped,
        )
        code = place.containers.run(order)
        if code == 0:
            addresses = {port: place.address(record.run_id, port) for port in outputs}
            for port, path in outputs.items():
                place.datastores.upload(path, addresses[port])
            for port, (name, version) in node.assets.items():
                place.datastores.register(name, version, addresses[port])
            return replace(record, status=JobStatus.COMPLETED, end=now(), outputs=addresses)
        return _unsuccessful(node, record, code, place)
    except (MlopsError, OSError) as error:
        return replace(record, status=JobStatus.FAILED, end=now(), error=str(error), exit_code=4)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_sweep(node: NodeDefinition, record: NodeRecord, values: Mapping[str, Any], place: NodePlace) -> NodeRecord:
    """Execute the trials of a sweep and return its final record, with the outputs of the best trial.

    Trials that fail are left out of the comparison; the sweep fails when none has a result. Of equal trials, the one
    with the lower index is best.
    """
    try:
        grid, limits, metric, is_maximum = _sweep(node)
    except DefinitionError as error:
        return replace(record, status=JobStatus.FAILED, end=now(), error=str(error), exit_code=2)
    deadline = time.monotonic() + float(limits.get("timeout") or node.timeout_s)

    def trial(index: int) -> NodeRecord:
        name = f"{record.name}.trial-{index}"
        own = NodeRecord(name=name, run_id=f"{record.run_id}_{index}", log=f"{name}.log")
        with place.slots:
            if place.stopped.is_set() or place.is_over.is_set() or time.monotonic() > deadline:
                return replace(own, status=JobStatus.CANCELED)
            done = run_command(node, replace(own, start=now()), {**values, **grid[index]}, place)
        logged = read_metric(place.work.parent / "mlflow", done.run_id, metric)
        if done.status is JobStatus.COMPLETED and logged is None:
            return replace(done, status=JobStatus.FAILED, error=f"the trial logged no metric '{metric}'", exit_code=4)
        return replace(done, metric=logged)

    with ThreadPoolExecutor(max_workers=int(limits.get("max_concurrent_trials") or len(grid))) as pool:
        trials = tuple(pool.map(trial, range(len(grid))))
    record = replace(record, trials=trials, end=now())
    finished = [i for i, each in enumerate(trials) if each.status is JobStatus.COMPLETED and each.metric is not None]
    if place.stopped.is_set():
        return replace(record, status=JobStatus.CANCELED)
    if not finished:
        first = next((each for each in trials if each.error), None)
        reason = f"; the first: {first.error}" if first else ""
        return replace(record, status=JobStatus.FAILED, error=f"no trial has a result{reason}", exit_code=4)
    sign = -1 if is_maximum else 1
    best = min(finished, key=lambda index: (sign * (trials[index].metric or 0.0), index))
    return replace(record, status=JobStatus.COMPLETED, best=best, outputs=trials[best].outputs)


def resolved_value(binding: Binding, node: NodeDefinition, port: str, *, inputs: Mapping[str, Any]) -> Any:
    """Return the value or address that an input gets from the job or from the document."""
    value = binding.value
    if binding.job_input:
        value = inputs[binding.job_input]
    if isinstance(value, dict):
        value = value.get("path", value.get("value"))
    if value is None:
        declared = (node.component.get("inputs") or {}).get(port) or {}
        value = declared.get("default")
    return value


def _command(
    node: NodeDefinition,
    values: Mapping[str, Any],
    outputs: Mapping[str, Path],
    *,
    folder: Path,
    place: NodePlace,
) -> str:
    inputs = {}
    for port, value in values.items():
        if is_literal(node.component, port):
            inputs[port] = literal_text(value)
        else:
            mode = node.inputs[port].mode if port in node.inputs else ""
            inputs[port] = _folder(str(value), port, mode=mode, folder=folder, place=place)
    paths = {port: str(path) for port, path in outputs.items()}
    return command_line(str(node.component["command"]), inputs=inputs, outputs=paths, where=f"jobs.{node.name}")


def _folder(address: str, port: str, *, mode: str, folder: Path, place: NodePlace) -> str:
    if mode == _DIRECT:
        return address
    path = place.datastores.path(address)
    if not path.exists():
        raise DefinitionError(f"input '{port}': there is nothing at {address} ({path})")
    if mode != _DOWNLOAD:
        return str(path)
    target = folder / "inputs" / port
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.copytree(path, target)
    else:
        shutil.copyfile(path, target)
    return str(target)


def _environment(node: NodeDefinition, record: NodeRecord, *, folder: Path, place: NodePlace) -> dict[str, str]:
    return {
        **place.environment,
        "AZUREML_RUN_ID": record.run_id,
        "AZUREML_ROOT_RUN_ID": place.job,
        URI: (place.work.parent / "mlflow").absolute().as_uri(),
        RUN_ID: record.run_id,
        "TMPDIR": str(folder / "tmp"),
        **node.environment,
    }


def _unsuccessful(node: NodeDefinition, record: NodeRecord, code: int | None, place: NodePlace) -> NodeRecord:
    if place.stopped.is_set():
        return replace(record, status=JobStatus.CANCELED, end=now())
    if code is None:
        error = f"limits.timeout: the node ran longer than {node.timeout_s:g} s"
        return replace(record, status=JobStatus.FAILED, end=now(), error=error, exit_code=4)
    message = failure_message(place.logs / record.log)
    return replace(record, status=JobStatus.FAILED, end=now(), error=message, exit_code=code)


def failure_message(log: Path) -> str:
    """Return the message of a container from its log: its last error, or the last line of its log."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            lines = [line for line in stream.read().decode(errors="replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    for line in reversed(lines):
        if line.startswith(_ERROR):
            return line.removeprefix(_ERROR)
    return f"its container wrote no message; last line of its log: {lines[-1] if lines else 'none'}"


def _sweep(node: NodeDefinition) -> tuple[list[dict[str, Any]], Mapping[str, Any], str, bool]:
    """Return the values of each trial, the limits, the metric, and whether its maximum is wanted."""
    sweep = node.sweep or {}
    space, limits = sweep.get("search_space") or {}, sweep.get("limits") or {}
    if sweep.get("sampling_algorithm") != "grid" or len(space) != 1:
        raise DefinitionError(f"jobs.{node.name}: only a grid over one parameter is executed here")
    ((name, choice),) = space.items()
    if choice.get("type") != "choice" or not choice.get("values"):
        raise DefinitionError(f"jobs.{node.name}.search_space.{name}: expected type: choice with values")
    values = list(choice["values"])[: int(limits.get("max_total_trials") or len(choice["values"]))]
    objective = sweep.get("objective") or {}
    return (
        [{name: value} for value in values],
        limits,
        str(objective.get("primary_metric")),
        objective.get("goal") == "maximize",
    )
