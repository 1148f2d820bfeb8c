"""What the answers of a new server say about it: errors, slow answers, equal answers to different requests."""

from __future__ import annotations

import hashlib
from collections import deque
from typing import TYPE_CHECKING

from mlops_core.deployments.replay import percentile_99

if TYPE_CHECKING:
    from mlops_core.deployments.settings import AlarmSettings

_KEPT = 2000
_MOST_DIGESTS = 2000
_SERVER_FAULT = 500
_OK = 200


class AnswerWatch:
    """The newest answers of one server, and the alarms that they raise."""

    def __init__(self, settings: AlarmSettings) -> None:
        """Watch a server whose answers begin now."""
        self._settings = settings
        self._answers: deque[tuple[bool, float]] = deque(maxlen=_KEPT)
        self._requests: set[bytes] = set()
        self._different: set[bytes] = set()

    @property
    def count(self) -> int:
        """Number of requests that are judged."""
        return len(self._answers)

    def add(self, *, status: int, duration_s: float, request: bytes, answer: bytes) -> None:
        """Count an answer.

        Args:
            status: of HTTP.
            duration_s: time that it took.
            request: body of the request.
            answer: body of the answer.
        """
        self._answers.append((status >= _SERVER_FAULT, duration_s))
        if status == _OK and len(self._requests) < _MOST_DIGESTS:
            self._requests.add(hashlib.sha256(request).digest())
            if len(self._different) < 2:
                self._different.add(hashlib.sha256(answer).digest())

    def alarm(self) -> str:
        """Return which alarm is raised, in one line; empty for none."""
        settings, count = self._settings, len(self._answers)
        if count < settings.min_requests:
            return ""
        errors = sum(is_error for is_error, _ in self._answers)
        if settings.max_error_rate is not None and errors > settings.max_error_rate * count:
            return f"alarm: {errors} of {count} requests failed, more than {settings.max_error_rate:.3g} of them"
        p99_ms = 1000 * percentile_99([duration_s for _, duration_s in self._answers])
        if settings.max_p99_ms is not None and p99_ms > settings.max_p99_ms:
            return f"alarm: p99 of {count} answers is {p99_ms:.0f} ms, more than {settings.max_p99_ms:g} ms"
        has_many = len(self._requests) >= max(2, settings.min_requests)
        if settings.refuses_constant_answers and has_many and len(self._different) == 1:
            return f"alarm: one answer to {len(self._requests)} different requests"
        return ""

    def note(self) -> str:
        """Return what could not be judged; empty for nothing."""
        needed = self._settings.min_requests
        if self.count >= needed:
            return ""
        return f"alarms judged nothing: {self.count} requests, min_requests is {needed}"
