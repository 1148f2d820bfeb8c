"""The executions of the endpoint, each in its own thread: start, stop, retry."""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.emulator.endpoint.surroundings import Account, EndpointRegistrar
from mlops_sagemaker.emulator.execution import PipelineExecution, Surroundings
from mlops_sagemaker.emulator.history import FolderHistory
from mlops_sagemaker.emulator.jobs.callbacks import Callbacks
from mlops_sagemaker.emulator.jobs.containers import ProcessContainers
from mlops_sagemaker.emulator.objects import S3Objects

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlops_sagemaker.emulator.definition import Definition
    from mlops_sagemaker.emulator.jobs.containers import Containers
    from mlops_sagemaker.service.executions import ExecutionRecord, ExecutionStep


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionStart:
    """The arguments of the start of an execution.

    Attributes:
        definition: definition of the pipeline at the time of the start.
        arn: ARN of the execution.
        pipeline: name of the pipeline.
        values: values of all parameters, by name.
        max_parallel: number of steps to run in parallel; None for the limit of the endpoint.
    """

    definition: Definition
    arn: str
    pipeline: str
    values: Mapping[str, Any]
    max_parallel: int | None = None


class EndpointExecutions:
    """The executions of an endpoint; thread-safe."""

    def __init__(
        self, url: str, folder: Path, *, max_parallel: int | None = None, containers: Containers | None = None
    ) -> None:
        """Store trees and logs in `folder`; the other arguments are those of `SageMakerEndpoint`."""
        self._url = url
        self._history = FolderHistory(folder / "executions")
        self._containers = containers or ProcessContainers()
        self._max_parallel = max_parallel or os.cpu_count() or 1
        self._lock = threading.Lock()
        self._started: dict[str, ExecutionStart] = {}
        self._running: dict[str, PipelineExecution] = {}
        self._threads: list[threading.Thread] = []
        self._callbacks: dict[str, Callbacks] = {}

    def start(self, start: ExecutionStart, *, former: ExecutionRecord | None = None) -> None:
        """Start an execution in its own thread; with `former`, keep the steps that succeeded."""
        account = self.account(start.arn)
        execution = PipelineExecution(
            start.definition,
            arn=start.arn,
            pipeline=start.pipeline,
            values=start.values,
            surroundings=self._surroundings(start, account),
            former=former,
        )
        thread = threading.Thread(target=self._carry_out, args=(execution, account), name=start.arn, daemon=True)
        with self._lock:
            self._started[start.arn] = start
            self._running[start.arn] = execution
            self._threads.append(thread)
        thread.start()

    def record(self, arn: str) -> ExecutionRecord | None:
        """Return the state of an execution; None if it does not exist."""
        execution = self._running.get(arn)
        return execution.record if execution else None

    def records(self) -> tuple[ExecutionRecord, ...]:
        """Return the states of all executions, newest first."""
        with self._lock:
            records = [execution.record for execution in self._running.values()]
        return tuple(sorted(records, key=lambda record: record.start, reverse=True))

    def stop(self, arn: str) -> None:
        """Stop an execution."""
        self._running[arn].stop()

    def retry(self, arn: str) -> None:
        """Retry an execution that failed or was stopped; steps that succeeded are kept."""
        self.start(self._started[arn], former=self._running[arn].record)

    def answer(self, token: str, *, outputs: Mapping[str, Any] | None, reason: str = "") -> str | None:
        """Answer a Callback step and return the ARN of its execution; None if no step waits for the token."""
        for arn, callbacks in tuple(self._callbacks.items()):
            if callbacks.fail(token, reason) if outputs is None else callbacks.succeed(token, outputs):
                return arn
        return None

    def close(self) -> None:
        """Stop all executions and wait until they have ended."""
        for execution in tuple(self._running.values()):
            execution.stop()
        for thread in tuple(self._threads):
            thread.join()

    def account(self, arn: str) -> Account:
        """Return the account and region of an ARN."""
        _, _, _, region, account, _ = arn.split(":", 5)
        return Account(self._url, account=account, region=region)

    def _surroundings(self, start: ExecutionStart, account: Account) -> Surroundings:
        folder = self._history.execution_folder(start.arn.rpartition("/")[2])
        callbacks = Callbacks(lambda queue, text: self._send(account, queue, text))
        self._callbacks[start.arn] = callbacks

        def on_step(step: ExecutionStep) -> None:
            if step.end and not step.cache_source:
                account.write_logs(step, folder / "logs")

        return Surroundings(
            objects=S3Objects(account.client("s3")),
            containers=self._containers,
            registrar=EndpointRegistrar(account),
            history=self._history,
            folder=folder,
            max_parallel=min(start.max_parallel or self._max_parallel, self._max_parallel),
            environment=account.environment(),
            on_step=on_step,
            callbacks=callbacks,
        )

    def _send(self, account: Account, queue: str, text: str) -> None:
        account.client("sqs").send_message(QueueUrl=queue, MessageBody=text)

    def _carry_out(self, execution: PipelineExecution, account: Account) -> None:
        account.send_status(execution.record, previous="")
        record = execution.carry_out()
        account.send_status(record, previous="Executing")
        with self._lock, contextlib.suppress(ValueError):
            self._threads.remove(threading.current_thread())
