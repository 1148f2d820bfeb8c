"""One event pattern, compiled.

An event matches when all fields of one alternative match. Where an event holds lists of objects, all fields of the
alternative must come from the same element of each list. Most events have no such list on the way to a field, so that
a field is looked up directly; `_elements` does the rest.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_core import UsageError
from mlops_sagemaker.triggers.patterns.elements import ElementMatcher
from mlops_sagemaker.triggers.patterns.fields import MISSING, NESTED, SEVERAL, EventFields
from mlops_sagemaker.triggers.patterns.grammar import Conjunction, parse_pattern, parse_pattern_data
from mlops_sagemaker.triggers.patterns.values import FieldTest

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """Why an event does not match.

    Attributes:
        field: dotted name of the first field that failed.
        value: of the event, as JSON; ``absent`` where it has none.
    """

    field: str
    value: str

    def __str__(self) -> str:
        return f"{self.field} is {self.value}"


class Alternative:
    """Fields that must all match."""

    def __init__(self, fields: Conjunction) -> None:
        self.fields = tuple(FieldTest(path, tests) for path, tests in fields.items())
        self._elements = ElementMatcher(self.fields)

    def matches(self, fields: EventFields) -> bool:
        """Return whether all fields match."""
        find = fields.find
        for each in self.fields:
            value = find(each.path)
            if type(value) is str and value in each.strings:  # most of all tests, without a call
                continue
            if value is NESTED:
                return self._elements.matches(fields.event)
            if not _accepts(each, value):
                return False
        return True

    def first_mismatch(self, fields: EventFields) -> tuple[int, Mismatch] | None:
        """Return the first field that does not match, and how many matched before it; None if all match."""
        for position, each in enumerate(self.fields):
            value = fields.find(each.path)
            if value is not NESTED and not _accepts(each, value):
                return position, Mismatch(field=each.name, value=_shown(value))
        if self.matches(fields):
            return None
        nested = next((each for each in self.fields if fields.find(each.path) is NESTED), self.fields[0])
        return len(self.fields), Mismatch(field=nested.name, value="in no element together with the other fields")


def _accepts(test: FieldTest, value: Any) -> bool:
    if value is MISSING:
        return test.takes_absent
    if type(value) is SEVERAL:
        return any(map(test.matches, value))
    return test.matches(value)


def _shown(value: Any) -> str:
    if value is MISSING:
        return "absent"
    return json.dumps(list(value) if type(value) is SEVERAL else value)


class EventPattern:
    """A pattern that the service would take.

    Example:
        >>> pattern = EventPattern.parse('{"source": ["aws.s3"], "detail": {"object": {"key": [{"prefix": "in/"}]}}}')
        >>> pattern.matches({"source": "aws.s3", "detail": {"object": {"key": "in/a.wav"}}})
        True
    """

    def __init__(self, alternatives: tuple[Conjunction, ...]) -> None:
        self.alternatives = tuple(Alternative(fields) for fields in alternatives)

    @classmethod
    def parse(cls, text: str) -> EventPattern:
        """Return the pattern of a JSON text.

        Raises:
            PatternError: the service refuses it.
        """
        return cls(parse_pattern(text))

    @classmethod
    def of(cls, data: object) -> EventPattern:
        """Return the pattern of a decoded JSON object.

        Raises:
            PatternError: the service refuses it.
        """
        return cls(parse_pattern_data(data))

    def matches(self, event: Mapping[str, Any]) -> bool:
        """Return whether an event matches."""
        fields = EventFields(event)
        return any(each.matches(fields) for each in self.alternatives)

    def mismatch(self, event: Mapping[str, Any]) -> Mismatch | None:
        """Return why an event does not match, of the alternative that comes nearest; None if it matches."""
        fields = EventFields(event)
        nearest: tuple[int, Mismatch] | None = None
        for each in self.alternatives:
            failed = each.first_mismatch(fields)
            if failed is None:
                return None
            if nearest is None or failed[0] > nearest[0]:
                nearest = failed
        return nearest[1] if nearest else None


def read_event(text: str, *, origin: str) -> dict[str, Any]:
    """Return an event from its JSON text.

    Raises:
        UsageError: it is not a JSON object.
    """
    try:
        data = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UsageError(f"event {origin}: not JSON: {reason}; expected one event as an object") from None
    if not isinstance(data, dict):
        raise UsageError(f"event {origin}: expected a JSON object, found {type(data).__name__}")
    return data


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON value")
