"""Many patterns at once: of 300 rules, an event is tried against the few that could match it.

Each alternative is filed under the values of its most selective field whose tests are all exact values, prefixes or
suffixes. An event's values of the filed fields lead to the candidates, which are then matched in full.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, TypeAlias

from mlops_sagemaker.triggers.patterns.fields import MISSING, NESTED, SEVERAL, EventFields
from mlops_sagemaker.triggers.patterns.values import Exact, FieldTest, Prefix, Suffix, exact_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mlops_sagemaker.triggers.patterns.pattern import Alternative, EventPattern

_Entry: TypeAlias = tuple[int, "Alternative"]
_KIND = ("detail-type",)
"""Nearly every rule names the kind of event, and the other rules are skipped."""
_NONE: Sequence[_Entry] = ()


class RuleIndex:
    """Finds the rules that an event matches.

    Example:
        >>> from mlops_sagemaker.triggers.patterns import EventPattern
        >>> index = RuleIndex(
        ...     {"s3": EventPattern.of({"source": ["aws.s3"]}), "all": EventPattern.of({"version": ["0"]})}
        ... )
        >>> index.match({"version": "0", "source": "aws.s3"})
        ('s3', 'all')
    """

    def __init__(self, patterns: Mapping[str, EventPattern]) -> None:
        self._names = tuple(patterns)
        self._general = _Section()
        self._by_kind: dict[str, _Section] = {}
        entries = [
            (number, alternative)
            for number, pattern in enumerate(patterns.values())
            for alternative in pattern.alternatives
        ]
        counts = Counter(key for _, each in entries for field in each.fields for key in _keys(field) or ())
        for entry in entries:
            for section in self._sections_of(entry[1]):
                section.file(entry, counts)

    def _sections_of(self, alternative: Alternative) -> list[_Section]:
        for field in alternative.fields:
            keys = _keys(field) if field.path == _KIND else None
            if keys and all(kind == "exact" and isinstance(value, str) for _, kind, value in keys):
                return [self._by_kind.setdefault(str(value), _Section()) for _, _, value in keys]
        return [self._general]

    def match(self, event: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the names of the rules that an event matches, in their order."""
        fields = EventFields(event)
        matched: set[int] = set()
        kind = fields.find(_KIND)
        if type(kind) is str:
            section = self._by_kind.get(kind)
            if section:
                section.match(fields, matched)
        elif kind is not MISSING:  # several values, or none that can be read alone
            for section in self._by_kind.values():
                section.match(fields, matched)
        if self._general.has_entries:
            self._general.match(fields, matched)
        names = self._names
        return tuple([names[number] for number in sorted(matched)]) if matched else ()


class _Section:
    """The alternatives for one kind of event, each filed under its most selective field."""

    __slots__ = ("_files", "_unfiled", "has_entries")

    def __init__(self) -> None:
        self._files: dict[tuple[str, ...], _ValueFile] = {}
        self._unfiled: list[_Entry] = []
        self.has_entries = False

    def file(self, entry: _Entry, counts: Counter[tuple[object, ...]]) -> None:
        """Add an alternative."""
        self.has_entries = True
        fields = [(field, keys) for field in entry[1].fields if (keys := _keys(field))]
        if not fields:
            self._unfiled.append(entry)
            return
        field, keys = min(fields, key=lambda each: (sum(counts[key] for key in each[1]), -_length(each[1])))
        file = self._files.setdefault(field.path, _ValueFile())
        for key in keys:
            file.add(key, entry)

    def match(self, fields: EventFields, matched: set[int]) -> None:
        """Add the numbers of the rules that an event matches."""
        for number, alternative in self._unfiled:
            if number not in matched and alternative.matches(fields):
                matched.add(number)
        for path, file in self._files.items():
            value = fields.find(path)
            if value is MISSING:
                continue
            for number, alternative in file.plain(value) if type(value) is str else file.candidates(value):
                if number not in matched and alternative.matches(fields):
                    matched.add(number)


class _ValueFile:
    """The alternatives that are filed under one field."""

    __slots__ = ("_all", "_exact", "_has_addresses", "_prefixes", "_suffixes")

    def __init__(self) -> None:
        self._exact: dict[object, list[_Entry]] = {}
        self._prefixes: dict[int, dict[str, list[_Entry]]] = {}
        self._suffixes: dict[int, dict[str, list[_Entry]]] = {}
        self._has_addresses = False
        self._all: list[_Entry] = []

    def add(self, key: tuple[object, ...], entry: _Entry) -> None:
        kind, value = key[1], key[2]
        self._all.append(entry)
        if kind == "exact":
            self._has_addresses |= not isinstance(value, str)
            self._exact.setdefault(value, []).append(entry)
        elif isinstance(value, str):
            lengths = self._prefixes if kind == "prefix" else self._suffixes
            lengths.setdefault(len(value), {}).setdefault(value, []).append(entry)

    def candidates(self, value: Any) -> Iterator[_Entry]:
        """Yield the alternatives that a field's value leads to."""
        if value is NESTED:
            yield from self._all
        elif type(value) is SEVERAL:
            for each in value:
                yield from self.plain(each) if type(each) is str else self._exact.get(exact_key(each), ())
        else:
            yield from self._exact.get(exact_key(value), ())

    def plain(self, value: str) -> Sequence[_Entry]:
        """Return the alternatives that a string leads to."""
        found = self._exact.get(value, _NONE)
        if self._has_addresses and (key := exact_key(value)) != value:
            found = [*found, *self._exact.get(key, ())]
        for length, filed in self._prefixes.items():
            if (beginning := value[:length]) in filed:
                found = [*found, *filed[beginning]]
        for length, filed in self._suffixes.items():
            if (ending := value[max(0, len(value) - length) :]) in filed:
                found = [*found, *filed[ending]]
        return found


def _keys(field: FieldTest) -> list[tuple[object, ...]] | None:
    """Return the keys under which a field is filed; None if it also accepts other values, or none at all."""
    keys: list[tuple[object, ...]] = []
    for test in field.tests:
        if isinstance(test, Exact):
            keys.append((field.path, "exact", test.key))
        elif isinstance(test, Prefix | Suffix) and test.text and not test.ignores_case:
            keys.append((field.path, "prefix" if isinstance(test, Prefix) else "suffix", test.text))
        else:
            return None
    return keys


def _length(keys: list[tuple[object, ...]]) -> int:
    """Return the length of the shortest text among keys: a longer one leads to fewer events."""
    return min(len(key[2]) if isinstance(key[2], str) else 1 for key in keys)
