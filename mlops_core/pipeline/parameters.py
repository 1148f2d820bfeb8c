"""Values that can be set for a run: `Parameter`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from mlops_core.errors import ConfigError, PipelineError
from mlops_core.pipeline.naming import PARAMETER_NAME, require_portable_name

ParameterValue: TypeAlias = str | int | float | bool

_TYPE_NAMES = {"float": "a number", "integer": "a whole number", "string": "a text", "boolean": "true or false"}
_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")


class ParameterType(StrEnum):
    """The types that every engine's parameters have in common."""

    FLOAT = "float"
    INTEGER = "integer"
    STRING = "string"
    BOOLEAN = "boolean"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A value that can be set when a run is started, with ``--param name=value``.

    Attributes:
        name: unique in the pipeline.
        type: how a text given by a user is read.
        default: the value where none is given; must be of `type`.
        description: one sentence for ``mlops describe``.
        minimum: smallest legal number, inclusive; None for no limit.
        maximum: largest legal number, inclusive; None for no limit.

    Example:
        >>> Parameter(name="q_acc", type=ParameterType.FLOAT, default=0.7, minimum=0, maximum=1).parse("0.9")
        0.9
    """

    name: str
    type: ParameterType
    default: ParameterValue
    description: str = ""
    minimum: float | None = None
    maximum: float | None = None

    def __post_init__(self) -> None:
        """Refuse a name that is not portable and a default that is not of the declared type."""
        require_portable_name("parameter", self.name, PARAMETER_NAME)
        try:
            checked = self.checked(self.default)
        except ConfigError as error:
            raise PipelineError(f"default of {error}") from error
        object.__setattr__(self, "default", checked)

    @property
    def is_numeric(self) -> bool:
        """Whether a gate can compare a metric with it."""
        return self.type in (ParameterType.FLOAT, ParameterType.INTEGER)

    def parse(self, text: str) -> ParameterValue:
        """Parse a value.

        Raises:
            ConfigError: `text` is not of the parameter's type or is out of range.
        """
        value: ParameterValue = text
        try:
            if self.type is ParameterType.FLOAT:
                value = float(_plain_number(text))
            elif self.type is ParameterType.INTEGER:
                value = int(_plain_number(text))
            elif self.type is ParameterType.BOOLEAN:
                value = {"true": True, "false": False}[text.strip().lower()]
        except (ValueError, KeyError):
            raise self._problem(text) from None
        return self.checked(value)

    def checked(self, value: ParameterValue) -> ParameterValue:
        """Return `value` as the declared type (an integer is accepted as a float).

        Raises:
            ConfigError: wrong type, not finite, or out of range.
        """
        if self.type is ParameterType.FLOAT and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        expected = {"float": float, "integer": int, "string": str, "boolean": bool}[self.type]
        if type(value) is not expected:
            raise self._problem(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            low = -math.inf if self.minimum is None else self.minimum
            high = math.inf if self.maximum is None else self.maximum
            if not (math.isfinite(value) and low <= value <= high):
                raise self._problem(value)
        return value

    def _problem(self, value: object) -> ConfigError:
        limits = ""
        if self.minimum is not None or self.maximum is not None:
            limits = f" from {self.minimum if self.minimum is not None else '-inf'}"
            limits += f" to {self.maximum if self.maximum is not None else 'inf'}"
        is_percent = isinstance(value, int | float) and (self.minimum, self.maximum) == (0, 1) and 1 < value <= 100
        hint = "; a percent where a fraction is expected?" if is_percent else ""
        return ConfigError(f"parameter {self.name}: {value!r} is not {_TYPE_NAMES[self.type]}{limits}{hint}")


def _plain_number(text: str) -> str:
    """Return the text of a number that is written as in a configuration file.

    Raises:
        ValueError: it is not: Python reads `1_0` and the digits of every script as numbers, and `010` as 10.
    """
    number = text.strip()
    if not _NUMBER.fullmatch(number) or _LEADING_ZERO.fullmatch(number):
        raise ValueError(text)
    return number
