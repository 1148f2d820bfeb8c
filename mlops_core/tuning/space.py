"""The space of a search: `SearchSpace`, a list of sub-spaces, each with a `SearchRange` for some parameters.

A search may vary a parameter only within the legal values that `TunedParameter` declares, so that a trial cannot fail
because of a value that the training step does not accept.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

from mlops_core.errors import PipelineError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TunedValue: TypeAlias = "str | int | float | bool"

VALUE_TYPES = {"float": (int, float), "integer": (int,), "string": (str,), "boolean": (bool,)}
_NAMED = {"float": "a number", "integer": "a whole number", "string": "a text", "boolean": "true or false"}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_KEY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+\Z")
_LARGEST_EXPONENT = 700.0


class RangeKind(StrEnum):
    """How the values of a range are distributed."""

    CHOICE = "choice"
    UNIFORM = "uniform"
    LOG_UNIFORM = "log_uniform"
    QUNIFORM = "quniform"
    QLOG_UNIFORM = "qlog_uniform"
    RANDINT = "randint"
    NORMAL = "normal"
    LOGNORMAL = "lognormal"
    QNORMAL = "qnormal"
    QLOGNORMAL = "qlognormal"

    @property
    def is_bounded(self) -> bool:
        """Whether every value lies between two limits."""
        return not self.value.endswith("normal")

    @property
    def is_logarithmic(self) -> bool:
        """Whether the logarithm of the value has the distribution."""
        return "log" in self.value

    @property
    def is_stepped(self) -> bool:
        """Whether values are rounded to multiples of a step."""
        return self.value.startswith("q")


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedParameter:
    """A value of the configuration that a search may vary, and its legal values.

    Attributes:
        name: as the file of a search space calls it.
        key: the configuration's key, ``section.key``; the training step must declare the section.
        type: ``float``, ``integer``, ``string`` or ``boolean``.
        minimum: smallest legal number, inclusive.
        maximum: largest legal number, inclusive.
        choices: the legal values; empty where the limits alone decide.

    Example:
        >>> rate = TunedParameter(name="learning_rate", key="training.learning_rate", minimum=1e-6, maximum=1)
        >>> rate.fault(0.01), rate.fault(3.0)
        ('', '3.0, which is not a number from 1e-06 to 1')
    """

    name: str
    key: str
    type: str = "float"
    minimum: float = -math.inf
    maximum: float = math.inf
    choices: tuple[TunedValue, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a name or key that is not one, an unknown type, and limits without values between them."""
        if not _NAME.match(self.name):
            raise PipelineError(f"tuned parameter {self.name!r}: expected a letter first, then letters, digits and '_'")
        if not _KEY.match(self.key):
            raise PipelineError(f"tuned parameter '{self.name}': key {self.key!r} is not 'section.key'")
        if self.type not in VALUE_TYPES:
            raise PipelineError(
                f"tuned parameter '{self.name}': type {self.type!r} is none of {', '.join(VALUE_TYPES)}"
            )
        if not self.minimum <= self.maximum:
            raise PipelineError(
                f"tuned parameter '{self.name}': minimum {self.minimum:g} is above maximum {self.maximum:g}"
            )

    @property
    def legal(self) -> str:
        """The legal values, as a person reads them."""
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        if self.type in ("string", "boolean") or (self.minimum, self.maximum) == (-math.inf, math.inf):
            return _NAMED[self.type]
        if math.isinf(self.maximum):
            return f"{_NAMED[self.type]}, {self.minimum:g} or more"
        if math.isinf(self.minimum):
            return f"{_NAMED[self.type]}, {self.maximum:g} or less"
        return f"{_NAMED[self.type]} from {self.minimum:g} to {self.maximum:g}"

    def fault(self, value: object) -> str:
        """Return why `value` is not legal; empty when it is."""
        is_typed = isinstance(value, VALUE_TYPES[self.type]) and isinstance(value, bool) == (self.type == "boolean")
        if is_typed and self.choices:
            is_typed = any(value == choice and type(value) is type(choice) for choice in self.choices)
        elif is_typed and isinstance(value, int | float) and not isinstance(value, bool):
            is_typed = math.isfinite(value) and self.minimum <= value <= self.maximum
        return "" if is_typed else f"{value!r}, which is not {self.legal}"

    def to_json(self) -> dict[str, Any]:
        """Return the parameter as JSON types only; an infinite limit becomes null."""
        limits = {name: getattr(self, name) for name in ("minimum", "maximum")}
        return {
            "name": self.name,
            "key": self.key,
            "type": self.type,
            **{name: value if math.isfinite(value) else None for name, value in limits.items()},
            "choices": list(self.choices),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TunedParameter:
        """Return the parameter that `to_json` wrote."""
        return cls(
            name=data["name"],
            key=data["key"],
            type=data["type"],
            minimum=-math.inf if data["minimum"] is None else data["minimum"],
            maximum=math.inf if data["maximum"] is None else data["maximum"],
            choices=tuple(data["choices"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRange:
    """The values of one parameter and their distribution.

    Attributes:
        kind: of the distribution.
        values: of a choice.
        minimum: lower limit, inclusive.
        maximum: upper limit, inclusive; for ``randint`` it is excluded.
        step: of which the values are multiples, for the kinds that begin with ``q``.
        mean: of a normal distribution, or of the logarithm of a lognormal one.
        deviation: its standard deviation.

    Example:
        >>> SearchRange(kind=RangeKind.LOG_UNIFORM, minimum=1e-4, maximum=1e-2).at(0.5)
        0.001
        >>> [SearchRange(kind=RangeKind.QUNIFORM, minimum=1, maximum=4, step=1).at(u) for u in (0, 0.3, 0.99)]
        [1.0, 2.0, 4.0]
    """

    kind: RangeKind
    values: tuple[TunedValue, ...] = ()
    minimum: float = 0.0
    maximum: float = 0.0
    step: float = 0.0
    mean: float = 0.0
    deviation: float = 0.0

    @property
    def shape_fault(self) -> str:
        """Why no value can be drawn; empty when one can."""
        if self.kind is RangeKind.CHOICE:
            if not self.values:
                return "has no values; expected values: [..] with at least one"
            repeated = [value for index, value in enumerate(self.values) if value in self.values[:index]]
            return f"has the value {repeated[0]!r} twice" if repeated else ""
        if self.kind.is_stepped and not (math.isfinite(self.step) and self.step > 0):
            return f"has the step q: {self.step:g}; expected a positive number"
        if not self.kind.is_bounded:
            is_right = math.isfinite(self.mean) and math.isfinite(self.deviation) and self.deviation > 0
            return "" if is_right else f"has sigma: {self.deviation:g}; expected a positive number"
        return self._limits_fault()

    def _limits_fault(self) -> str:
        if self.kind is RangeKind.RANDINT:
            return "" if self.maximum >= 1 and float(self.maximum).is_integer() else "needs upper: 1 or more"
        if not (math.isfinite(self.minimum) and math.isfinite(self.maximum) and self.minimum < self.maximum):
            return f"is empty: min_value {self.minimum:g} is not below max_value {self.maximum:g}"
        if self.kind.is_logarithmic and self.minimum <= 0:
            return f"is logarithmic and begins at {self.minimum:g}; expected min_value above 0"
        if self.kind.is_stepped and not self._multiples():
            return f"holds no multiple of q: {self.step:g} between {self.minimum:g} and {self.maximum:g}"
        return ""

    def _multiples(self) -> int:
        return max(0, math.floor(self.maximum / self.step + 1e-9) - math.ceil(self.minimum / self.step - 1e-9) + 1)

    def at(self, share: float) -> TunedValue:
        """Return the value at `share` (0 to 1, 1 excluded) of the distribution: its inverse distribution function."""
        if self.kind is RangeKind.CHOICE:
            return self.values[min(len(self.values) - 1, int(share * len(self.values)))]
        if self.kind is RangeKind.RANDINT:
            return min(int(self.maximum) - 1, int(share * self.maximum))
        if not self.kind.is_bounded:
            return self._normal_at(share)
        if self.kind is RangeKind.QUNIFORM:  # each multiple is as likely as any other
            count, first = self._multiples(), math.ceil(self.minimum / self.step - 1e-9)
            return _tidy((first + min(count - 1, int(share * count))) * self.step)
        if self.kind is RangeKind.UNIFORM:
            return self._within(self.minimum + share * (self.maximum - self.minimum))
        low, high = math.log(self.minimum), math.log(self.maximum)
        value = math.exp(low + share * (high - low))
        return self.nearest(value) if self.kind.is_stepped else self._within(value)

    def _normal_at(self, share: float) -> float:
        from statistics import NormalDist

        tail = 2.0**-53
        value = NormalDist(self.mean, self.deviation).inv_cdf(min(1 - tail, max(tail, share)))
        if self.kind.is_logarithmic:
            value = math.exp(min(value, _LARGEST_EXPONENT))
        return _tidy(round(value / self.step) * self.step if self.kind.is_stepped else value)

    def _within(self, value: float) -> float:
        if not self.kind.is_stepped:
            return _tidy(min(self.maximum, max(self.minimum, value)))
        first = math.ceil(self.minimum / self.step - 1e-9) * self.step
        last = math.floor(self.maximum / self.step + 1e-9) * self.step
        return _tidy(min(last, max(first, value)))

    def nearest(self, value: float) -> float:
        """Return the multiple of the step that is nearest to a value, within the limits."""
        return self._within(_tidy(round(value / self.step) * self.step))

    def points(self) -> tuple[TunedValue, ...] | None:
        """Return all values, in order; None where they never end."""
        if self.kind is RangeKind.CHOICE:
            return self.values
        if self.kind is RangeKind.RANDINT:
            return tuple(range(int(self.maximum)))
        if self.kind is RangeKind.QUNIFORM:
            first = math.ceil(self.minimum / self.step - 1e-9)
            return tuple(_tidy((first + index) * self.step) for index in range(self._multiples()))
        return None

    def limits(self) -> tuple[TunedValue, ...]:
        """Return the extreme values that can be drawn; all values of a choice."""
        if self.kind is RangeKind.CHOICE:
            return self.values
        return (self.at(0.0), self.at(1 - 2.0**-53)) if self.kind.is_bounded else ()

    def to_json(self) -> dict[str, Any]:
        """Return the range as JSON types only, with the names that the file of a search space uses."""
        data: dict[str, Any] = {"type": str(self.kind)}
        if self.kind is RangeKind.CHOICE:
            return {**data, "values": list(self.values)}
        if self.kind is RangeKind.RANDINT:
            return {**data, "upper": int(self.maximum)}
        if self.kind.is_bounded:
            data |= {"min_value": self.minimum, "max_value": self.maximum}
        else:
            data |= {"mu": self.mean, "sigma": self.deviation}
        return {**data, "q": self.step} if self.kind.is_stepped else data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SearchRange:
        """Return the range that `to_json` wrote."""
        return cls(
            kind=RangeKind(data["type"]),
            values=tuple(data.get("values", ())),
            minimum=data.get("min_value", 0.0),
            maximum=data.get("max_value", data.get("upper", 0.0)),
            step=data.get("q", 0.0),
            mean=data.get("mu", 0.0),
            deviation=data.get("sigma", 0.0),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace:
    """What a search tries.

    Attributes:
        parameters: everything that may be varied, with its legal values.
        subspaces: parameter -> range, for each sub-space. With several, each describes a family of models, and the
            trials take turns.
        predictions: the output of the training step with the predictions for the validation part.

    Example:
        >>> rate = TunedParameter(name="rate", key="training.rate", minimum=0, maximum=1)
        >>> half = SearchRange(kind=RangeKind.UNIFORM, minimum=0, maximum=0.5)
        >>> SearchSpace(parameters=(rate,), subspaces=({"rate": half},)).names
        ('rate',)
    """

    parameters: tuple[TunedParameter, ...]
    subspaces: tuple[Mapping[str, SearchRange], ...] = field(hash=False)
    predictions: str = "validation"

    def __post_init__(self) -> None:
        """Refuse a space without a parameter, and ranges that leave the legal values."""
        names = [parameter.name for parameter in self.parameters]
        if len(set(names)) < len(names):
            raise PipelineError(f"search space: the names {', '.join(names)} of its parameters are not distinct")
        if not self.subspaces or not all(self.subspaces):
            raise PipelineError("search space: a sub-space without a parameter; expected at least one in each")
        for number, subspace in enumerate(self.subspaces):
            for name, found in subspace.items():
                if fault := self.fault(name, found):
                    raise PipelineError(f"search space, sub-space {number}: {name} {fault}")

    def fault(self, name: str, found: SearchRange) -> str:
        """Return why a range cannot be searched; empty when it can."""
        known = {parameter.name: parameter for parameter in self.parameters}
        return range_fault(name, found, known)

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that are varied in some sub-space, in the order of their declaration."""
        return tuple(
            parameter.name for parameter in self.parameters if any(parameter.name in each for each in self.subspaces)
        )

    def parameter(self, name: str) -> TunedParameter:
        """Return a parameter by name."""
        return next(parameter for parameter in self.parameters if parameter.name == name)

    def used(self) -> Iterator[TunedParameter]:
        """Yield the parameters that are varied in some sub-space."""
        return (self.parameter(name) for name in self.names)

    def reduced(self) -> SearchSpace:
        """Return the space with no other parameters than those that are varied."""
        return SearchSpace(parameters=tuple(self.used()), subspaces=self.subspaces)

    def to_json(self) -> dict[str, Any]:
        """Return the space as JSON types only."""
        return {
            "parameters": [parameter.to_json() for parameter in self.used()],
            "subspaces": [{name: found.to_json() for name, found in each.items()} for each in self.subspaces],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SearchSpace:
        """Return the space that `to_json` wrote, checked again."""
        return cls(
            parameters=tuple(map(TunedParameter.from_json, data["parameters"])),
            subspaces=tuple(
                {name: SearchRange.from_json(found) for name, found in each.items()} for each in data["subspaces"]
            ),
        )


def range_fault(name: str, found: SearchRange, known: Mapping[str, TunedParameter]) -> str:
    """Return why the range of the parameter `name` cannot be searched; empty when it can."""
    if name not in known:
        hint = did_you_mean(name, known) or ";"
        return f"is no parameter that can be tuned{hint} parameters: {', '.join(known) or 'none'}"
    if fault := found.shape_fault:
        return fault
    parameter = known[name]
    if found.kind is not RangeKind.CHOICE and parameter.type in ("string", "boolean"):
        return f"is {_NAMED[parameter.type]}; expected type: choice with its values"
    if parameter.type == "integer" and not _gives_whole_numbers(found):
        return f"is a whole number, and {found.kind} gives fractions; expected choice, randint, or quniform with q: 1"
    for value in found.limits():
        is_whole = parameter.type == "integer" and isinstance(value, float) and value.is_integer()
        if fault := parameter.fault(int(value) if is_whole else value):
            return f"may be {fault}"
    return "" if found.kind.is_bounded or found.kind is RangeKind.CHOICE else _middle_fault(found, parameter)


def _middle_fault(found: SearchRange, parameter: TunedParameter) -> str:
    """Return why a normal distribution, which is cut at the legal limits, would give one of them nearly always."""
    try:
        middle = math.exp(found.mean) if found.kind.is_logarithmic else found.mean
    except OverflowError:
        middle = math.inf
    if parameter.minimum <= middle <= parameter.maximum:
        return ""
    return f"has mu: {found.mean:g}, around {middle:g}, which is not {parameter.legal}"


def _gives_whole_numbers(found: SearchRange) -> bool:
    if found.kind is RangeKind.CHOICE:
        return True
    return found.kind is RangeKind.RANDINT or (found.kind.is_stepped and float(found.step).is_integer())


def _tidy(value: float) -> float:
    """Return a drawn number with 15 significant digits: two libraries of mathematics may differ in the last one."""
    return float(f"{value:.12g}")
