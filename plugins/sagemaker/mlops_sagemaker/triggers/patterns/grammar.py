"""The grammar of event patterns: from JSON to fields with alternatives, or a `PatternError` that says where.

The reasons of refusals are worded as the service words them, so that a search for one finds its documentation.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

from mlops_core import UsageError, did_you_mean
from mlops_sagemaker.triggers.patterns.addresses import parse_address
from mlops_sagemaker.triggers.patterns.values import (
    Absent,
    AnythingBut,
    Cidr,
    EqualsIgnoreCase,
    Exact,
    Numeric,
    Prefix,
    Present,
    Suffix,
    ValueTest,
    Wildcard,
    is_number,
    number_value,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

OPERATORS = (
    "anything-but",
    "cidr",
    "equals-ignore-case",
    "exactly",
    "exists",
    "numeric",
    "prefix",
    "suffix",
    "wildcard",
)
_RESERVED = frozenset({*OPERATORS, "interval", "="})
"""Keys that make the list under ``$or`` a list of values instead of alternatives."""
_MOST_ALTERNATIVES = 1000

Path: TypeAlias = tuple[str, ...]
Conjunction: TypeAlias = dict[Path, tuple[ValueTest, ...]]
"""All fields of it must match, each by one of its tests."""


class PatternError(UsageError):
    """An event pattern that the service refuses.

    Attributes:
        reason: in the words of the service.
        field: dotted name of the field; empty for the pattern itself.
    """

    def __init__(self, reason: str, *, field: str = "", advice: str = "") -> None:
        self.reason = reason
        self.field = field
        where = f"event pattern, field '{field}'" if field else "event pattern"
        super().__init__(f"{where}: {reason}{f'; {advice}' if advice else ''}")


def parse_pattern(text: str) -> tuple[Conjunction, ...]:
    """Return the alternatives of a pattern; an event matches if it matches one of them.

    Raises:
        PatternError: the pattern is not one that the service takes.
    """
    try:
        data = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise PatternError("the JSON is nested too deeply") from None
    except ValueError as error:
        raise PatternError(f"not JSON: {error}", advice='expected an object such as {"source": ["..."]}') from None
    return parse_pattern_data(data)


def parse_pattern_data(data: object) -> tuple[Conjunction, ...]:
    """Return the alternatives of a pattern that is already decoded.

    Raises:
        PatternError: the pattern is not one that the service takes.
    """
    if not isinstance(data, dict):
        raise PatternError("Filter is not an object", advice='expected an object such as {"source": ["..."]}')
    return tuple(_parse_object(data, ()))


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON value")


def _parse_object(data: Mapping[str, Any], path: Path) -> list[Conjunction]:
    if not data:
        raise PatternError("Empty objects are not allowed", field=".".join(path), advice="name at least one field")
    alternatives: list[Conjunction] = [{}]
    for key, value in data.items():
        if key == "$or" and _is_or(value):
            branches = [branch for each in value for branch in _parse_object(each, path)]
        elif isinstance(value, dict):
            branches = _parse_object(value, (*path, *key.split(".")))
        else:
            field = (*path, *key.split("."))
            branches = [{field: _parse_list(value, ".".join(field))}]
        alternatives = [{**left, **right} for left in alternatives for right in branches]
        if len(alternatives) > _MOST_ALTERNATIVES:
            raise PatternError(
                f"more than {_MOST_ALTERNATIVES:,} combinations of $or", advice="split the pattern into several rules"
            )
    return alternatives


def _is_or(value: object) -> bool:
    """Return whether a value under ``$or`` is a list of alternatives; if not, ``$or`` is an ordinary field name."""
    return (
        isinstance(value, list)
        and len(value) >= 2
        and all(isinstance(each, dict) and each and not _RESERVED & each.keys() for each in value)
    )


def _parse_list(value: object, field: str) -> tuple[ValueTest, ...]:
    if not isinstance(value, list):
        name = field.rpartition(".")[2]
        raise PatternError(
            f'"{name}" must be an object or an array', field=field, advice=f"write [{json.dumps(value)}]"
        )
    if not value:
        raise PatternError("Empty arrays are not allowed", field=field, advice="list the values that match")
    return tuple(_parse_value(each, field) for each in value)


def _parse_value(value: object, field: str) -> ValueTest:
    if isinstance(value, dict):
        return _parse_operator(value, field)
    if isinstance(value, list):
        raise PatternError(
            "Match value must be String, number, true, false, or null", field=field, advice="flatten the nested list"
        )
    return Exact.of(value)


def _parse_operator(data: Mapping[str, Any], field: str) -> ValueTest:
    if not data:
        raise PatternError("Empty objects are not allowed", field=field, advice=f"use one of {', '.join(OPERATORS)}")
    name, operand = next(iter(data.items()))
    parse = _PARSERS.get(name)
    if parse is None:
        raise PatternError(f"Unrecognized match type {name}", field=field, advice=_suggestion(name))
    test = parse(operand, field)
    if len(data) > 1:
        raise PatternError(
            "Only one key allowed in match expression",
            field=field,
            advice=f"found {', '.join(data)}; a wildcard joins a prefix and a suffix",
        )
    return test


def _suggestion(name: str) -> str:
    near = did_you_mean(name, OPERATORS)
    return near.removeprefix("; ") or f"expected one of {', '.join(OPERATORS)}"


def _text(operand: object, name: str, field: str) -> str:
    if not isinstance(operand, str):
        raise PatternError(
            f"{name} match pattern must be a string", field=field, advice="write one operator object for each string"
        )
    return operand


def _parse_affix(name: str, kind: type[Prefix | Suffix]) -> Callable[[object, str], ValueTest]:
    def parse(operand: object, field: str) -> ValueTest:
        if isinstance(operand, dict):
            if list(operand) != ["equals-ignore-case"]:
                raise PatternError(
                    f"Unsupported {name} pattern: {', '.join(operand) or '{}'}",
                    field=field,
                    advice="only equals-ignore-case is allowed in it",
                )
            return kind(_text(operand["equals-ignore-case"], f"equals-ignore-case in {name}", field), ignores_case=True)
        return kind(_text(operand, name, field))

    return parse


def _parse_exactly(operand: object, field: str) -> ValueTest:
    return Exact.of(_text(operand, "exactly", field))


def _parse_ignore_case(operand: object, field: str) -> ValueTest:
    return EqualsIgnoreCase(_text(operand, "equals-ignore-case", field))


def _parse_wildcard(operand: object, field: str) -> ValueTest:
    text = _text(operand, "wildcard", field)
    pieces, piece, position = [], "", 0
    while position < len(text):
        character = text[position]
        if character == "\\":
            if text[position + 1 : position + 2] not in {"*", "\\"}:
                raise PatternError(
                    f"Invalid escape character at pos {position + 1}",
                    field=field,
                    advice="a backslash is allowed before * and another backslash only",
                )
            position += 1
            piece += text[position]
        elif character == "*":
            if text[position + 1 : position + 2] == "*":
                raise PatternError(
                    f"Consecutive wildcard characters at pos {position + 1}", field=field, advice="one * is enough"
                )
            pieces.append(piece)
            piece = ""
        else:
            piece += character
        position += 1
    return Wildcard((*pieces, piece), text=text)


def _parse_exists(operand: object, field: str) -> ValueTest:
    if not isinstance(operand, bool):
        raise PatternError("exists match pattern must be either true or false.", field=field)
    return Present() if operand else Absent()


def _parse_cidr(operand: object, field: str) -> ValueTest:
    text = _text(operand, "cidr", field)
    base, separator, mask = text.partition("/")
    if not separator or "/" in mask:
        raise PatternError("Malformed CIDR, one '/' required", field=field, advice="write, for example, 10.0.0.0/24")
    address = parse_address(base)
    if address is None or not (mask.isascii() and mask.isdigit()):
        raise PatternError(f"Malformed CIDR: {text}", field=field, advice="write, for example, 10.0.0.0/24")
    if int(mask) >= address.bits:
        version = "IPv4" if address.bits == 32 else "IPv6"
        raise PatternError(
            f"{version} mask bits must be < {address.bits}", field=field, advice=f'for one address, write "{base}"'
        )
    return Cidr(address, int(mask))


def _parse_numeric(operand: object, field: str) -> ValueTest:
    if not isinstance(operand, list) or not operand:
        raise PatternError("Value of numeric must be an array.", field=field, advice='write, for example, [">", 0]')
    operator, *rest = operand
    if not isinstance(operator, str):
        raise PatternError(
            f"Invalid member in numeric match: {json.dumps(operator)}",
            field=field,
            advice='the list begins with an operator, for example [">", 0]',
        )
    if operator not in {"=", "<", "<=", ">", ">="}:
        raise PatternError(f"Unrecognized numeric range operator: {operator}", field=field, advice="use = < <= > >=")
    value = _number(rest[:1], operator, field)
    if operator == "=":
        if len(rest) > 1:
            raise PatternError("Too many elements in numeric expression", field=field, advice="= takes one number")
        return Numeric(low=value, high=value, takes_low=True, takes_high=True)
    if operator in {"<", "<="}:
        if len(rest) > 1:
            raise PatternError(
                "Too many elements in numeric expression", field=field, advice="write the lower bound first"
            )
        return Numeric(high=value, takes_high=operator == "<=")
    return _range(value, rest[1:], takes_low=operator == ">=", field=field)


def _range(low: float, rest: Sequence[object], *, takes_low: bool, field: str) -> ValueTest:
    if not rest:
        return Numeric(low=low, takes_low=takes_low)
    if rest[0] not in {"<", "<="}:
        raise PatternError(f"Bad numeric range operator: {rest[0]}", field=field, advice="the second one is < or <=")
    high = _number(rest[1:2], str(rest[0]), field)
    if len(rest) > 2:
        raise PatternError("Too many terms in numeric range expression", field=field, advice="two bounds at most")
    if low >= high:
        raise PatternError("Bottom must be less than top", field=field, advice=f"{low:g} is not less than {high:g}")
    return Numeric(low=low, high=high, takes_low=takes_low, takes_high=rest[0] == "<=")


def _number(values: Sequence[object], operator: str, field: str) -> float:
    value = values[0] if values else None
    number = number_value(value) if is_number(value) else None
    if number is None:
        raise PatternError(
            f"Value of {'equals' if operator == '=' else operator} must be numeric", field=field, advice="give a number"
        )
    return number


def _parse_anything_but(operand: object, field: str) -> ValueTest:
    if isinstance(operand, dict):
        return _parse_anything_but_operator(operand, field)
    values = operand if isinstance(operand, list) else [operand]
    if not values:
        raise PatternError("Empty arrays are not allowed", field=field, advice="list the values that do not match")
    kinds = {"number" if is_number(value) else "string" if isinstance(value, str) else "other" for value in values}
    if "other" in kinds:
        raise PatternError(
            "Value of anything-but must be an array or single string/number value.",
            field=field,
            advice="true, false, null, lists and objects cannot be excluded",
        )
    if len(kinds) > 1:
        raise PatternError(
            "Inside anything but list, either all values are number or string, mixed type is not supported",
            field=field,
            advice="write two alternatives of $or",
        )
    return AnythingBut(tuple(Exact.of(value) for value in values))


def _parse_anything_but_operator(data: Mapping[str, Any], field: str) -> ValueTest:
    name = next(iter(data), "{}")
    inner = _EXCLUDABLE.get(name)
    if inner is None:
        raise PatternError(
            f"Unsupported anything-but pattern: {name}", field=field, advice=f"use one of {', '.join(_EXCLUDABLE)}"
        )
    if len(data) > 1:
        raise PatternError(
            "Only one key allowed in match expression", field=field, advice=f"found {', '.join(data)} in anything-but"
        )
    operand = data[name]
    values = operand if isinstance(operand, list) else [operand]
    if not values or not all(isinstance(value, str) for value in values):
        raise PatternError(
            f"{name} match pattern must be a string", field=field, advice="give one string or a list of strings"
        )
    return AnythingBut(tuple(inner(value, field) for value in values))


_PARSERS: dict[str, Callable[[Any, str], ValueTest]] = {
    "anything-but": _parse_anything_but,
    "cidr": _parse_cidr,
    "equals-ignore-case": _parse_ignore_case,
    "exactly": _parse_exactly,
    "exists": _parse_exists,
    "numeric": _parse_numeric,
    "prefix": _parse_affix("prefix", Prefix),
    "suffix": _parse_affix("suffix", Suffix),
    "wildcard": _parse_wildcard,
}
_EXCLUDABLE = {name: _PARSERS[name] for name in ("equals-ignore-case", "prefix", "suffix", "wildcard")}
