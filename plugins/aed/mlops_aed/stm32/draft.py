"""A configuration while it is converted from a file of the model zoo, and the fate of each key of that file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlops_aed.stm32 import layouts
from mlops_aed.stm32.layouts import Layout
from mlops_aed.stm32.rules import OPEN_SECTIONS, REFUSED_SECTIONS, RULES
from mlops_aed.stm32.values import read_value
from mlops_core import ImportedConfig, ImportedKey, ImportFate, YamlSource, did_you_mean

if TYPE_CHECKING:
    from mlops_aed.stm32.layouts import FileEntry
    from mlops_aed.stm32.values import Rule


class Draft:
    """A file during its conversion: its values by their names in the layout v2/v3, and the keys set so far."""

    def __init__(self, source: YamlSource, layout: Layout) -> None:
        """Read every key of `source`; note the wrong ones as refused."""
        self.layout = layout
        self._source = source
        self._keys: list[ImportedKey] = []
        self._open: dict[str, FileEntry] = {}
        self._values: dict[str, Any] = {}
        self._data: dict[str, Any] = {}
        self._lines: dict[str, int] = {}
        for entry in layouts.walk(source, layout):
            self._read(entry)
        self._require_keys()

    def value(self, name: str) -> Any:
        """Return the value of the key; None for no value."""
        return self._values.get(name)

    def key(self, name: str) -> str:
        """Return the key of the file's layout for `name`."""
        return layouts.key_of(name, self.layout)

    def is_set(self, target: str) -> bool:
        """Return whether the key `target` of this use case has been set."""
        section, _, key = target.rpartition(".")
        place: Any = self._data
        for part in section.split("."):
            place = place.get(part, {})
        return key in place

    def has_section(self, section: str) -> bool:
        """Return whether a key of the section holds a value, or is refused."""
        wrong = {layouts.name_of(item.key, self.layout) for item in self._keys}
        return any(name.startswith(f"{section}.") for name in (*self._values, *wrong))

    def names(self, prefix: str) -> list[str]:
        """Return the keys that start with `prefix` and have no fate yet."""
        return [name for name in self._open if name.startswith(prefix)]

    # --- The fate of a key ------------------------------------------------------------------------------

    def set(self, target: str, value: object, *names: str, note: str = "") -> None:
        """Set the key `target`, and note the keys `names` of the file as its origin."""
        place = self._data
        *path, last = target.split(".")
        for part in path:
            place = place.setdefault(part, {})
        place[last] = list(value) if isinstance(value, tuple) else value
        for name in names:
            if name in self._open:
                self._lines.setdefault(target, self._open[name].line)
        self.map(*names, target=target, note=note)

    def map(self, *names: str, target: str, note: str = "") -> None:
        """Note that the keys `names` became `target`."""
        for name in names:
            self._close(name, ImportFate.MAPPED, target=target, note=note)

    def ignore(self, *names: str, note: str) -> None:
        """Note that the keys `names` are not used, and why; a key whose rule gives a reason keeps that reason."""
        for name in names:
            rule = self._rules().get(name)
            if rule is None or not (rule.dead or rule.ignored) or self._values.get(name) is None:
                self._close(name, ImportFate.IGNORED, note=note)

    def refuse(self, name: str, note: str) -> None:
        """Note that the key `name` is wrong, whether it is set or not."""
        if name in self._open:
            self._close(name, ImportFate.REFUSED, note=note)
            return
        key = layouts.key_of(name, self.layout)
        if any(item.key == key and item.fate is ImportFate.REFUSED for item in self._keys):
            return
        self._keys.append(ImportedKey(key=key, line=self._line_above(key), fate=ImportFate.REFUSED, note=note))

    def result(self) -> ImportedConfig:
        """Return the converted configuration; each key without a fate is ignored, or dead."""
        for name in list(self._open):
            rule = self._rules().get(name)
            if rule is not None and rule.dead:
                self._close(name, ImportFate.DEAD, note=rule.dead)
            elif rule is not None and rule.ignored:
                self._close(name, ImportFate.IGNORED, note=rule.ignored)
            else:
                note = "no value" if self._values.get(name) is None else "not needed with these settings"
                self._close(name, ImportFate.IGNORED, note=note)
        order = {key: position for position, key in enumerate(self._source.lines)}
        return ImportedConfig(
            layout=str(self.layout),
            source=YamlSource(
                name=self._source.name, data=self._data, lines=self._lines, secrets=set(self._source.secrets)
            ),
            keys=tuple(sorted(self._keys, key=lambda item: order.get(item.key, len(order)))),
        )

    def _close(self, name: str, fate: ImportFate, *, target: str = "", note: str = "") -> None:
        entry = self._open.pop(name, None)
        if entry is not None:
            self._note(entry, fate, target=target, note=note)

    def _note(self, entry: FileEntry, fate: ImportFate, *, target: str = "", note: str = "") -> None:
        self._keys.append(ImportedKey(key=entry.key, line=entry.line, fate=fate, target=target, note=note))

    def _line_above(self, key: str) -> int:
        """Return the line of the nearest section around a missing key; 1 for none."""
        while "." in key:
            key = key.rpartition(".")[0]
            if key in self._source.lines:
                return self._source.lines[key]
        return 1

    def _rules(self) -> dict[str, Rule]:
        return {**RULES, **layouts.ADDED[self.layout]}

    # --- Reading ----------------------------------------------------------------------------------------

    def _read(self, entry: FileEntry) -> None:
        section = entry.name.partition(".")[0]
        if section in REFUSED_SECTIONS:
            self._note(entry, ImportFate.REFUSED, note=REFUSED_SECTIONS[section])
        elif entry.name in (rules := self._rules()):
            self._read_legal(entry, rules[entry.name])
        elif section in OPEN_SECTIONS and "." in entry.key:
            self._note(entry, ImportFate.IGNORED, note=OPEN_SECTIONS[section])
        elif "." not in entry.key and entry.key in layouts.legal_sections(self.layout):
            self._read_section(entry)
        else:
            self._refuse_unknown(entry)

    def _read_section(self, entry: FileEntry) -> None:
        """Note a section that is not a mapping: empty, or wrong."""
        if entry.value is None or entry.value in ({}, "None"):
            self._note(entry, ImportFate.IGNORED, note="empty")
        else:
            self._note(entry, ImportFate.REFUSED, note=f"is {entry.value!r}; legal: a mapping of keys")

    def _read_legal(self, entry: FileEntry, rule: Rule) -> None:
        if self.layout is Layout.V1 and entry.name.startswith("dataset."):
            rule = replace(rule, is_required=False)
        try:
            value = read_value(entry.value, rule)
        except ValueError as error:
            self._note(entry, ImportFate.REFUSED, note=str(error))
            return
        if entry.name in self._open:
            self._read_again(entry, value)
            return
        self._values[entry.name] = value
        self._open[entry.name] = entry

    def _read_again(self, entry: FileEntry, value: object) -> None:
        """Note the second of two keys of the file with the same meaning."""
        first = self._open[entry.name]
        if value == self._values[entry.name]:
            self._note(entry, ImportFate.IGNORED, note=f"repeats {first.key}")
        else:
            note = f"is {value!r} and {first.key} is {self._values[entry.name]!r}; both mean the same: keep one"
            self._note(entry, ImportFate.REFUSED, note=note)

    def _refuse_unknown(self, entry: FileEntry) -> None:
        """Refuse a key that the layout does not have, or a value in place of a mapping."""
        section, _, part = entry.key.rpartition(".")
        prefix = f"{section}." if section else ""
        legal = layouts.legal_keys(self.layout) if section else layouts.legal_sections(self.layout)
        near = sorted({key.removeprefix(prefix).partition(".")[0] for key in legal if key.startswith(prefix)})
        if part in near:
            inner = sorted({key.rpartition(".")[2] for key in legal if key.startswith(f"{entry.key}.")})
            note = f"is {entry.value!r}; legal: a mapping with the keys {', '.join(inner)}"
        else:
            what = f"is not a key of '{section}'" if section else "is not a section"
            note = f"{what}{did_you_mean(part, near) or ';'} legal: {', '.join(near)}"
        self._note(entry, ImportFate.REFUSED, note=note)

    def _require_keys(self) -> None:
        """Refuse a section without a key that the model zoo requires; v1 had defaults."""
        if self.layout is Layout.V1:
            return
        noted = {item.key for item in self._keys}
        for name, rule in RULES.items():
            section = name.rpartition(".")[0]
            is_optional = not rule.is_required or rule.ignored or rule.dead
            key = layouts.key_of(name, self.layout)
            if is_optional or not section or name in self._values or key in noted:
                continue
            if any(other.rpartition(".")[0] == section for other in self._open):
                self.refuse(name, f"is required and not set; legal: {rule.legal}")
