"""Tests of one value of an event: what an element of a pattern's list accepts.

Values are those of `json.loads`: strings, numbers, booleans and None; lists and objects never reach a test.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from mlops_sagemaker.triggers.patterns.addresses import Address, parse_address


class ValueTest(Protocol):
    """One alternative of a field."""

    def matches(self, value: Any) -> bool:
        """Return whether a value that is there is accepted."""


def is_number(value: object) -> bool:
    """Return whether a decoded JSON value is a number; true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def number_value(value: Any) -> float | None:
    """Return a number as the double that it is compared as; None if it has no finite one."""
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def exact_key(value: Any) -> object:
    """Return a key that is equal for values that match each other exactly.

    Numbers are compared by value, strings that denote an IP address as addresses, everything else by type and value.
    """
    if isinstance(value, str):
        return parse_address(value) or value
    if is_number(value):
        number = number_value(value)
        return ("number", str(value) if number is None else number)
    return ("literal", value)


@dataclass(frozen=True, slots=True)
class Exact:
    """One value.

    Attributes:
        value: as written.
        key: what is compared.
    """

    value: Any
    key: object

    @classmethod
    def of(cls, value: Any) -> Exact:
        """Return the test for a decoded JSON value."""
        return cls(value, exact_key(value))

    def matches(self, value: Any) -> bool:
        """Return whether the values are equal by type and value."""
        return exact_key(value) == self.key


class _CaseBlind:
    """Compares strings without regard to case, character by character: no character becomes two."""

    def __init__(self, text: str) -> None:
        self._choices = [{character, character.lower(), character.upper()} for character in text]

    def __len__(self) -> int:
        return len(self._choices)

    def equals(self, text: str) -> bool:
        return len(text) == len(self) and all(
            character in choices for character, choices in zip(text, self._choices, strict=True)
        )


@dataclass(frozen=True)
class Prefix:
    """The beginning of a string."""

    text: str
    ignores_case: bool = False

    @cached_property
    def _blind(self) -> _CaseBlind:
        return _CaseBlind(self.text)

    def matches(self, value: Any) -> bool:
        """Return whether the value is a string that begins so."""
        if not isinstance(value, str):
            return False
        return self._blind.equals(value[: len(self.text)]) if self.ignores_case else value.startswith(self.text)


@dataclass(frozen=True)
class Suffix:
    """The end of a string."""

    text: str
    ignores_case: bool = False

    @cached_property
    def _blind(self) -> _CaseBlind:
        return _CaseBlind(self.text)

    def matches(self, value: Any) -> bool:
        """Return whether the value is a string that ends so."""
        if not isinstance(value, str):
            return False
        if self.ignores_case:
            return self._blind.equals(value[max(0, len(value) - len(self.text)) :])
        return value.endswith(self.text)


@dataclass(frozen=True)
class EqualsIgnoreCase:
    """A string in any case."""

    text: str

    @cached_property
    def _blind(self) -> _CaseBlind:
        return _CaseBlind(self.text)

    def matches(self, value: Any) -> bool:
        """Return whether the value is that string in upper, lower or mixed case."""
        return isinstance(value, str) and self._blind.equals(value)


@dataclass(frozen=True, slots=True)
class Wildcard:
    """Pieces of a string with anything between them; one piece is the whole string.

    Attributes:
        pieces: the text before, between and after the asterisks.
        text: as written.
    """

    pieces: tuple[str, ...]
    text: str

    def matches(self, value: Any) -> bool:
        """Return whether the value is a string of these pieces, in linear time."""
        if not isinstance(value, str):
            return False
        first, *middle = self.pieces
        if not middle:
            return value == first
        last = middle.pop()
        if len(value) < len(first) + len(last) or not (value.startswith(first) and value.endswith(last)):
            return False
        position, end = len(first), len(value) - len(last)
        for piece in middle:
            found = value.find(piece, position, end)
            if found < 0:
                return False
            position = found + len(piece)
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Numeric:
    """A range of numbers."""

    low: float = -math.inf
    high: float = math.inf
    takes_low: bool = False
    takes_high: bool = False

    def matches(self, value: Any) -> bool:
        """Return whether the value is a JSON number in the range."""
        if not is_number(value):
            return False
        number = number_value(value)
        if number is None:
            return False
        above = number >= self.low if self.takes_low else number > self.low
        return above and (number <= self.high if self.takes_high else number < self.high)


@dataclass(frozen=True, slots=True)
class Cidr:
    """A block of IP addresses; bits of the host in the base are ignored."""

    base: Address
    mask: int

    def matches(self, value: Any) -> bool:
        """Return whether the value is a string that denotes an address of the block."""
        if not isinstance(value, str):
            return False
        address = parse_address(value)
        if address is None or address.bits != self.base.bits:
            return False
        shift = address.bits - self.mask
        return address.value >> shift == self.base.value >> shift


@dataclass(frozen=True, slots=True)
class AnythingBut:
    """Every value that is there, except those that one of the tests accepts."""

    excluded: tuple[ValueTest, ...]

    def matches(self, value: Any) -> bool:
        """Return whether no test accepts the value."""
        return not any(test.matches(value) for test in self.excluded)


@dataclass(frozen=True, slots=True)
class Present:
    """Every value that is there, null included."""

    def matches(self, value: Any) -> bool:  # noqa: ARG002  each test takes the value
        """Return True: the value is there."""
        return True


@dataclass(frozen=True, slots=True)
class Absent:
    """A field without a value; an object or an empty list in its place counts as none."""

    def matches(self, value: Any) -> bool:  # noqa: ARG002  each test takes the value
        """Return False: the value is there."""
        return False


@dataclass(frozen=True, slots=True)
class FieldTest:
    """The alternatives of one field.

    Attributes:
        path: names from the top of the event.
        tests: one of them must accept one value of the field.
        takes_absent: the field may be missing.
        strings: that are accepted as they are.
    """

    path: tuple[str, ...]
    tests: tuple[ValueTest, ...]
    takes_absent: bool = field(init=False)
    strings: frozenset[str] = field(init=False, repr=False)
    _others: tuple[ValueTest, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Keep what is compared with plain strings apart: that is most of all tests."""
        plain = {test.key for test in self.tests if isinstance(test, Exact) and isinstance(test.key, str)}
        others = tuple(
            test
            for test in self.tests
            if not (isinstance(test, Absent) or (isinstance(test, Exact) and test.key in plain))
        )
        object.__setattr__(self, "takes_absent", any(isinstance(test, Absent) for test in self.tests))
        object.__setattr__(self, "strings", frozenset(plain))
        object.__setattr__(self, "_others", others)

    @property
    def name(self) -> str:
        """The dotted name."""
        return ".".join(self.path)

    def matches(self, value: Any) -> bool:
        """Return whether a value that is there is accepted by one of the tests."""
        if isinstance(value, str) and value in self.strings:
            return True
        return any(test.matches(value) for test in self._others)


__all__ = [
    "Absent",
    "AnythingBut",
    "Cidr",
    "EqualsIgnoreCase",
    "Exact",
    "FieldTest",
    "Numeric",
    "Prefix",
    "Present",
    "Suffix",
    "ValueTest",
    "Wildcard",
    "exact_key",
    "is_number",
    "number_value",
]
