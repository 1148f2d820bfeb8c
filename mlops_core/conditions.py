"""Gate expressions as data: comparisons of metrics with thresholds, combined with and / or / not.

A `Gate` fails closed: if any metric that it mentions is missing, not finite or outside its declared range, or a
threshold is, the verdict is "rejected", whatever and / or / not say around it. The same object is evaluated here
and compiled for an engine.
"""

from __future__ import annotations

import ast
import math
import operator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

from mlops_core.errors import PipelineError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from mlops_core.evaluation.metrics import Metric, MetricReport

_TEXT_LIMIT = 10_000
_DEPTH_LIMIT = 50


class Operator(StrEnum):
    """How a metric is compared with its threshold."""

    AT_LEAST = ">="
    ABOVE = ">"
    AT_MOST = "<="
    BELOW = "<"

    @property
    def opposite(self) -> Operator:
        """The operator that holds exactly when this one does not."""
        return _OPPOSITES[self]

    @property
    def mirrored(self) -> Operator:
        """The operator with its two sides exchanged."""
        return _MIRRORED[self]


_OPPOSITES = {
    Operator.AT_LEAST: Operator.BELOW,
    Operator.ABOVE: Operator.AT_MOST,
    Operator.AT_MOST: Operator.ABOVE,
    Operator.BELOW: Operator.AT_LEAST,
}
_MIRRORED = {
    Operator.AT_LEAST: Operator.AT_MOST,
    Operator.ABOVE: Operator.BELOW,
    Operator.AT_MOST: Operator.AT_LEAST,
    Operator.BELOW: Operator.ABOVE,
}
_COMPARE = {
    Operator.AT_LEAST: operator.ge,
    Operator.ABOVE: operator.gt,
    Operator.AT_MOST: operator.le,
    Operator.BELOW: operator.lt,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A metric against a threshold.

    Attributes:
        metric: name of a declared metric.
        operator: the comparison.
        threshold: a number, or the name of a numeric parameter.
        message: beginning of the sentence that is shown when it fails; the threshold follows.

    Example:
        >>> print(Comparison(metric="acc", operator=Operator.AT_LEAST, threshold="q_acc"))
        acc >= q_acc
    """

    metric: str
    operator: Operator
    threshold: float | str
    message: str = ""

    def __post_init__(self) -> None:
        """Refuse thresholds that no number could be compared with."""
        is_number = isinstance(self.threshold, int | float) and not isinstance(self.threshold, bool)
        if is_number and not math.isfinite(float(self.threshold)):
            raise PipelineError(f"gate: the threshold of '{self.metric}' is {self.threshold}, not a finite number")
        if not is_number and not (isinstance(self.threshold, str) and self.threshold.isidentifier()):
            raise PipelineError(
                f"gate: the threshold of '{self.metric}' is {self.threshold!r}; expected a number or a parameter's name"
            )

    def __str__(self) -> str:
        """Return it as it is written in a gate."""
        return f"{self.metric} {self.operator} {self.threshold}"


@dataclass(frozen=True, slots=True)
class AllOf:
    """True when all of its parts are.

    Example:
        >>> print(AllOf((parse_condition("acc >= 0.9"), parse_condition("loss < 2"))))
        acc >= 0.9 and loss < 2
    """

    parts: tuple[Condition, ...]

    def __post_init__(self) -> None:
        """Refuse an empty conjunction, which would accept everything."""
        _require_parts("and", self.parts)

    def __str__(self) -> str:
        """Return it as it is written in a gate."""
        return " and ".join(map(_bracketed, self.parts))


@dataclass(frozen=True, slots=True)
class AnyOf:
    """True when at least one of its parts is.

    Example:
        >>> print(AnyOf((parse_condition("acc >= 0.9"), parse_condition("loss < 2"))))
        acc >= 0.9 or loss < 2
    """

    parts: tuple[Condition, ...]

    def __post_init__(self) -> None:
        """Refuse an empty disjunction."""
        _require_parts("or", self.parts)

    def __str__(self) -> str:
        """Return it as it is written in a gate."""
        return " or ".join(map(_bracketed, self.parts))


@dataclass(frozen=True, slots=True)
class Not:
    """True when its part is not.

    Example:
        >>> print(Not(parse_condition("loss > 2")))
        not loss > 2
    """

    part: Condition

    def __str__(self) -> str:
        """Return it as it is written in a gate."""
        return f"not {_bracketed(self.part)}"


Condition: TypeAlias = Comparison | AllOf | AnyOf | Not


def _require_parts(word: str, parts: Sequence[Condition]) -> None:
    if not parts:
        raise PipelineError(f"gate: '{word}' of nothing")


def _bracketed(condition: Condition) -> str:
    return f"({condition})" if isinstance(condition, AllOf | AnyOf) else str(condition)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClauseVerdict:
    """The result of one comparison.

    Attributes:
        clause: the comparison as it is written in the gate.
        metric: its name.
        value: None when there is none that could be compared.
        threshold: None when there is none.
        passed: whether the gate needed it so, and it was.
        reason: one sentence.
    """

    clause: str
    metric: str
    value: float | None
    threshold: float | None
    passed: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The verdict of the gate on a model.

    Attributes:
        accepted: it may be registered.
        clauses: each comparison, in the order of the gate.
        message: why it was rejected; empty when it was accepted.

    Example:
        >>> verdict = Verdict(accepted=True, clauses=())
        >>> Verdict.from_json(verdict.to_json()) == verdict
        True
    """

    accepted: bool
    clauses: tuple[ClauseVerdict, ...]
    message: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as JSON types only."""
        return {
            "accepted": self.accepted,
            "message": self.message,
            "clauses": [{name: getattr(clause, name) for name in ClauseVerdict.__slots__} for clause in self.clauses],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Verdict:
        """Return the verdict that `to_json` wrote."""
        return cls(
            accepted=data["accepted"],
            message=data["message"],
            clauses=tuple(ClauseVerdict(**clause) for clause in data["clauses"]),
        )


@dataclass(frozen=True, slots=True)
class Gate:
    """The condition that a model must meet to be registered.

    Example:
        >>> acc = Metric(name="acc", section="m", unit=Unit.FRACTION, minimum=0, maximum=1, direction=Direction.HIGHER)
        >>> gate = Gate(parse_condition("acc >= q_acc"))
        >>> report = MetricReport(values={"acc": proportion(80, 100)})
        >>> gate.evaluate(report, metrics=[acc], parameters={"q_acc": 0.7}).accepted
        True
        >>> gate.evaluate(MetricReport(values={}), metrics=[acc], parameters={"q_acc": 0.7}).accepted
        False
    """

    condition: Condition
    _clauses: tuple[tuple[Comparison, bool], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Note each comparison, and whether the gate wants it true or, under a not, false."""
        object.__setattr__(self, "_clauses", tuple(_comparisons(self.condition, wanted=True)))

    def metrics(self) -> frozenset[str]:
        """Return the names of the metrics that it mentions."""
        return frozenset(comparison.metric for comparison, _ in self._clauses)

    def parameters(self) -> frozenset[str]:
        """Return the names of the parameters that it mentions."""
        return frozenset(
            comparison.threshold for comparison, _ in self._clauses if isinstance(comparison.threshold, str)
        )

    def check(self, *, metrics: Sequence[Metric], parameters: Collection[str]) -> None:
        """Check every name and number before anything runs.

        Raises:
            PipelineError: an unknown metric or parameter, or a threshold outside its metric's range.
        """
        declared = {metric.name: metric for metric in metrics}
        for name in sorted(self.metrics() - declared.keys()):
            raise PipelineError(
                f"gate: unknown metric '{name}'{did_you_mean(name, declared) or ';'} metrics: {', '.join(declared)}"
            )
        for name in sorted(self.parameters() - set(parameters)):
            raise PipelineError(
                f"gate: unknown numeric parameter '{name}'{did_you_mean(name, parameters) or ';'} "
                f"parameters: {', '.join(parameters) or 'none'}"
            )
        for comparison, _ in self._clauses:
            if not isinstance(comparison.threshold, str):
                fault = declared[comparison.metric].fault(comparison.threshold)
                if fault:
                    raise PipelineError(f"gate: the threshold of '{comparison.metric}' {fault}")

    def evaluate(self, report: MetricReport, *, metrics: Sequence[Metric], parameters: Mapping[str, float]) -> Verdict:
        """Judge a report.

        Args:
            report: what the evaluation found.
            metrics: the declared metrics.
            parameters: value of each numeric parameter.
        """
        judge = _Judge(report, {metric.name: metric for metric in metrics}, parameters)
        clauses = tuple(judge.clause(comparison, wanted=wanted) for comparison, wanted in self._clauses)
        faults = tuple(clause.reason for clause in clauses if clause.value is None or clause.threshold is None)
        accepted = not faults and judge.holds(self.condition)
        if accepted:
            return Verdict(accepted=True, clauses=clauses)
        failed = [
            judge.failure(comparison, clause)
            for (comparison, _), clause in zip(self._clauses, clauses, strict=True)
            if not clause.passed
        ]
        return Verdict(accepted=False, clauses=clauses, message="; ".join(dict.fromkeys(failed)))

    def to_json(self) -> dict[str, Any]:
        """Return the gate as JSON types only."""
        return condition_to_json(self.condition)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Gate:
        """Return the gate that `to_json` wrote."""
        return cls(condition_from_json(data))


class _Judge:
    """The values that one verdict rests on."""

    def __init__(self, report: MetricReport, metrics: Mapping[str, Metric], parameters: Mapping[str, float]) -> None:
        self._report = report
        self._metrics = metrics
        self._parameters = parameters

    def clause(self, comparison: Comparison, *, wanted: bool) -> ClauseVerdict:
        value, value_fault = self._value(comparison)
        threshold, threshold_fault = self._threshold(comparison)
        fault = value_fault or threshold_fault
        passed = not fault and self.holds(comparison) is wanted
        return ClauseVerdict(
            clause=str(comparison) if wanted else f"not {comparison}",
            metric=comparison.metric,
            value=value,
            threshold=threshold,
            passed=passed,
            reason=fault or f"{value:g} {'meets' if passed else 'does not meet'} it",
        )

    def holds(self, condition: Condition) -> bool:
        """Evaluate, with every value known to be good."""
        match condition:
            case Comparison():
                value, _ = self._value(condition)
                threshold, _ = self._threshold(condition)
                if value is None or threshold is None:
                    return False
                return bool(_COMPARE[condition.operator](value, threshold))
            case AllOf():
                return all(map(self.holds, condition.parts))
            case AnyOf():
                return any(map(self.holds, condition.parts))
            case Not():
                return not self.holds(condition.part)

    def failure(self, comparison: Comparison, clause: ClauseVerdict) -> str:
        """Return the sentence that says why a clause failed."""
        if clause.value is None or clause.threshold is None:
            return f"Execution failed: {clause.reason}"
        if comparison.message:
            return f"{comparison.message.rstrip()} {clause.threshold:g}"
        return (
            f"Execution failed: {clause.metric} is {clause.value:g}, which fails {clause.clause} ({clause.threshold:g})"
        )

    def _value(self, comparison: Comparison) -> tuple[float | None, str]:
        metric = self._metrics.get(comparison.metric)
        if metric is None:
            return None, f"{comparison.metric} is not a declared metric"
        found = self._report.values.get(comparison.metric)
        fault = metric.fault(found.value if found else None)
        if fault or found is None:
            return None, f"{comparison.metric} {fault}"
        return found.value, ""

    def _threshold(self, comparison: Comparison) -> tuple[float | None, str]:
        name = comparison.threshold
        value = self._parameters.get(name) if isinstance(name, str) else name
        metric = self._metrics.get(comparison.metric)
        fault = metric.fault(value) if metric else ""
        if fault or value is None:
            return None, f"threshold {name} of {comparison.metric} {fault}"
        return float(value), ""


def _comparisons(condition: Condition, *, wanted: bool, depth: int = 0) -> Iterator[tuple[Comparison, bool]]:
    if depth > _DEPTH_LIMIT:
        raise PipelineError(f"gate: nested more than {_DEPTH_LIMIT} deep")
    match condition:
        case Comparison():
            yield condition, wanted
        case AllOf() | AnyOf():
            for part in condition.parts:
                yield from _comparisons(part, wanted=wanted, depth=depth + 1)
        case Not():
            yield from _comparisons(condition.part, wanted=not wanted, depth=depth + 1)


def condition_to_json(condition: Condition) -> dict[str, Any]:
    """Return a condition as JSON types only."""
    match condition:
        case Comparison():
            return {
                "metric": condition.metric,
                "operator": str(condition.operator),
                "threshold": condition.threshold,
                "message": condition.message,
            }
        case AllOf():
            return {"all": [condition_to_json(part) for part in condition.parts]}
        case AnyOf():
            return {"any": [condition_to_json(part) for part in condition.parts]}
        case Not():
            return {"not": condition_to_json(condition.part)}


def condition_from_json(data: Mapping[str, Any]) -> Condition:
    """Return the condition that `condition_to_json` wrote.

    Raises:
        PipelineError: it is none.
    """
    match data:
        case {"all": parts}:
            return AllOf(tuple(map(condition_from_json, parts)))
        case {"any": parts}:
            return AnyOf(tuple(map(condition_from_json, parts)))
        case {"not": part}:
            return Not(condition_from_json(part))
        case {"metric": metric, "operator": text, "threshold": threshold}:
            message = str(data.get("message", ""))
            return Comparison(metric=metric, operator=Operator(text), threshold=threshold, message=message)
    raise PipelineError(f"gate: {data!r} is not a condition")


def parse_condition(text: str, *, messages: Mapping[str, str] | None = None) -> Condition:
    """Parse a condition, for example ``"clip_acc >= q_clip and not (loss > 2)"``.

    Names on the left are metrics; a number on the left exchanges the sides. Only comparisons with >=, >, <=, <,
    joined by and / or / not and parentheses, are understood; nothing is executed.

    Args:
        text: the expression.
        messages: metric -> beginning of the sentence that is shown when its comparison fails.

    Raises:
        PipelineError: anything else; the column is named.

    Example:
        >>> print(parse_condition("0.9 <= acc and not (loss > 2 or loss < 0)"))
        acc >= 0.9 and not (loss > 2 or loss < 0)
    """
    if len(text) > _TEXT_LIMIT:
        raise PipelineError(f"gate: {len(text)} characters; at most {_TEXT_LIMIT} are read")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise PipelineError(f"gate: {text!r} is not an expression: {error}") from error
    return _Parser(text, messages or {}).condition(tree.body, depth=0)


class _Parser:
    """Turns a syntax tree into a condition, by whitelist."""

    def __init__(self, text: str, messages: Mapping[str, str]) -> None:
        self._text = text
        self._messages = messages

    def condition(self, node: ast.expr, *, depth: int) -> Condition:
        if depth > _DEPTH_LIMIT:
            raise PipelineError(f"gate: nested more than {_DEPTH_LIMIT} deep")
        match node:
            case ast.BoolOp(op=ast.And()):
                return AllOf(tuple(self.condition(value, depth=depth + 1) for value in node.values))
            case ast.BoolOp():
                return AnyOf(tuple(self.condition(value, depth=depth + 1) for value in node.values))
            case ast.UnaryOp(op=ast.Not()):
                return Not(self.condition(node.operand, depth=depth + 1))
            case ast.Compare():
                return self._comparison(node)
        raise self._refused(node, "expected a comparison")

    def _comparison(self, node: ast.Compare) -> Condition:
        sides = (node.left, *node.comparators)
        parts = tuple(
            self._pair(left, sign, right) for left, sign, right in zip(sides, node.ops, sides[1:], strict=False)
        )
        return parts[0] if len(parts) == 1 else AllOf(parts)

    def _pair(self, left: ast.expr, sign: ast.cmpop, right: ast.expr) -> Comparison:
        signs = {ast.GtE: ">=", ast.Gt: ">", ast.LtE: "<=", ast.Lt: "<"}
        if type(sign) not in signs:
            raise self._refused(left, "expected >=, >, <= or < after this")
        compare = Operator(signs[type(sign)])
        if not isinstance(left, ast.Name):
            left, right, compare = right, left, compare.mirrored
        if not isinstance(left, ast.Name):
            raise self._refused(left, "expected a metric's name")
        return Comparison(
            metric=left.id,
            operator=compare,
            threshold=self._threshold(right),
            message=self._messages.get(left.id, ""),
        )

    def _threshold(self, node: ast.expr) -> float | str:
        match node:
            case ast.Name():
                return node.id
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                return -value
        raise self._refused(node, "expected a number or a parameter's name")

    def _refused(self, node: ast.expr, expected: str) -> PipelineError:
        return PipelineError(f"gate: {self._text!r}, column {node.col_offset + 1}: {expected}")
