"""Gate conditions as data: clauses combined with and / or / not, and their JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from mlops_core.errors import PipelineError
from mlops_core.gates.clauses import (
    Bound,
    Champion,
    Clause,
    Comparison,
    LicenceClause,
    LicenceSubject,
    NoRegression,
    Operator,
    Slice,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

DEPTH_LIMIT = 50
"""How deep conditions may be nested."""


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


Condition: TypeAlias = Clause | AllOf | AnyOf | Not


def _require_parts(word: str, parts: Sequence[Condition]) -> None:
    if not parts:
        raise PipelineError(f"gate: '{word}' of nothing")


def _bracketed(condition: Condition) -> str:
    return f"({condition})" if isinstance(condition, AllOf | AnyOf) else str(condition)


def iter_clauses(condition: Condition, *, wanted: bool = True, depth: int = 0) -> Iterator[tuple[Clause, bool]]:
    """Yield each clause, and whether the condition wants it true or, under a not, false.

    Raises:
        PipelineError: it is nested too deep.
    """
    if depth > DEPTH_LIMIT:
        raise PipelineError(f"gate: nested more than {DEPTH_LIMIT} deep")
    match condition:
        case Comparison() | NoRegression() | LicenceClause():
            yield condition, wanted
        case AllOf() | AnyOf():
            for part in condition.parts:
                yield from iter_clauses(part, wanted=wanted, depth=depth + 1)
        case Not():
            yield from iter_clauses(condition.part, wanted=not wanted, depth=depth + 1)


def condition_to_json(condition: Condition) -> dict[str, Any]:
    """Return a condition as JSON types only."""
    match condition:
        case Comparison():
            return _comparison_to_json(condition)
        case NoRegression():
            return {
                "no_regression": {"metric": condition.metric, "column": condition.column, "margin": condition.margin}
            }
        case LicenceClause():
            return {
                "licence": {
                    "subject": str(condition.subject),
                    "licences": list(condition.licences),
                    "is_excluded": condition.is_excluded,
                }
            }
        case AllOf():
            return {"all": [condition_to_json(part) for part in condition.parts]}
        case AnyOf():
            return {"any": [condition_to_json(part) for part in condition.parts]}
        case Not():
            return {"not": condition_to_json(condition.part)}


def _comparison_to_json(comparison: Comparison) -> dict[str, Any]:
    threshold = comparison.threshold
    data: dict[str, Any] = {
        "metric": comparison.metric,
        "operator": str(comparison.operator),
        "threshold": {"best": threshold.offset} if isinstance(threshold, Champion) else threshold,
        "message": comparison.message,
    }
    if comparison.bound:
        data["bound"] = str(comparison.bound)
    if comparison.slice:
        data["slice"] = {"column": comparison.slice.column, "value": comparison.slice.value}
    return data


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
        case {"no_regression": {"metric": metric, "column": column, "margin": margin}}:
            return NoRegression(metric=metric, column=column, margin=margin)
        case {"licence": {"subject": subject, "licences": licences, "is_excluded": is_excluded}}:
            names = tuple(map(str, licences))
            return LicenceClause(subject=LicenceSubject(subject), licences=names, is_excluded=bool(is_excluded))
        case {"metric": metric, "operator": text, "threshold": threshold}:
            bound, part = data.get("bound"), data.get("slice")
            return Comparison(
                metric=metric,
                operator=Operator(text),
                threshold=Champion(offset=threshold["best"]) if isinstance(threshold, dict) else threshold,
                message=str(data.get("message", "")),
                bound=Bound(bound) if bound else None,
                slice=Slice(column=part["column"], value=part["value"]) if part else None,
            )
    raise PipelineError(f"gate: {data!r} is not a condition")
