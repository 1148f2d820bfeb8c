"""The deployment test: an endpoint must answer the recorded requests as the model did when it was registered."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_core.deployments.target import EndpointRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlops_core.deployments.recorded import RecordedRequest
    from mlops_core.deployments.settings import ReplaySettings
    from mlops_core.deployments.target import DeploymentTarget, EndpointAnswer

_OK = 200
_SERVER_FAULT = 500
_TIMEOUT_S = 60.0
_SHOWN = 160
_FEW = 3
"""From so many different requests on, one answer to all of them is a fault even if it was recorded so."""
_BROKEN = b"\x00\xff this is not a sample \x00"
"""A body that a model which reads files of a format cannot use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayReport:
    """What a deployment test came to.

    Attributes:
        endpoint: name of the endpoint.
        configuration: name of the plan that was tested.
        requests: number of recorded requests that were sent.
        largest_difference: of a number in an answer from the recorded one, relative to numbers above 1.
        p99_ms: 99th percentile of the time that the answers took.
        faults: what differs, one line each; empty if the test has passed.
    """

    endpoint: str
    configuration: str
    requests: int
    largest_difference: float
    p99_ms: float
    faults: tuple[str, ...]

    @property
    def has_passed(self) -> bool:
        """Whether every request was answered as it was recorded."""
        return not self.faults

    @property
    def summary(self) -> str:
        """The result in one line."""
        if self.faults:
            more = f" (and {len(self.faults) - 1} more)" if len(self.faults) > 1 else ""
            return f"the deployment test failed: {self.faults[0]}{more}"
        return (
            f"the deployment test passed: {self.requests} recorded requests, largest difference "
            f"{self.largest_difference:.2g}, p99 {self.p99_ms:.0f} ms"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON types only."""
        return {
            "endpoint": self.endpoint,
            "configuration": self.configuration,
            "requests": self.requests,
            "largest_difference": self.largest_difference if math.isfinite(self.largest_difference) else None,
            "p99_ms": round(self.p99_ms, 3),
            "has_passed": self.has_passed,
            "faults": list(self.faults),
        }


def replay(
    target: DeploymentTarget,
    endpoint: str,
    requests: Sequence[RecordedRequest],
    *,
    settings: ReplaySettings,
    configuration: str,
    refuses_constant_answers: bool = True,
) -> ReplayReport:
    """Send recorded requests to an endpoint and compare the answers.

    Args:
        target: the engine.
        endpoint: name of the endpoint.
        requests: at least one, else the test fails: an endpoint that was not called was not tested.
        settings: tolerance and time limit.
        configuration: name of the plan that must answer.
        refuses_constant_answers: fail where three or more different requests have one answer, although the model gave
            one answer already when it was registered.

    Raises:
        RunnerError: the endpoint does not exist or cannot be reached.
    """
    faults: list[str] = [] if requests else ["the version has no recorded requests, so nothing was tested"]
    largest, durations, bodies = 0.0, [], set()
    for request in requests:
        sent = EndpointRequest(body=request.body, content_type=request.content_type)
        answer = target.invoke(endpoint, sent, timeout_s=_TIMEOUT_S)
        durations.append(1000 * answer.duration_s)
        bodies.add(answer.body)
        fault, difference = _compared(request, answer, tolerance=settings.tolerance, configuration=configuration)
        largest = max(largest, difference)
        faults += [f"sample {request.sample}: {fault}"] if fault else []
    constant = _constant_fault(requests, bodies, is_refused=refuses_constant_answers)
    if constant:
        faults.insert(0, constant)
    p99_ms = percentile_99(durations)
    if settings.max_p99_ms is not None and p99_ms > settings.max_p99_ms:
        faults.append(f"p99 is {p99_ms:.0f} ms; expected at most {settings.max_p99_ms:g} ms")
    if requests:
        broken = EndpointRequest(body=_BROKEN, content_type=requests[0].content_type)
        status = target.invoke(endpoint, broken, timeout_s=_TIMEOUT_S).status
        if status >= _SERVER_FAULT:
            faults.append(f"a broken request is answered with {status}; expected one of 4xx")
    return ReplayReport(
        endpoint=endpoint,
        configuration=configuration,
        requests=len(requests),
        largest_difference=largest,
        p99_ms=p99_ms,
        faults=tuple(faults),
    )


def percentile_99(values: Sequence[float]) -> float:
    """Return the 99th percentile of numbers, the largest of fewer than 100; 0 without any.

    Example:
        >>> percentile_99([1.0, 3.0, 2.0])
        3.0
    """
    return sorted(values)[min(len(values) - 1, math.ceil(0.99 * len(values)) - 1)] if values else 0.0


def _constant_fault(requests: Sequence[RecordedRequest], bodies: set[bytes], *, is_refused: bool) -> str:
    """Return that all answers are equal, where they must not be; empty where they differ or may be equal."""
    if len(bodies) != 1:
        return ""
    if len({json.dumps(request.answer, sort_keys=True) for request in requests}) > 1:
        return f"the endpoint gives one answer to {len(requests)} different requests: {_shown(*bodies)}"
    different = len({request.body for request in requests})
    if is_refused and different >= _FEW:
        return (
            f"the model gives one answer to {different} different requests, as it did when it was registered: "
            f"{_shown(*bodies)}; train it again, or set alarms.refuses_constant_answers: false if that is its purpose"
        )
    return ""


def _compared(
    request: RecordedRequest, answer: EndpointAnswer, *, tolerance: float, configuration: str
) -> tuple[str, float]:
    """Return what is wrong with an answer, empty for nothing, and the largest difference of a number in it."""
    if answer.configuration and answer.configuration != configuration:
        return f"answered by {answer.configuration}, not by {configuration}", 0.0
    if answer.status != _OK:
        return f"the answer is {answer.status}: {_shown(answer.body)}", 0.0
    try:
        found = json.loads(answer.body)
    except ValueError:
        return f"the answer is not JSON: {_shown(answer.body)}", 0.0
    largest = 0.0
    for place, expected_value, value in _pairs(request.answer, found, place=""):
        difference = _difference(expected_value, value)
        if not difference <= tolerance:
            shown = f"{place} is {_brief(value)}; recorded: {_brief(expected_value)}, tolerance {tolerance:g}"
            return shown, difference
        largest = max(largest, difference)
    return "", largest


def _pairs(expected: Any, found: Any, *, place: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield each value of two nested documents side by side; a place that only one of them has is yielded, too."""
    if isinstance(expected, dict) and isinstance(found, dict) and expected.keys() == found.keys():
        for key, value in expected.items():
            yield from _pairs(value, found[key], place=f"{place}.{key}" if place else str(key))
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for index, pair in enumerate(zip(expected, found, strict=True)):
            yield from _pairs(*pair, place=f"{place}[{index}]")
    else:
        yield place or "the answer", expected, found


def _difference(expected: Any, found: Any) -> float:
    """Return by how much two values differ, relative to numbers above 1; infinity for what is not two numbers."""
    if _is_number(expected) and _is_number(found):
        difference = abs(expected - found) / max(1.0, abs(expected))
        return difference if math.isfinite(difference) else math.inf
    return 0.0 if expected == found and type(expected) is type(found) else math.inf


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(body: bytes) -> str:
    text = " ".join(body.decode(errors="backslashreplace").split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _brief(value: Any) -> str:
    return _shown(json.dumps(value).encode())
