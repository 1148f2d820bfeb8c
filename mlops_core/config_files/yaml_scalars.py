"""Plain YAML scalars: their meaning by the core schema of YAML 1.2, and the spellings that YAML 1.1 reads differently.

PyYAML reads YAML 1.1, in which ``010`` is 8, ``1:30`` is 90 and ``NO`` is false; most other tools read YAML 1.2. What
the two read differently is an `Ambiguity`: its author may have meant either.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from dataclasses import dataclass
from typing import Any

import yaml

from mlops_core.redaction import REDACTED

_TAG = "tag:yaml.org,2002:"
NULL, BOOL, INT, FLOAT, TEXT, MERGE = (f"{_TAG}{name}" for name in ("null", "bool", "int", "float", "str", "merge"))
_CORE = (
    (NULL, re.compile(r"~|null|Null|NULL|")),
    (BOOL, re.compile(r"true|True|TRUE|false|False|FALSE")),
    (INT, re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")),
    (FLOAT, re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")),
)
"""The core schema of YAML 1.2, in the order in which it is asked; anything else is text."""
CORE_TAGS = (NULL, BOOL, INT, FLOAT, TEXT)
NODE_LIMIT = 50_000
"""Largest number of values in a document."""
_DIGITS_LIMIT = 400
"""Longest number: more digits than any floating-point number needs; converting a long one takes quadratic time."""
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
_IMPLICIT = (True, False)
"""PyYAML's mark of a plain scalar, whose tag follows from its text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ambiguity:
    """A plain scalar that YAML 1.1 and YAML 1.2 read differently.

    Attributes:
        spelling: as written; of an environment variable, its reference, since its value may be a secret.
        old: what YAML 1.1 reads.
        new: what YAML 1.2 reads.
    """

    spelling: str
    old: object
    new: object

    def allows(self, outcome: object) -> bool:
        """Return whether a validated value shows that the reading of YAML 1.1 was expected: a truth value or a date."""
        if isinstance(self.old, bool):
            return isinstance(outcome, bool)
        return isinstance(self.old, dt.date) and isinstance(outcome, dt.date)

    def __str__(self) -> str:
        """Return what is ambiguous and what to write instead."""
        if self.spelling == REDACTED:
            return "its value, which is secret, means different things in YAML 1.1 and 1.2; quote it"
        if "${" in self.spelling:
            return f"the value of {self.spelling} means different things in YAML 1.1 and 1.2; quote it"
        old, new = _described(self.old), _described(self.new)
        if old == new:
            return f"{self.spelling} has a leading zero, which a number loses; quote it, or write {new}"
        numbers = [str(item) for item in (self.old, self.new) if isinstance(item, int | float)]
        instead = f", or write {old if isinstance(self.old, bool) else ' or '.join(numbers)}" if numbers else ""
        return f"{self.spelling} is {old} in YAML 1.1 and {new} in YAML 1.2; quote it{instead}"


class CoreLoader(yaml.SafeLoader):
    """A loader that resolves plain scalars by the core schema; a node with a tag of its own has ``is_tagged``."""

    def __init__(self, stream: str) -> None:
        """Load `stream`, up to a limit of values."""
        super().__init__(stream)
        self._values = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose a node and count it: a document of this size takes long to read, and is not a configuration."""
        self._values += 1
        if self._values > NODE_LIMIT:
            raise yaml.YAMLError(f"more than {NODE_LIMIT:,} values")
        composer: Any = super()
        node: yaml.Node | None = composer.compose_node(parent, index)
        return node

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        """Return the tag of a node that has none."""
        if kind is yaml.ScalarNode and implicit[0]:
            return MERGE if value == "<<" else core_tag(value)
        parent: Any = super()
        return str(parent.resolve(kind, value, implicit))

    def compose_scalar_node(self, anchor: dict[Any, yaml.Node]) -> yaml.ScalarNode:
        """Compose a scalar and note whether its tag was written."""
        parent: Any = super()
        tag = parent.peek_event().tag
        node: yaml.ScalarNode = parent.compose_scalar_node(anchor)
        vars(node)["is_tagged"] = tag not in (None, "!")
        return node


class CoreDumper(yaml.SafeDumper):
    """A dumper whose texts are texts for readers of YAML 1.1 and 1.2."""


class Quoted(str):
    """A text that is always written in quotes."""

    __slots__ = ()


def _represent_text(dumper: CoreDumper, text: str) -> yaml.ScalarNode:
    is_plain = not isinstance(text, Quoted) and core_tag(text) == TEXT
    node: yaml.ScalarNode = dumper.represent_scalar(TEXT, str(text), style=None if is_plain else "'")
    return node


CoreDumper.add_representer(str, _represent_text)
CoreDumper.add_representer(Quoted, _represent_text)


def core_tag(text: str) -> str:
    """Return the tag of a plain scalar by the core schema of YAML 1.2."""
    return next((tag for tag, pattern in _CORE if pattern.fullmatch(text)), TEXT)


def core_value(text: str, tag: str) -> Any:
    """Return the value of a scalar with one of the core schema's tags.

    Raises:
        ValueError: the text does not have the form of the tag.
    """
    if tag in (TEXT, MERGE):
        return text
    if not dict(_CORE)[tag].fullmatch(text):
        raise ValueError(f"{text!r} is not {tag.removeprefix(_TAG)}")
    if tag == NULL:
        return None
    if tag == BOOL:
        return text.lower() == "true"
    if tag in (INT, FLOAT) and len(text) > _DIGITS_LIMIT:
        raise ValueError(f"a number of {len(text):,} characters; expected at most {_DIGITS_LIMIT}")
    if tag == INT:
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


def ambiguity_of(text: str, *, shown: str = "") -> Ambiguity | None:
    """Return what is ambiguous about a plain scalar; None when every reader agrees.

    Args:
        text: the scalar.
        shown: what messages show instead of it.
    """
    new = core_value(text, core_tag(text))
    old = _old_value(text)
    is_same = type(old) is type(new) and (old == new or (isinstance(old, float) and math.isnan(old)))
    is_exponent = isinstance(old, str) and isinstance(new, float)  # 1e-3: a number to every reader but PyYAML
    if (is_same or is_exponent) and not _LEADING_ZERO.fullmatch(text):
        return None
    return Ambiguity(spelling=shown or text, old=old, new=new)


def is_plain_number(text: str) -> bool:
    """Return whether a text is a number that every reader of YAML reads alike; blanks around it do not count."""
    number = text.strip()
    return core_tag(number) in (INT, FLOAT) and ambiguity_of(number) is None


def _old_value(text: str) -> object:
    """Return what PyYAML, a reader of YAML 1.1, makes of a plain scalar; a long one is text."""
    if len(text) > _DIGITS_LIMIT:
        return text
    loader: Any = yaml.SafeLoader("")
    try:
        return loader.construct_object(yaml.ScalarNode(loader.resolve(yaml.ScalarNode, text, _IMPLICIT), text))
    except (yaml.YAMLError, ValueError, ArithmeticError):  # such as "=", which only a mapping of old documents holds
        return text


def _described(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return "text"
    return f"the date {value}" if isinstance(value, dt.date) else f"{value}"
