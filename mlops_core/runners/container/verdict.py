"""The evaluation as an engine's condition reads it, and the verdict; both are computed in the evaluation's container.

Conditions of engines fail on a missing path and are not documented for a null. So each declared metric gets a finite
number, and a flag that says whether the gate may use it; a compiled condition reads both. A gate that rests on more
than metrics and numbers cannot be expressed as a condition; for it the condition reads the verdict.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from mlops_core.errors import ConfigError
from mlops_core.evaluation.evaluation_file import EVALUATION_FILE, read_evaluation
from mlops_core.gates.verdicts import Verdict
from mlops_core.reading import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlops_core.evaluation.metrics import Metric
    from mlops_core.gates.evidence import GateEvidence
    from mlops_core.pipeline import ParameterValue
    from mlops_core.runners.container.request import ContainerRequest, GateRequest

USABLE = "usable"
VERDICT_FLAG = "verdict_accepted"
"""Key of the number that an engine's condition reads where it cannot express the gate: 1 for accepted, else 0."""
_UNUSABLE_VALUE = 0.0
"""Placeholder for a value that is not finite; never compared, since ``usable`` is 0."""


def gate_evaluation(
    folder: Path,
    request: ContainerRequest,
    parameters: Mapping[str, ParameterValue],
    *,
    evidence: GateEvidence | None = None,
) -> dict[str, Any]:
    """Return the evaluation with every metric present, and the verdict.

    Args:
        folder: folder with ``evaluation.json`` as core wrote it.
        request: request of an evaluation; its gate is set.
        parameters: value of each parameter that the gate mentions.
        evidence: predictions and the champion, for a gate that needs them.

    Raises:
        StepError: there is no evaluation.
    """
    assert request.gate is not None  # noqa: S101  for mypy: the only caller asks for it first
    report = read_evaluation(folder, request.metrics)
    data: dict[str, Any] = read_json(folder / EVALUATION_FILE)  # an object, as `read_evaluation` has found
    for metric in request.metrics:
        found = report.values.get(metric.name)
        _complete(data, metric, value=found.value if found else None)
    numbers = {name: value for name, value in parameters.items() if isinstance(value, int | float)}
    verdict = request.gate.gate.evaluate(
        report, metrics=request.metrics, parameters=numbers, evidence=evidence, licences=request.gate.licences
    )
    verdict = _within_limits(verdict, request.gate, parameters)
    data["verdict"] = verdict.to_json()
    data[VERDICT_FLAG] = int(verdict.accepted)
    return data


def verdict_message(verdict: Mapping[str, Any]) -> str:
    """Return a verdict as one line: why the model was rejected, or that it was accepted."""
    return str(verdict["message"]) if not verdict["accepted"] else "accepted: every clause of the gate is met"


def _complete(data: dict[str, Any], metric: Metric, *, value: float | None) -> None:
    section = data.get(metric.section)
    entries = section if isinstance(section, dict) else {}
    entry = entries.get(metric.name)
    entries[metric.name] = {
        **(entry if isinstance(entry, dict) else {}),
        "value": value if value is not None and math.isfinite(value) else _UNUSABLE_VALUE,
        USABLE: 0 if metric.fault(value) else 1,
    }
    data[metric.section] = entries


def _within_limits(verdict: Verdict, gate: GateRequest, parameters: Mapping[str, ParameterValue]) -> Verdict:
    """Reject a threshold outside its parameter's own limits, which a local run refuses before it starts."""
    faults = []
    for parameter in gate.parameters:
        try:
            parameter.checked(parameters[parameter.name])
        except ConfigError as error:
            faults.append(f"Execution failed: {error}")
    if not faults:
        return verdict
    messages = [*faults, *([verdict.message] if verdict.message else [])]
    return Verdict(accepted=False, clauses=verdict.clauses, message="; ".join(messages))
