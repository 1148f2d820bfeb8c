"""The clauses of a gate as data: what each compares, and with what.

A clause compares a metric, a bound of its confidence interval, its value on a slice of the test set or its lowest value
over all slices with a threshold: a number, a parameter, or the champion's value. Or it names the licences that the data
or the base models may have. `conditions` combines clauses.
"""

from __future__ import annotations

import keyword
import math
import operator
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from mlops_core.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Callable

LABEL = "label"
"""The column by which the classes of a test set are sliced."""
LICENCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")
"""A licence that a gate mentions without quotes."""


class Operator(StrEnum):
    """How a metric is compared with its threshold."""

    AT_LEAST = ">="
    ABOVE = ">"
    AT_MOST = "<="
    BELOW = "<"

    @property
    def opposite(self) -> Operator:
        """The operator that holds exactly when this one does not."""
        return _OPPOSITES[self]

    @property
    def mirrored(self) -> Operator:
        """The operator with its two sides exchanged."""
        return _MIRRORED[self]

    @property
    def is_minimum(self) -> bool:
        """Whether the threshold is a lower limit."""
        return self in (Operator.AT_LEAST, Operator.ABOVE)

    def holds(self, value: float, threshold: float) -> bool:
        """Return whether `value` compares with `threshold` as this operator says."""
        return _COMPARE[self](value, threshold)


_OPPOSITES = {
    Operator.AT_LEAST: Operator.BELOW,
    Operator.ABOVE: Operator.AT_MOST,
    Operator.AT_MOST: Operator.ABOVE,
    Operator.BELOW: Operator.AT_LEAST,
}
_MIRRORED = {
    Operator.AT_LEAST: Operator.AT_MOST,
    Operator.ABOVE: Operator.BELOW,
    Operator.AT_MOST: Operator.AT_LEAST,
    Operator.BELOW: Operator.ABOVE,
}
_COMPARE: dict[Operator, Callable[[float, float], bool]] = {
    Operator.AT_LEAST: operator.ge,
    Operator.ABOVE: operator.gt,
    Operator.AT_MOST: operator.le,
    Operator.BELOW: operator.lt,
}


class Bound(StrEnum):
    """An end of a confidence interval."""

    LOWER = "lower"
    UPPER = "upper"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Part of the test set: the samples with one value in a column, or each value of the column in turn.

    Attributes:
        column: ``label``, or a column of the split.
        value: the value that the samples of the slice have; None for the worst slice of the column.

    Example:
        >>> print(Slice(value="siren").of("recall"), Slice(column="fold").of("clip_acc"))
        recall[siren] worst(clip_acc, by=fold)
    """

    column: str = LABEL
    value: str | None = None

    def of(self, metric: str) -> str:
        """Return the metric on this slice as it is written in a gate."""
        if self.value is None:
            return f"worst({metric})" if self.column == LABEL else f"worst({metric}, by={_quoted(self.column)})"
        value = self.value if _is_integer(self.value) else _quoted(self.value)
        return f"{metric}[{value}]" if self.column == LABEL else f"{metric}[{_quoted(self.column)} == {value}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Champion:
    """A threshold that is the champion's value of the same metric, plus an offset.

    Attributes:
        offset: added to the champion's value; negative where a small loss is acceptable.

    Example:
        >>> Comparison(metric="acc", operator=Operator.AT_LEAST, threshold=Champion(offset=-0.01)) == parse_condition(
        ...     "acc >= best.acc - 0.01"
        ... )
        True
    """

    offset: float = 0.0

    def of(self, metric: str) -> str:
        """Return the threshold as it is written in a gate."""
        if not self.offset:
            return f"best.{metric}"
        return f"best.{metric} {'-' if self.offset < 0 else '+'} {abs(self.offset):.15g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A metric against a threshold.

    Attributes:
        metric: name of a declared metric; on classes also ``recall`` and ``precision``.
        operator: the comparison.
        threshold: a number, the name of a numeric parameter, or the champion's value.
        message: beginning of the sentence that is shown when it fails; the threshold follows.
        bound: the end of the confidence interval that is compared; None for the value itself.
        slice: the part of the test set that counts; None for all of it.

    Example:
        >>> print(Comparison(metric="acc", operator=Operator.AT_LEAST, threshold="q_acc"))
        acc >= q_acc
    """

    metric: str
    operator: Operator
    threshold: float | str | Champion
    message: str = ""
    bound: Bound | None = None
    slice: Slice | None = None

    def __post_init__(self) -> None:
        """Refuse thresholds that no number could be compared with."""
        if isinstance(self.threshold, Champion):
            _require_finite(self.threshold.offset, f"offset to the champion's '{self.metric}'")
            if self.bound or (self.slice and self.slice.value is None):
                raise PipelineError(
                    f"gate: {self.quantity} cannot be compared with the champion; compare the metric itself or one "
                    "slice of it, or use no_regression()"
                )
            return
        if isinstance(self.threshold, int | float) and not isinstance(self.threshold, bool):
            _require_finite(self.threshold, f"threshold of '{self.metric}'")
        elif not (isinstance(self.threshold, str) and self.threshold.isidentifier()):
            raise PipelineError(
                f"gate: the threshold of '{self.metric}' is {self.threshold!r}; expected a number or a parameter's name"
            )

    @property
    def quantity(self) -> str:
        """The left side as it is written in a gate."""
        text = self.slice.of(self.metric) if self.slice else self.metric
        return f"{text}.{self.bound}" if self.bound else text

    @property
    def is_paired(self) -> bool:
        """Whether the model is compared with the champion."""
        return isinstance(self.threshold, Champion)

    @property
    def needs_predictions(self) -> bool:
        """Whether the verdict rests on predictions, not on the metrics of the whole test set alone."""
        return self.slice is not None or self.is_paired

    @property
    def needs_evidence(self) -> bool:
        """Whether the verdict rests on more than the metric's value and a number."""
        return self.bound is not None or self.needs_predictions

    def __str__(self) -> str:
        """Return it as it is written in a gate."""
        of = self.slice.of(self.metric) if self.slice else self.metric
        right = self.threshold.of(of) if isinstance(self.threshold, Champion) else self.threshold
        return f"{self.quantity} {self.operator} {right}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoRegression:
    """No slice of a column is worse than it is for the champion, by more than a margin.

    Attributes:
        metric: name of a declared metric; by label also ``recall`` and ``precision``.
        column: ``label``, or a column of the split.
        margin: largest acceptable loss, in the metric's unit, not negative.

    Example:
        >>> print(NoRegression(metric="recall", margin=0.05))
        no_regression(recall, by=label, margin=0.05)
    """

    metric: str
    column: str = LABEL
    margin: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a margin that is not a number, or negative."""
        _require_finite(self.margin, f"margin of '{self.metric}'")
        if self.margin < 0:
            raise PipelineError(f"gate: the margin of '{self.metric}' is {self.margin:g}; expected 0 or more")

    is_paired: ClassVar[bool] = True
    needs_predictions: ClassVar[bool] = True
    needs_evidence: ClassVar[bool] = True

    @property
    def slice(self) -> Slice:
        """The slices that are compared."""
        return Slice(column=self.column)

    def __str__(self) -> str:
        """Return it as it is written in a gate."""
        return f"no_regression({self.metric}, by={_quoted(self.column)}, margin={self.margin:.15g})"


class LicenceSubject(StrEnum):
    """What a clause asks for the licence of, as it is written in a gate."""

    DATASET = "dataset_licence"
    BASE_MODEL = "base_model_licence"


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenceClause:
    """The licence of the data, or that of every base model, is in a list, or in none of its entries.

    A licence that is unknown meets neither form; without a base model, both forms are met.

    Attributes:
        subject: of what.
        licences: SPDX identifiers or expressions, compared as a whole and without regard to case.
        is_excluded: the licence must not be in the list.

    Example:
        >>> print(LicenceClause(subject=LicenceSubject.DATASET, licences=("CC-BY-4.0", "MIT")))
        dataset_licence in (CC-BY-4.0, MIT)
    """

    subject: LicenceSubject
    licences: tuple[str, ...]
    is_excluded: bool = False

    def __post_init__(self) -> None:
        """Refuse an empty list, which no licence is in, and an empty name."""
        if not self.licences:
            raise PipelineError(f"gate: {self.subject} in (): the list names no licence")
        for name in self.licences:
            if not name.strip():
                raise PipelineError(f"gate: {self.subject}: {name!r} is not the name of a licence")

    is_paired: ClassVar[bool] = False
    needs_predictions: ClassVar[bool] = False
    needs_evidence: ClassVar[bool] = True
    slice: ClassVar[None] = None

    @property
    def metric(self) -> str:
        """The name under which a verdict lists the clause."""
        return str(self.subject)

    def __str__(self) -> str:
        """Return it as it is written in a gate."""
        names = ", ".join(map(_licence_quoted, self.licences))
        return f"{self.subject} {'not in' if self.is_excluded else 'in'} ({names})"


Clause: TypeAlias = Comparison | NoRegression | LicenceClause


def _quoted(text: str) -> str:
    """Return a text as it is, or as a Python string where it is not a name."""
    return text if text.isidentifier() and not keyword.iskeyword(text) else repr(text)


def _licence_quoted(name: str) -> str:
    """Return a licence as it is, or as a Python string where it would not be read back."""
    return name if LICENCE_NAME.fullmatch(name) and not keyword.iskeyword(name) else repr(name)


def _is_integer(text: str) -> bool:
    return text.isdecimal() and text.isascii() and (text == "0" or not text.startswith("0"))


def _require_finite(value: float, what: str) -> None:
    try:
        is_finite = math.isfinite(value)
    except OverflowError:  # an integer beyond the largest float
        is_finite = False
    if not is_finite:
        raise PipelineError(f"gate: the {what} is {str(value)[:20]}, not a finite number")
