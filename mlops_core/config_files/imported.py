"""A configuration converted from another program's layout, with the result for each of its keys.

A plugin's hook ``mlops_import_config`` does the work; this module owns what it returns. The lines of the foreign file
stay attached to the values, so that a fault found later still names the place that its author must change.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from mlops_core.config_files.values import find_value
from mlops_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_core.config_files.yaml_source import YamlSource


class ImportFate(StrEnum):
    """The result for a key of the foreign file."""

    MAPPED = "mapped"
    IGNORED = "ignored"
    DEAD = "dead"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedKey:
    """One key of the foreign file.

    Attributes:
        key: the dotted key in that file.
        line: the line number, from 1; 0 if the key is not in the file.
        fate: how the key was handled.
        target: the dotted key of the use case that it sets; empty if there is none.
        note: why it is ignored, dead or refused, or how it was changed.

    Example:
        >>> ImportedKey(key="lr", line=3, fate=ImportFate.MAPPED, target="training.learning_rate").target
        'training.learning_rate'
    """

    key: str
    line: int
    fate: ImportFate
    target: str = ""
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the key as JSON types only."""
        return {
            "key": self.key,
            "line": self.line,
            "fate": str(self.fate),
            "target": self.target,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedConfig:
    """A foreign file as the use case's own configuration.

    Attributes:
        layout: the name of the layout, for display.
        source: the use case's sections; its lines are those of the foreign file.
        keys: each key of the foreign file, in its order.

    Example:
        >>> kept = ImportedKey(key="lr", line=3, fate=ImportFate.MAPPED, target="training.learning_rate")
        >>> source = YamlSource(name="old.yaml", data={"training": {"learning_rate": 0.1}})
        >>> ImportedConfig(layout="old-tool", source=source, keys=(kept,)).layout
        'old-tool'
    """

    layout: str
    source: YamlSource
    keys: tuple[ImportedKey, ...]

    def with_fate(self, fate: ImportFate) -> tuple[ImportedKey, ...]:
        """Return the keys of that fate."""
        return tuple(item for item in self.keys if item.fate is fate)

    def with_notes_of(self, foreign: YamlSource) -> ImportedConfig:
        """Return the configuration with what was noted about the values of the foreign file, at the keys they became.

        A refused key whose value is ambiguous says so.
        """
        by_key = {item.key: item for item in self.keys if not _is_refused(item)}
        refused = {item.key: item for item in self.keys if _is_refused(item)}
        notes: dict[str, str] = {}
        for key, ambiguity in foreign.ambiguities.items():
            if name := _nearest(key, refused):
                notes.setdefault(name, str(ambiguity))
            elif (target := _target(key, by_key)) and not isinstance(ambiguity.old, bool):
                self.source.ambiguities[target] = ambiguity
        for key, spelling in foreign.spellings.items():
            if target := _target(key, by_key):
                self.source.spellings[target] = spelling
        for key, text in foreign.references.items():
            if target := _target(key, by_key):
                is_same = find_value(self.source.data, target) == find_value(foreign.data, key)
                self.source.references[target] = text if is_same else ""
        self.source.variables.update(foreign.variables)
        return replace(self, keys=tuple(_with_reason(item, notes.get(item.key, "")) for item in self.keys))

    def require_accepted(self) -> None:
        """Stop where a key was refused.

        Raises:
            ConfigError: all of them, each with its key and line.
        """
        refused = [
            f"{self.source.name}: {item.key}: {item.note} (line {item.line})" for item in self.keys if _is_refused(item)
        ]
        if len(refused) == 1:
            raise ConfigError(refused[0])
        if refused:
            raise ConfigError(f"{self.source.name} has {len(refused)} faults", problems=refused)

    def summary(self) -> str:
        """Return one line: which layout, and how many keys had which fate."""
        counts = ", ".join(f"{len(self.with_fate(fate))} {fate}" for fate in ImportFate if self.with_fate(fate))
        sections = sorted({item.key.partition(".")[0] for item in self.with_fate(ImportFate.IGNORED)})
        ignored = f"; ignored in: {', '.join(sections)}" if sections else ""
        return f"{self.source.name}: read as {self.layout}: {counts}{ignored}"


def _is_refused(item: ImportedKey) -> bool:
    return item.fate is ImportFate.REFUSED


def _with_reason(item: ImportedKey, reason: str) -> ImportedKey:
    return replace(item, note=f"{item.note}; {reason}") if reason and _is_refused(item) else item


def _nearest(key: str, known: Mapping[str, ImportedKey]) -> str:
    """Return the known key that is `key` or holds it; empty for none."""
    return max((name for name in known if key == name or key.startswith((f"{name}.", f"{name}["))), key=len, default="")


def _target(key: str, known: Mapping[str, ImportedKey]) -> str:
    """Return the key of the use case that the foreign key became; empty for none."""
    name = _nearest(key, known)
    target = known[name].target if name else ""
    return target + key[len(name) :] if target else ""
