"""Validates requests against the shapes of botocore's service model, as the service does before it acts.

A value of a wrong type is a `SerializationError`; all violated constraints of a request are one `ValidationError` with
the wording of the service. Unknown members are ignored, as in the service.
"""

from __future__ import annotations

import datetime as dt
import functools
import re
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.emulator.endpoint.protocol.errors import SerializationError, ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator

_PYTHON: dict[str, tuple[type, ...]] = {
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
    "string": (str,),
    "blob": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "timestamp": (int, float, str),
}
_RANGES = {"integer": 2**31, "long": 2**63}
_SHOWN = 200


def validated(value: Any, shape: Any) -> dict[str, Any]:
    """Return a request with its known members and with times as `datetime`.

    Args:
        value: the request as parsed JSON.
        shape: input shape of the operation in botocore's service model.

    Raises:
        SerializationError: a value has a wrong type.
        ValidationError: constraints are violated; names all of them.
    """
    converted = _converted(value, shape, path="")
    problems = list(_problems(converted, shape, path=""))
    if problems:
        noun = "error" if len(problems) == 1 else "errors"
        raise ValidationError(f"{len(problems)} validation {noun} detected: {'; '.join(problems)}")
    result: dict[str, Any] = converted
    return result


def _converted(value: Any, shape: Any, *, path: str) -> Any:
    kind = shape.type_name
    if not _is_of_kind(value, kind):
        raise SerializationError(f"{_named(path)}: {type(value).__name__} value cannot be converted to {kind}")
    if kind == "structure":
        return {
            name: _converted(inner, shape.members[name], path=_below(path, name))
            for name, inner in value.items()
            if name in shape.members and inner is not None
        }
    if kind == "list":
        return [_converted(inner, shape.member, path=f"{path}.{n}.member") for n, inner in enumerate(value, start=1)]
    if kind == "map":
        return {key: _converted(inner, shape.value, path=f"{path}.{key}.member") for key, inner in value.items()}
    if kind in ("string", "blob"):
        return _encodable(value, path)
    if kind == "timestamp":
        return _moment(value, path)
    if kind in _RANGES and not -_RANGES[kind] <= value < _RANGES[kind]:
        raise SerializationError(f"{_named(path)}: {value} is out of the range of {kind}")
    return value


def _is_of_kind(value: object, kind: str) -> bool:
    return isinstance(value, _PYTHON[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _encodable(value: str, path: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise SerializationError(f"{_named(path)}: the text is not valid Unicode") from None
    return value


def _moment(value: float | str, path: str) -> dt.datetime:
    try:
        if isinstance(value, str):
            moment = dt.datetime.fromisoformat(value)
            return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
        return dt.datetime.fromtimestamp(value, dt.UTC)
    except (ValueError, OverflowError, OSError):
        raise SerializationError(f"{_named(path)}: {value!r} cannot be converted to timestamp") from None


def _problems(value: Any, shape: Any, *, path: str) -> Iterator[str]:
    kind = shape.type_name
    if kind == "structure":
        for name in shape.required_members:
            if name not in value:
                yield _violation(None, _below(path, name), "Member must not be null")
        for name, inner in value.items():
            yield from _problems(inner, shape.members[name], path=_below(path, name))
        return
    yield from _size_problems(value, shape, path=path)
    if kind == "list":
        for number, inner in enumerate(value, start=1):
            yield from _problems(inner, shape.member, path=f"{path}.{number}.member")
    elif kind == "map":
        for key, inner in value.items():
            yield from _problems(key, shape.key, path=f"{path}.{key}.key")
            yield from _problems(inner, shape.value, path=f"{path}.{key}.member")


def _size_problems(value: Any, shape: Any, *, path: str) -> Iterator[str]:
    kind, limits = shape.type_name, shape.metadata
    if kind in ("list", "map", "string", "blob"):
        size, noun = len(value), "length"
    elif kind in ("integer", "long", "float", "double"):
        size, noun = value, "value"
    else:
        return
    if size > limits.get("max", size):
        yield _violation(value, path, f"Member must have {noun} less than or equal to {limits['max']}")
    elif size < limits.get("min", size):
        yield _violation(value, path, f"Member must have {noun} greater than or equal to {limits['min']}")
    elif kind == "string":
        yield from _text_problems(value, shape, path=path)


def _text_problems(value: str, shape: Any, *, path: str) -> Iterator[str]:
    if shape.enum and value not in shape.enum:
        yield _violation(value, path, f"Member must satisfy enum value set: [{', '.join(shape.enum)}]")
    pattern = shape.metadata.get("pattern")
    compiled = _compiled(pattern) if pattern else None
    if compiled and not compiled.fullmatch(value):
        yield _violation(value, path, f"Member must satisfy regular expression pattern: {pattern}")


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str] | None:
    """Return a pattern of the service model; None for the few that Python cannot read, such as classes of Unicode."""
    try:
        return re.compile(pattern)
    except re.error:
        return None


def _violation(value: object, path: str, constraint: str) -> str:
    shown = "null" if value is None else str(value)
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
    return f"Value '{shown}' at '{path}' failed to satisfy constraint: {constraint}"


def _below(path: str, name: str) -> str:
    member = name[:1].lower() + name[1:]
    return f"{path}.{member}" if path else member


def _named(path: str) -> str:
    return path or "the request"
