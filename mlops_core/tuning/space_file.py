"""Reading a search space from a file, ``config_search_space.yml``.

The file holds ``search_space``, a list of sub-spaces; each maps a parameter to ``{type: choice, values: [..]}``, or
``{type: uniform, min_value: .., max_value: ..}`` and so on. ``loguniform`` and ``qloguniform`` have **exponents** as
their limits, as the service for which the format was made reads them: ``min_value: -7`` begins at exp(-7). Limits that
are meant as values are written ``log_uniform`` and ``qlog_uniform``. Every fault of the file is reported, with its
line.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from mlops_core.config_files.yaml_source import read_yaml_file
from mlops_core.errors import ConfigError, did_you_mean
from mlops_core.tuning.space import RangeKind, SearchRange, SearchSpace, range_fault

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mlops_core.config_files.yaml_source import YamlSource
    from mlops_core.tuning.space import TunedParameter

_TOP = "search_space"
_EXPONENTS = {"loguniform": RangeKind.LOG_UNIFORM, "qloguniform": RangeKind.QLOG_UNIFORM}
_LARGEST_EXPONENT = 700.0
_TYPES = (*map(str, RangeKind), *_EXPONENTS)
_LIMITS = ("min_value", "max_value")
_KEYS: dict[str, tuple[str, ...]] = {
    "choice": ("values",),
    "uniform": _LIMITS,
    "log_uniform": _LIMITS,
    "loguniform": _LIMITS,
    "quniform": (*_LIMITS, "q"),
    "qlog_uniform": (*_LIMITS, "q"),
    "qloguniform": (*_LIMITS, "q"),
    "randint": ("upper",),
    "normal": ("mu", "sigma"),
    "lognormal": ("mu", "sigma"),
    "qnormal": ("mu", "sigma", "q"),
    "qlognormal": ("mu", "sigma", "q"),
}


def read_space_file(path: Path, parameters: Sequence[TunedParameter]) -> SearchSpace:
    """Return the space in a file.

    Args:
        path: the file.
        parameters: everything that may be varied.

    Raises:
        ConfigError: it is not such a file; an unknown parameter, type or key; a range that is empty or leaves the legal
            values. All faults at once, each with its line.
    """
    source = read_yaml_file(path, environ={}, is_foreign=True)
    reader = _SpaceReader(source, parameters)
    subspaces = reader.subspaces()
    reader.check_spellings()
    if len(reader.problems) == 1:
        raise ConfigError(reader.problems[0])
    if reader.problems:
        raise ConfigError(f"{source.name} has {len(reader.problems)} faults", problems=reader.problems)
    return SearchSpace(parameters=tuple(parameters), subspaces=subspaces)


class _SpaceReader:
    """Turns the file's data into ranges, noting problems."""

    def __init__(self, source: YamlSource, parameters: Sequence[TunedParameter]) -> None:
        self.problems: list[str] = []
        self._source = source
        self._known = {parameter.name: parameter for parameter in parameters}

    def subspaces(self) -> tuple[dict[str, SearchRange], ...]:
        for key in self._source.data:
            if key != _TOP:
                self._problem(key, f"is unknown{did_you_mean(key, [_TOP]) or f'; expected {_TOP}'}")
        found = self._source.data.get(_TOP)
        if not isinstance(found, list) or not found:
            self._problem(_TOP, f"is {_shown(found)}; expected a list of sub-spaces, each a mapping of parameters")
            return ()
        return tuple(self._subspace(each, f"{_TOP}[{number}]") for number, each in enumerate(found))

    def check_spellings(self) -> None:
        """Note numbers that readers of YAML take for different values; truth values have only one sense here."""
        for key, ambiguity in self._source.ambiguities.items():
            if not isinstance(ambiguity.old, bool):
                self._problem(key, str(ambiguity))

    def _subspace(self, data: Any, key: str) -> dict[str, SearchRange]:
        if not isinstance(data, dict) or not data:
            self._problem(key, f"is {_shown(data)}; expected a mapping of parameters to ranges")
            return {}
        ranges = {}
        for name, entry in data.items():
            found = self._range(name, entry, f"{key}.{name}")
            if found is not None:
                ranges[name] = found
        return ranges

    def _range(self, name: str, data: Any, key: str) -> SearchRange | None:
        if name not in self._known:
            known = ", ".join(self._known) or "none"
            hint = did_you_mean(name, self._known) or f"; parameters: {known}"
            self._problem(key, f"is no parameter that can be tuned{hint}")
            return None
        kind = data.get("type") if isinstance(data, dict) else None
        if not isinstance(kind, str) or kind not in _TYPES:
            where = key if kind is None else f"{key}.type"
            hint, known = did_you_mean(kind, _TYPES) if isinstance(kind, str) else "", ", ".join(_TYPES)
            self._problem(where, f"has the type {_shown(kind)}{hint or f'; expected one of {known}'}")
            return None
        if not self._has_right_keys(data, kind, key):
            return None
        exponents = kind in _EXPONENTS
        found = _exponential(kind, data) if exponents else SearchRange.from_json(data)
        fault = range_fault(name, found, self._known)
        if fault:
            if exponents:
                fault = self._exponent_advice(name, data, kind) or fault
            self._problem(key, fault)
            return None
        return found

    def _has_right_keys(self, data: Mapping[str, Any], kind: str, key: str) -> bool:
        before = len(self.problems)
        expected = _KEYS[kind]
        for name in data:
            if name not in ("type", *expected):
                hint = did_you_mean(name, expected) or f"; expected {', '.join(expected)}"
                self._problem(f"{key}.{name}", f"is not a key of type {kind}{hint}")
        for name in expected:
            value = data.get(name)
            if name == "values":
                if not isinstance(value, list) or not all(isinstance(item, str | int | float) for item in value):
                    self._problem(key, f"needs values: a list of numbers or texts, not {_shown(value)}")
            elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                self._problem(f"{key}.{name}" if name in data else key, f"needs {name}: a number, not {_shown(value)}")
        return len(self.problems) == before

    def _exponent_advice(self, name: str, data: Mapping[str, Any], kind: str) -> str:
        """Return what to write where the limits were probably meant as values."""
        low, high = data["min_value"], data["max_value"]
        meant = SearchRange.from_json({**data, "type": str(_EXPONENTS[kind])})
        if range_fault(name, meant, self._known):
            return ""
        return (
            f"may be {_exp(low):.6g} to {_exp(high):.6g}, since the limits of {kind} are exponents, and is legal as "
            f"{self._known[name].legal}; for values from {low:g} to {high:g} write type: {_EXPONENTS[kind]}"
        )

    def _problem(self, key: str, what: str) -> None:
        line = self._source.lines.get(key)
        where = f" (line {line})" if line else ""
        self.problems.append(f"{self._source.name}: {key} {what}{where}")


def _exponential(kind: str, data: Mapping[str, Any]) -> SearchRange:
    limits = {name: _exp(data[name]) for name in _LIMITS}
    return SearchRange.from_json({**data, **limits, "type": str(_EXPONENTS[kind])})


def _exp(value: float) -> float:
    return math.exp(min(value, _LARGEST_EXPONENT))


def _shown(value: object) -> str:
    text = "missing" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
