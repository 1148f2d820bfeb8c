"""Executes a job: schedules its nodes, reuses results, records what became of each, and determines the final status.

A node starts when all nodes whose outputs it reads have succeeded. After a failure no further node starts (where the
job says ``continue_on_step_failure: false``), but running nodes continue to their end, as in the local runner.
"""

from __future__ import annotations

import json
import shutil
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mlops_azureml.interpreter.datastores import write_note
from mlops_azureml.interpreter.nodes import NodePlace, resolved_value, run_command, run_sweep
from mlops_azureml.interpreter.records import JobRecord, JobStatus, NodeRecord, now
from mlops_azureml.interpreter.reuse import ReusableResults, result_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mlops_azureml.interpreter.containers import Containers
    from mlops_azureml.interpreter.datastores import FolderDatastores
    from mlops_azureml.interpreter.document import JobDocument, NodeDefinition

_POLL_S = 1.0
RECORD = "job.json"


def _ignore(_: object) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The environment of an execution.

    Attributes:
        datastores: the folders behind addresses.
        containers: executes commands.
        folder: folder of this job, for logs, records and the nodes' own folders.
        results: folder with results that may be reused.
        max_parallel: number of commands at once.
        environment: additional environment variables of every node.
        on_node: called from any thread with each new state of a node.
        forced: nodes whose results are not reused.
    """

    datastores: FolderDatastores
    containers: Containers
    folder: Path
    results: Path
    max_parallel: int = 2
    environment: Mapping[str, str] = field(default_factory=dict)
    on_node: Callable[[NodeRecord], None] = _ignore
    forced: frozenset[str] = frozenset()


class JobExecution:
    """An execution of a job; `stop` and `record` may be used by other threads than that of `carry_out`."""

    def __init__(
        self,
        document: JobDocument,
        *,
        name: str,
        surroundings: Surroundings,
        values: Mapping[str, Any] | None = None,
    ) -> None:
        """Prepare an execution.

        Args:
            document: the job.
            name: of the job; unique.
            surroundings: where it is executed.
            values: inputs of the job that take the place of those in the document.
        """
        self._document = document
        self._around = surroundings
        self._inputs = {**document.inputs, **(values or {})}
        self._lock = threading.Lock()
        self._nodes = {node: NodeRecord(name=node, run_id=f"{name}_{node}") for node in document.nodes}
        self._job = JobRecord(name=name, status=JobStatus.NOT_STARTED, start=now())
        self._results = ReusableResults(surroundings.results, surroundings.datastores)
        self._place = NodePlace(
            job=name,
            datastores=surroundings.datastores,
            datastore=document.datastore,
            containers=surroundings.containers,
            work=surroundings.folder.absolute() / "work",
            logs=surroundings.folder.absolute() / "logs",
            slots=threading.Semaphore(surroundings.max_parallel),
            environment=surroundings.environment,
        )

    @property
    def record(self) -> JobRecord:
        """The latest state."""
        with self._lock:
            return replace(self._job, nodes=dict(self._nodes))

    def stop(self) -> None:
        """Stop all nodes; the job is then canceled."""
        self._place.stopped.set()

    def carry_out(self) -> JobRecord:
        """Execute the job to its end and return its final record.

        Raises:
            KeyboardInterrupt: after all nodes were stopped.
        """
        for folder in (self._place.work, self._place.logs, self._place.work.parent / "mlflow"):
            folder.mkdir(parents=True, exist_ok=True)
        self._set_job(status=JobStatus.RUNNING)
        with ThreadPoolExecutor(max_workers=max(1, len(self._document.nodes))) as pool:
            try:
                self._schedule(pool)
            except BaseException:
                self.stop()
                raise
            finally:
                pool.shutdown(wait=True)
                self._end()
        return self.record

    def _schedule(self, pool: ThreadPoolExecutor) -> None:
        running: dict[Future[NodeRecord], str] = {}
        waiting = dict(self._document.nodes)
        while True:
            for name in [name for name, node in waiting.items() if self._is_ready(node)]:
                running[pool.submit(self._execute, waiting.pop(name))] = name
            if not running:
                return
            done, _ = wait(running, timeout=_POLL_S, return_when=FIRST_COMPLETED)
            for future in done:
                del running[future]
                record = future.result()
                if record.status is not JobStatus.COMPLETED and not self._document.continues:
                    self._place.is_over.set()

    def _is_ready(self, node: NodeDefinition) -> bool:
        if self._place.stopped.is_set() or self._place.is_over.is_set():
            return False
        return all(self._nodes[name].status is JobStatus.COMPLETED for name in node.needs)

    def _execute(self, node: NodeDefinition) -> NodeRecord:
        values = self._values(node)
        record = replace(self._nodes[node.name], log=f"{node.name}.log")
        key = result_key(node.component, values) if node.is_deterministic and node.sweep is None else ""
        found = None
        if key and not self._document.is_forced and node.name not in self._around.forced:
            found = self._results.find(key)
        if found:
            job, outputs = found
            stamp = now()
            return self._set(
                replace(record, status=JobStatus.COMPLETED, start=stamp, end=stamp, outputs=outputs, reused_from=job)
            )
        if node.sweep is not None:
            record = self._set(replace(record, status=JobStatus.RUNNING, start=now(), log=""))
            return self._set(run_sweep(node, record, values, self._place))
        with self._place.slots:
            if self._place.stopped.is_set() or self._place.is_over.is_set():
                return self._set(replace(record, status=JobStatus.CANCELED, log=""))
            record = self._set(replace(record, status=JobStatus.RUNNING, start=now()))
            record = run_command(node, record, values, self._place)
        if key and record.status is JobStatus.COMPLETED:
            self._results.keep(key, job=self._job.name, outputs=record.outputs)
        return self._set(record)

    def _values(self, node: NodeDefinition) -> dict[str, Any]:
        """Return port -> value or address; an optional input without a value is left out."""
        values: dict[str, Any] = {}
        for port in {**(node.component.get("inputs") or {}), **node.inputs}:
            binding = node.inputs.get(port)
            if binding is None:
                declared = (node.component.get("inputs") or {}).get(port) or {}
                value = declared.get("default") if isinstance(declared, dict) else None
            elif binding.node:
                value = self._nodes[binding.node].outputs[binding.port]
            else:
                value = resolved_value(binding, node, port, inputs=self._inputs)
            if value is not None:
                values[port] = value
        return values

    def _set(self, record: NodeRecord) -> NodeRecord:
        with self._lock:
            self._nodes[record.name] = record
        self._save()
        self._around.on_node(record)
        return record

    def _set_job(self, *, status: JobStatus, end: str = "") -> None:
        with self._lock:
            self._job = replace(self._job, status=status, end=end)
        self._save()

    def _end(self) -> None:
        statuses = [node.status for node in self._nodes.values()]
        status = JobStatus.COMPLETED
        if JobStatus.FAILED in statuses:
            status = JobStatus.FAILED
        elif self._place.stopped.is_set():
            status = JobStatus.CANCELED
        self._set_job(status=status, end=now())
        shutil.rmtree(self._place.work, ignore_errors=True)

    def _save(self) -> None:
        text = json.dumps(self.record.to_json(), indent=1, ensure_ascii=False)
        with self._lock:
            write_note(self._around.folder / RECORD, text)
