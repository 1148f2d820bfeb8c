"""Executes Callback steps: sends a message with a token to a queue, and waits for an answer with that token.

As in the service, an execution that is stopped sends a second message with the status ``Stopping``, and ends when the
step is answered.
"""

from __future__ import annotations

import json
import secrets
import string
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.emulator.faults import FaultKind, StepFault, StepStopped
from mlops_sagemaker.emulator.jobs.common import JobResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_POLL_S = 0.1
_TOKEN_LENGTH = 10
_TOKEN = string.ascii_letters + string.digits


@dataclass(slots=True)
class _Waiting:
    types: Mapping[str, str]
    answered: threading.Event = field(default_factory=threading.Event)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackOrder:
    """A Callback step to execute.

    Attributes:
        queue: URL of the queue.
        arguments: arguments of the message.
        types: types of the declared outputs by name.
        arn: ARN of the execution.
        stopped: set when the execution is stopped.
        announce: called with the metadata of the waiting step.
        on_stopping: called when the step is asked to stop and waits for its answer.
    """

    queue: str
    arguments: Mapping[str, Any]
    types: Mapping[str, str]
    arn: str
    stopped: threading.Event
    announce: Callable[[JobResult], None]
    on_stopping: Callable[[], None]


class Callbacks:
    """The Callback steps that wait for an answer; thread-safe."""

    def __init__(self, send: Callable[[str, str], None]) -> None:
        """Send messages with `send`, which takes the URL of the queue and the text."""
        self._send = send
        self._lock = threading.Lock()
        self._waiting: dict[str, _Waiting] = {}
        self._abandoned = threading.Event()

    def call(self, order: CallbackOrder) -> JobResult:
        """Send the message of a step and wait for the answer.

        Raises:
            StepFault: the message could not be sent, or the answer reports a failure.
            StepStopped: the execution was stopped, and the step answered or abandoned.
        """
        token = "".join(secrets.choice(_TOKEN) for _ in range(_TOKEN_LENGTH))
        waiting = _Waiting(types=order.types)
        with self._lock:
            self._waiting[token] = waiting
        order.announce(_result(order, token, outputs={}))
        try:
            self._deliver(order, token, status="Executing")
            self._wait(order, token, waiting)
        finally:
            with self._lock:
                del self._waiting[token]
        if order.stopped.is_set():
            raise StepStopped
        if waiting.failure is not None:
            raise StepFault(FaultKind.CLIENT, waiting.failure)
        return _result(order, token, outputs=waiting.outputs)

    def _wait(self, order: CallbackOrder, token: str, waiting: _Waiting) -> None:
        is_told = False
        while not waiting.answered.wait(_POLL_S):
            if self._abandoned.is_set():
                raise StepStopped
            if order.stopped.is_set() and not is_told:
                is_told = True
                order.on_stopping()
                self._deliver(order, token, status="Stopping")

    def _deliver(self, order: CallbackOrder, token: str, *, status: str) -> None:
        body = {"token": token, "pipelineExecutionArn": order.arn, "status": status, "arguments": dict(order.arguments)}
        try:
            self._send(order.queue, json.dumps(body))
        except Exception as error:  # what the queue's client raises depends on the client
            if status == "Executing":
                raise StepFault(FaultKind.CLIENT, f"cannot send to the queue '{order.queue}': {error}") from error

    def succeed(self, token: str, outputs: Mapping[str, Any]) -> bool:
        """Complete the step with this token; return False if no step waits for it.

        Raises:
            ValueError: an output is not declared, or its value does not have the declared type.
        """
        with self._lock:
            waiting = self._waiting.get(token)
        if waiting is None:
            return False
        return self._answer(token, outputs=_typed(outputs, waiting.types), failure=None)

    def fail(self, token: str, reason: str) -> bool:
        """Fail the step with this token; return False if no step waits for it."""
        return self._answer(token, outputs={}, failure=reason or "the callback reported a failure")

    def abandon(self) -> None:
        """Stop the steps without waiting for their answers, because nobody can give one any more."""
        self._abandoned.set()

    def _answer(self, token: str, *, outputs: Mapping[str, Any], failure: str | None) -> bool:
        with self._lock:
            waiting = self._waiting.get(token)
            if waiting is None or waiting.answered.is_set():
                return False
            waiting.outputs, waiting.failure = outputs, failure
            waiting.answered.set()
        return True


def _result(order: CallbackOrder, token: str, *, outputs: Mapping[str, Any]) -> JobResult:
    listed = [{"Name": name, "Value": _as_text(value)} for name, value in outputs.items()]
    metadata = {"Callback": {"CallbackToken": token, "SqsQueueUrl": order.queue, "OutputParameters": listed}}
    return JobResult(properties={"OutputParameters": dict(outputs)}, metadata=metadata)


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _typed(outputs: Mapping[str, Any], types: Mapping[str, str]) -> dict[str, Any]:
    values = {}
    for name, text in outputs.items():
        if name not in types:
            declared = ", ".join(types) or "none"
            raise ValueError(f"the callback step declares no output '{name}'; declared: {declared}")
        try:
            values[name] = _PARSERS.get(types[name], str)(text)
        except ValueError:
            raise ValueError(f"output '{name}': {text!r} is not of type {types[name]}") from None
    return values


def _boolean(text: str) -> bool:
    return bool(("false", "true").index(text.strip().lower()))


_PARSERS: dict[str, Callable[[str], Any]] = {"String": str, "Integer": int, "Float": float, "Boolean": _boolean}
