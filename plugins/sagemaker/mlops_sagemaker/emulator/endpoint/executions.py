"""The executions of the endpoint: each one a thread that carries out a definition; started, stopped, retried."""

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
    """What an execution is started with.

    Attributes:
        definition: of the pipeline at the time of the start.
        arn: of the execution.
        pipeline: its name.
        values: of all parameters.
        max_parallel: steps at once; None for the endpoint's own limit.
    """

    definition: Definition
    arn: str
    pipeline: str
    values: Mapping[str, Any]
    max_parallel: int | None = None


class EndpointExecutions:
    """All executions of an endpoint; safe to use from threads."""

    def __init__(
        self, url: str, folder: Path, *, max_parallel: int | None = None, containers: Containers | None = None
    ) -> None:
        """Keep trees and logs in `folder`; the arguments are those of `SageMakerEndpoint`."""
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
        """Carry out an execution in a thread of its own; with `former`, go on where that one ended."""
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
        """Return the state of an execution; None when there is none."""
        execution = self._running.get(arn)
        return execution.record if execution else None

    def records(self) -> tuple[ExecutionRecord, ...]:
        """Return the state of all executions, the newest first."""
        with self._lock:
            found = [execution.record for execution in self._running.values()]
        return tuple(sorted(found, key=lambda record: record.start, reverse=True))

    def stop(self, arn: str) -> None:
        """Ask an execution to end."""
        self._running[arn].stop()

    def retry(self, arn: str) -> None:
        """Go on with an execution that failed or was stopped; steps that succeeded are kept."""
        self.start(self._started[arn], former=self._running[arn].record)

    def answer(self, token: str, *, outputs: Mapping[str, Any] | None, reason: str = "") -> str | None:
        """Answer a callback step; return the ARN of its execution, or None when no step waits with this token."""
        for arn, callbacks in tuple(self._callbacks.items()):
            if callbacks.fail(token, reason) if outputs is None else callbacks.succeed(token, outputs):
                return arn
        return None

    def close(self) -> None:
        """Stop all executions and wait for their ends."""
        for execution in tuple(self._running.values()):
            execution.stop()
        for thread in tuple(self._threads):
            thread.join()

    def account(self, arn: str) -> Account:
        """Return the account and region to which an ARN belongs."""
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
