"""Carries out the executions of the endpoint, each in its own thread: start, stop, retry, callbacks."""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.emulator.endpoint.events import send_status
from mlops_sagemaker.emulator.endpoint.state import now
from mlops_sagemaker.emulator.endpoint.surroundings import EndpointRegistrar
from mlops_sagemaker.emulator.execution import PipelineExecution, Surroundings
from mlops_sagemaker.emulator.history import FolderHistory
from mlops_sagemaker.emulator.jobs.callbacks import Callbacks
from mlops_sagemaker.emulator.jobs.containers import ProcessContainers
from mlops_sagemaker.emulator.objects import S3Objects
from mlops_sagemaker.emulator.support import require_executable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from mlops_sagemaker.emulator.definition import Definition
    from mlops_sagemaker.emulator.endpoint.state import Execution, Pipeline, Region
    from mlops_sagemaker.emulator.endpoint.surroundings import Account
    from mlops_sagemaker.emulator.jobs.common import JobState
    from mlops_sagemaker.emulator.jobs.containers import Containers
    from mlops_sagemaker.emulator.selection import Selection
    from mlops_sagemaker.service.executions import ExecutionRecord, ExecutionStep


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionStart:
    """The arguments of the start of an execution.

    Attributes:
        definition: definition of the pipeline at the time of the start.
        arn: ARN of the execution.
        pipeline: the pipeline.
        values: values of all parameters, by name.
        max_parallel: number of steps to run in parallel; None for the limit of the endpoint.
        selection: steps to execute; None for all.
    """

    definition: Definition
    arn: str
    pipeline: Pipeline
    values: Mapping[str, Any]
    max_parallel: int | None = None
    selection: Selection | None = None


class EndpointExecutions:
    """Carries out executions; thread-safe."""

    def __init__(
        self,
        account: Callable[[Region], Account],
        folder: Path,
        *,
        max_parallel: int | None = None,
        containers: Containers | None = None,
    ) -> None:
        """Store trees and logs in `folder`.

        Args:
            account: returns the access to the services of the endpoint in a region.
            folder: folder for the trees and logs of executions.
            max_parallel: number of steps of an execution to run in parallel; None for one per core.
            containers: starts the commands of steps; None for processes on this machine.
        """
        self._account = account
        self._history = FolderHistory(folder / "executions")
        self._containers = containers or ProcessContainers()
        self._max_parallel = max_parallel or os.cpu_count() or 1
        self._lock = threading.Lock()
        self._started: dict[str, ExecutionStart] = {}
        self._running: dict[str, PipelineExecution] = {}
        self._threads: list[threading.Thread] = []
        self._callbacks: dict[str, Callbacks] = {}

    def prepare(
        self, region: Region, start: ExecutionStart, *, former: ExecutionRecord | None = None
    ) -> PipelineExecution:
        """Return an execution that has not begun; with `former`, keep the steps that succeeded.

        Raises:
            DefinitionError: an argument of a step is not supported here.
        """
        registrar = EndpointRegistrar(region, self._account(region))
        require_executable(start.definition, start.values, find_model=registrar.find_model)
        callbacks = Callbacks(lambda queue, text: self._account(region).send_message(queue, text))
        execution = PipelineExecution(
            start.definition,
            arn=start.arn,
            pipeline=start.pipeline.name,
            values=start.values,
            surroundings=self._surroundings(region, start, callbacks),
            former=former,
            selection=start.selection,
        )
        with self._lock:
            self._started[start.arn] = start
            self._running[start.arn] = execution
            self._callbacks[start.arn] = callbacks
        return execution

    def begin(self, region: Region, execution: Execution) -> None:
        """Carry out an execution in its own thread."""
        thread = threading.Thread(
            target=self._carry_out, args=(region, execution, execution.running), name=execution.arn, daemon=True
        )
        with self._lock:
            self._threads.append(thread)
        thread.start()

    def again(self, region: Region, execution: Execution, *, max_parallel: int | None) -> None:
        """Carry out an execution that failed or was stopped again; steps that succeeded are kept."""
        execution.running = self.prepare(region, self._started[execution.arn], former=execution.record)
        if max_parallel:
            self.limit(execution, max_parallel)
        self.begin(region, execution)

    def limit(self, execution: Execution, max_parallel: int) -> None:
        """Change the number of steps of an execution to run in parallel, up to the limit of the endpoint."""
        execution.running.limit(min(max_parallel, self._max_parallel))

    def stop(self, region: Region, execution: Execution) -> None:
        """Stop an execution; it ends when its running steps have ended."""
        execution.running.stop()
        send_status(self._account(region), execution, previous="Executing")

    def answer(self, token: str, *, outputs: Mapping[str, Any] | None, reason: str = "") -> str | None:
        """Answer a Callback step and return the ARN of its execution; None if no step waits for the token.

        Raises:
            ValueError: an output is not declared, or its value does not have the declared type.
        """
        for arn, callbacks in tuple(self._callbacks.items()):
            if callbacks.fail(token, reason) if outputs is None else callbacks.succeed(token, outputs):
                return arn
        return None

    def close(self) -> None:
        """Stop all executions and wait until they have ended."""
        for callbacks in tuple(self._callbacks.values()):
            callbacks.abandon()
        for execution in tuple(self._running.values()):
            execution.stop()
        for thread in tuple(self._threads):
            thread.join()

    def _surroundings(self, region: Region, start: ExecutionStart, callbacks: Callbacks) -> Surroundings:
        account = self._account(region)
        folder = self._history.execution_folder(start.arn.rpartition("/")[2])

        def on_step(step: ExecutionStep) -> None:
            if step.end and not step.cache_source:
                account.write_logs(step, folder / "logs")

        def on_job(job: JobState) -> None:
            with region.lock:
                region.jobs[job.kind, job.name] = job

        return Surroundings(
            objects=S3Objects(account.client("s3")),
            containers=self._containers,
            registrar=EndpointRegistrar(region, account),
            history=_PipelineHistory(self._history, start.pipeline),
            folder=folder,
            max_parallel=min(start.max_parallel or self._max_parallel, self._max_parallel),
            environment=account.environment(),
            on_step=on_step,
            callbacks=callbacks,
            on_job=on_job,
        )

    def _carry_out(self, region: Region, execution: Execution, running: PipelineExecution) -> None:
        account = self._account(region)
        send_status(account, execution, previous="")
        previous = "Executing"
        try:
            record = running.carry_out()
            previous = "Stopping" if record.status == "Stopped" else previous
        finally:
            execution.modified = now()
            send_status(account, execution, previous=previous)
            with self._lock, contextlib.suppress(ValueError):
                self._threads.remove(threading.current_thread())


class _PipelineHistory:
    """The executions of one pipeline, from its creation to its deletion: only their results are reused."""

    def __init__(self, folder: FolderHistory, pipeline: Pipeline) -> None:
        self._folder = folder
        self._pipeline = pipeline

    def save(self, record: ExecutionRecord) -> None:
        self._folder.save(record)

    def newest_first(self, _: str) -> Iterator[ExecutionRecord]:
        records = [execution.record for execution in tuple(self._pipeline.executions.values())]
        return iter(sorted(records, key=lambda record: record.end or record.start, reverse=True))
