"""Executes Callback steps: sends a message with a token to a queue, and waits for an answer with that token."""

from __future__ import annotations

import json
import secrets
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.emulator.faults import FaultKind, StepFault, StepStopped
from mlops_sagemaker.emulator.jobs.common import JobResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_POLL_S = 0.1


@dataclass(slots=True)
class _Waiting:
    answered: threading.Event = field(default_factory=threading.Event)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    failure: str | None = None


class Callbacks:
    """The Callback steps that wait for an answer; thread-safe."""

    def __init__(self, send: Callable[[str, str], None]) -> None:
        """Send messages with `send`, which takes the URL of the queue and the text."""
        self._send = send
        self._lock = threading.Lock()
        self._waiting: dict[str, _Waiting] = {}

    def call(self, queue: str, arguments: Mapping[str, Any], *, arn: str, stopped: threading.Event) -> JobResult:
        """Send the message of a step and wait for the answer.

        Raises:
            StepFault: the answer reports a failure.
            StepStopped: the execution was stopped.
        """
        token = secrets.token_hex(16)
        waiting = _Waiting()
        with self._lock:
            self._waiting[token] = waiting
        body = {"token": token, "pipelineExecutionArn": arn, "status": "Executing", "arguments": dict(arguments)}
        try:
            self._send(queue, json.dumps(body))
            while not waiting.answered.wait(_POLL_S):
                if stopped.is_set():
                    raise StepStopped
        finally:
            with self._lock:
                del self._waiting[token]
        if waiting.failure is not None:
            raise StepFault(FaultKind.CLIENT, waiting.failure)
        outputs = [{"Name": name, "Value": value} for name, value in waiting.outputs.items()]
        metadata = {"Callback": {"CallbackToken": token, "SqsQueueUrl": queue, "OutputParameters": outputs}}
        return JobResult(properties={"OutputParameters": dict(waiting.outputs)}, metadata=metadata)

    def succeed(self, token: str, outputs: Mapping[str, Any]) -> bool:
        """Complete the step with this token; return False if no step waits for it."""
        return self._answer(token, outputs=outputs, failure=None)

    def fail(self, token: str, reason: str) -> bool:
        """Fail the step with this token; return False if no step waits for it."""
        return self._answer(token, outputs={}, failure=reason or "the callback reported a failure")

    def _answer(self, token: str, *, outputs: Mapping[str, Any], failure: str | None) -> bool:
        with self._lock:
            waiting = self._waiting.get(token)
        if waiting is None or waiting.answered.is_set():
            return False
        waiting.outputs, waiting.failure = outputs, failure
        waiting.answered.set()
        return True
