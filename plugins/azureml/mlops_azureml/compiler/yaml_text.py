"""Writes JSON types as YAML: block style, the same bytes on every machine, and quick for long texts.

PyYAML folds long scalars and needs a third of a second for a job, most of it for the requests of containers. Texts that
any version of YAML could read as something else are quoted as in JSON, which YAML contains.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Value: TypeAlias = "str | int | float | bool | Mapping[str, Value] | Sequence[Value] | None"

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@+-]*(?::[A-Za-z0-9_./@+-]+)*\Z")
_AMBIGUOUS = re.compile(r"(?i)(?:y|n|yes|no|on|off|true|false|null)\Z")
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
_EXPONENT = re.compile(r"^(-?\d+)(e.*)$")


def to_yaml(data: Mapping[str, Value]) -> str:
    """Return a mapping as YAML.

    Raises:
        ValueError: a number is not finite.

    Example:
        >>> print(to_yaml({"type": "pipeline", "inputs": {"seed": 1, "word": "yes"}, "tags": {}}), end="")
        type: pipeline
        inputs:
          seed: 1
          word: "yes"
        tags: {}
    """
    return "".join(f"{line}\n" for line in _mapping(data, ""))


def _mapping(data: Mapping[str, Value], indent: str) -> Iterator[str]:
    for key, value in data.items():
        yield from _entry(f"{indent}{_text(key)}:", value, indent)


def _entry(start: str, value: Value, indent: str) -> Iterator[str]:
    if isinstance(value, dict) and value:
        yield start
        yield from _mapping(value, f"{indent}  ")
    elif isinstance(value, list | tuple) and value:
        yield start
        for item in value:
            yield from _item(item, f"{indent}  ")
    else:
        yield f"{start} {_scalar(value)}"


def _item(value: Value, indent: str) -> Iterator[str]:
    if isinstance(value, dict) and value:
        lines = list(_mapping(value, f"{indent}  "))
        yield f"{indent}- {lines[0].lstrip(' ')}"
        yield from lines[1:]
    else:
        yield from _entry(f"{indent}-", value, indent)


def _scalar(value: Value) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is not a number of YAML 1.1 and 1.2 alike")
        return _EXPONENT.sub(r"\1.0\2", repr(value))
    if isinstance(value, int):
        return str(value)
    return "[]" if isinstance(value, list | tuple) else "{}"


def _text(text: str) -> str:
    if _PLAIN.match(text) and not _AMBIGUOUS.match(text):
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", quoted)
