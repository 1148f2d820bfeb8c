"""Compiles a gate to the conditions of a Condition step that rejects exactly what `mlops_core.Gate` rejects.

The conditions of a step are joined by "and". They require first that each metric of the gate is usable and each
threshold is within the range of its metric, then the expression itself. A definition has no "and" below "or", so it
becomes not (not a or not b) with opposite comparisons; this is exact, because all numbers are finite at that point.

A gate with bounds, slices, the champion or licences is decided by the evaluation's container with the same code; the
condition then reads the verdict.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mlops_core import AllOf, AnyOf, Champion, Comparison, LicenceClause, NoRegression, Not, Operator
from mlops_core.runners.container.verdict import USABLE, VERDICT_FLAG
from mlops_sagemaker.compiler.expressions import Expression, json_get, parameter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlops_core import Gate, Metric, Parameter, Pipeline
    from mlops_core.runners import Condition

PROPERTY_FILE = "evaluation"
_TYPES = {
    Operator.AT_LEAST: "GreaterThanOrEqualTo",
    Operator.ABOVE: "GreaterThan",
    Operator.AT_MOST: "LessThanOrEqualTo",
    Operator.BELOW: "LessThan",
}


def compile_gate(pipeline: Pipeline, *, evaluation: str) -> list[Expression]:
    """Return the conditions under which the model is registered.

    Args:
        pipeline: pipeline with gate, metrics and parameters.
        evaluation: name of the step in the definition that has the property file.
    """
    if pipeline.gate.needs_evidence:
        return [_binary(Operator.AT_LEAST, json_get(evaluation, PROPERTY_FILE, VERDICT_FLAG), 1)]
    compiler = _GateCompiler(
        metrics={metric.name: metric for metric in pipeline.metrics},
        parameters={each.name: each for each in pipeline.parameters},
        evaluation=evaluation,
    )
    return [
        *compiler.usable(pipeline.gate),
        *compiler.within_range(pipeline.gate),
        *map(compiler.condition, _conjuncts(pipeline.gate.condition)),
    ]


def gate_parameters(pipeline: Pipeline) -> tuple[Parameter, ...]:
    """Return the parameters that the gate uses, in the order of their declaration."""
    mentioned = pipeline.gate.parameters()
    return tuple(each for each in pipeline.parameters if each.name in mentioned)


class _GateCompiler:
    def __init__(self, *, metrics: Mapping[str, Metric], parameters: Mapping[str, Parameter], evaluation: str) -> None:
        self._metrics = metrics
        self._parameters = parameters
        self._evaluation = evaluation

    def usable(self, gate: Gate) -> Iterator[Expression]:
        mentioned = gate.metrics()
        for name, metric in self._metrics.items():
            if name in mentioned:
                yield _binary(Operator.AT_LEAST, self._read(metric, USABLE), 1)

    def within_range(self, gate: Gate) -> Iterator[Expression]:
        """Yield the limits that `Gate.evaluate` and, before a local run, `Parameter.checked` apply to thresholds."""
        limits: dict[str, tuple[float, float]] = {}
        for comparison in _comparisons(gate.condition):
            name = comparison.threshold
            if isinstance(name, str):
                metric, declared = self._metrics[comparison.metric], self._parameters[name]
                low, high = limits.get(name, (-math.inf, math.inf))
                low = max(low, metric.minimum, -math.inf if declared.minimum is None else declared.minimum)
                high = min(high, metric.maximum, math.inf if declared.maximum is None else declared.maximum)
                limits[name] = (low, high)
        for name in sorted(limits):
            low, high = limits[name]
            if math.isfinite(low):
                yield _binary(Operator.AT_LEAST, parameter(name), low)
            if math.isfinite(high):
                yield _binary(Operator.AT_MOST, parameter(name), high)

    def condition(self, condition: Condition, *, wanted: bool = True) -> Expression:
        """Return an expression that holds exactly when `condition` is `wanted`."""
        match condition:
            case Comparison():
                return self._comparison(condition, wanted=wanted)
            case Not():
                return self.condition(condition.part, wanted=not wanted)
            case AllOf():
                return self._some(condition, wanted=False) if not wanted else _not(self._some(condition, wanted=False))
            case AnyOf():
                return self._some(condition, wanted=True) if wanted else _not(self._some(condition, wanted=True))
            case NoRegression() | LicenceClause():
                raise AssertionError(f"{condition} is decided by the container")

    def _some(self, condition: AllOf | AnyOf, *, wanted: bool) -> Expression:
        """Return an expression that holds when at least one part is `wanted`."""
        parts = [self.condition(part, wanted=wanted) for part in condition.parts]
        return parts[0] if len(parts) == 1 else {"Type": "Or", "Conditions": parts}

    def _comparison(self, comparison: Comparison, *, wanted: bool) -> Expression:
        operator = comparison.operator if wanted else comparison.operator.opposite
        threshold = comparison.threshold
        assert not isinstance(threshold, Champion)  # noqa: S101  for mypy: that is decided by the container
        right = parameter(threshold) if isinstance(threshold, str) else threshold
        return _binary(operator, self._read(self._metrics[comparison.metric], "value"), right)

    def _read(self, metric: Metric, key: str) -> Expression:
        return json_get(self._evaluation, PROPERTY_FILE, f"{metric.section}.{metric.name}.{key}")


def _binary(operator: Operator, left: Expression, right: Expression | float) -> Expression:
    return {"Type": _TYPES[operator], "LeftValue": left, "RightValue": right}


def _not(expression: Expression) -> Expression:
    return {"Type": "Not", "Condition": expression}


def _conjuncts(condition: Condition) -> Iterator[Condition]:
    """Yield the parts of a top-level "and", which the step itself joins."""
    if isinstance(condition, AllOf):
        for part in condition.parts:
            yield from _conjuncts(part)
    else:
        yield condition


def _comparisons(condition: Condition) -> Iterator[Comparison]:
    match condition:
        case Comparison():
            yield condition
        case Not():
            yield from _comparisons(condition.part)
        case AllOf() | AnyOf():
            for part in condition.parts:
                yield from _comparisons(part)
