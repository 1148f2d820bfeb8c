"""Metrics as data: their declaration, their values with intervals, and the report of an evaluation.

A `Metric` says what a value means: unit, range, direction. A `MetricReport` holds the values that were computed
from stored predictions. A bad value (missing, not finite, out of range) is never an exception here: it is kept as what
it is, so that the gate can reject it and say why. `evaluation_file` writes and reads reports, `proportions` makes the
values of rates.
"""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from mlops_core.errors import PipelineError, did_you_mean
from mlops_core.evaluation.intervals import LEVEL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlops_core.datasets.inspections import FactTable
    from mlops_core.evaluation.confusion import ConfusionMatrix
    from mlops_core.evaluation.curves import MetricCurves

FEWEST_GROUPS = 10
"""From so many groups on, an interval from resampled groups is nearly as wide as it should be.

Of 1,000 intervals of 95% of means of normal numbers, from 200 resamples each, 51% held the true mean with 2 groups, 73%
with 3, 83% with 5, 90% with 10.
"""
_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")


class Direction(StrEnum):
    """Which way is better."""

    HIGHER = "higher"
    LOWER = "lower"


class Unit(StrEnum):
    """The unit of a metric."""

    FRACTION = "fraction"
    COUNT = "count"
    SECONDS = "seconds"
    BYTES = "bytes"
    TARGET = "target"
    TARGET_SQUARED = "target^2"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """The declaration of a metric.

    Attributes:
        name: unique; how gates mention it.
        section: the key of ``evaluation.json`` that contains it.
        unit: of the value.
        minimum: smallest possible value; a smaller one is a defect and fails the gate.
        maximum: largest possible value, may be infinite; a larger one fails the gate.
        direction: which way is better.
        title: the name for display.
        job_name: name of the metric of a training job, for example ``clip:accuracy``.
        log_regex: regular expression with which an engine extracts it from log lines for display; never read back.
        description: one sentence.
        tolerance: largest absolute difference between two values of the same run, made on different machines, that
            still counts as reproduced; 0 asks for equal values.
        defined_by: names of notes of the report, such as the overlap of a right detection, without which the value says
            nothing; values with other notes are not compared.

    Example:
        >>> acc = Metric(name="acc", section="m", unit=Unit.FRACTION, minimum=0, maximum=1, direction=Direction.HIGHER)
        >>> acc.fault(0.8), acc.fault(80)
        ('', 'is 80, outside 0 to 1; a percent where a fraction is expected?')
    """

    name: str
    section: str
    unit: Unit
    minimum: float
    maximum: float
    direction: Direction
    title: str = ""
    job_name: str = ""
    log_regex: str = ""
    description: str = ""
    tolerance: float = 0.0
    defined_by: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse names that cannot be keys, an empty range, and a tolerance that is not a finite number from 0."""
        for what, name in (("metric", self.name), ("section of a metric", self.section)):
            if not _NAME.match(name):
                raise PipelineError(
                    f"{what} {name!r} must consist of lower-case letters, digits and '_', and start with a letter"
                )
        if not self.minimum < self.maximum:
            raise PipelineError(f"metric '{self.name}': minimum {self.minimum} is not below maximum {self.maximum}")
        if type(self.tolerance) not in (int, float) or not 0 <= self.tolerance < math.inf:
            raise PipelineError(
                f"metric '{self.name}': tolerance {self.tolerance!r} is not valid; expected a finite number, 0 or more"
            )

    def fault(self, value: object) -> str:
        """Return why `value` cannot be a value of this metric; empty when it can."""
        if value is None:
            return "is missing"
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"is {value!r}, not a number"
        if math.isnan(value):
            return "is NaN"
        if math.isinf(value):
            return "is infinite"
        if not self.minimum <= value <= self.maximum:
            hint = (
                "; a percent where a fraction is expected?" if self.unit is Unit.FRACTION and 1 < value <= 100 else ""
            )
            return f"is {value:g}, outside {self.minimum:g} to {self.maximum:g}{hint}"
        return ""

    def to_json(self) -> dict[str, Any]:
        """Return the metric as JSON types only; an infinite limit becomes null, and no tolerance is left out."""
        data = asdict(self)
        for name in ("tolerance", "defined_by"):
            if not data[name]:
                del data[name]  # an older version of mlops reads the declaration, too
        for name in ("minimum", "maximum"):
            data[name] = data[name] if math.isfinite(data[name]) else None
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Metric:
        """Return the metric that `to_json` wrote."""
        return cls(
            **{
                **data,
                "unit": Unit(data["unit"]),
                "direction": Direction(data["direction"]),
                "defined_by": tuple(data.get("defined_by", ())),
                "minimum": -math.inf if data["minimum"] is None else data["minimum"],
                "maximum": math.inf if data["maximum"] is None else data["maximum"],
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricValue:
    """A value with its confidence interval.

    Attributes:
        value: in the metric's unit; may be bad (NaN, infinite) when it was read from a file.
        low: lower end of the interval.
        high: upper end.
        level: of the interval, 0 to 1.
        method: ``wilson``, ``wilson by group``, ``bootstrap``, ``jackknife by group`` or ``none``.
        count: how many samples (or groups, for the bootstrap) it rests on.
        groups: how many groups the interval counts as independent; 0 if it counts samples.
        standard_deviation: of what the value summarises, in its own unit, where the metric's description says what
            that is: of the errors behind a mean squared error; None where it has none.

    Example:
        >>> MetricValue(value=0.8, low=0.7, high=0.9).level
        0.95
    """

    value: float
    low: float
    high: float
    level: float = LEVEL
    method: str = "none"
    count: int = 0
    groups: int = 0
    standard_deviation: float | None = None

    @property
    def caveat(self) -> str:
        """Return why an interval from resampled groups says little; empty if it does not."""
        groups = self.groups or self.count
        if self.method != "bootstrap" or groups < 1:
            return ""
        if groups >= FEWEST_GROUPS:
            return "" if self.low < self.high else "every resampling has this value: how certain it is, is not known"
        if groups == 1:
            return "a single group: how certain the value is, is not known"
        return f"{groups} groups: too few for an interval, which is too narrow; it takes {FEWEST_GROUPS} at least"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMetrics:
    """The metrics of the test samples of one group.

    Attributes:
        samples: how many there are.
        values: metric name -> value; without those that cannot be computed from one group.
    """

    samples: int
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupBreakdown:
    """How the test set divides into groups of samples that are not independent.

    Attributes:
        count: number of groups.
        samples: number of samples.
        metrics: group -> its metrics; at most as many groups as a report can show.
    """

    count: int
    samples: int
    metrics: Mapping[str, GroupMetrics] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricReport:
    """What an evaluation found.

    Attributes:
        values: metric name -> value.
        confusion_matrices: name -> matrix.
        notes: further facts, for example how many samples were used.
        tables: what is shown beside the values, for example one row a fold of a cross-validation.
        curves: what the report draws beside the values, for example precision by recall.
        groups: set by core, not by plugins: the groups of the test set; None where every sample is its own group.

    Example:
        >>> MetricReport(values={"acc": proportion(80, 100)}).values["acc"].value
        0.8
    """

    values: Mapping[str, MetricValue]
    confusion_matrices: Mapping[str, ConfusionMatrix] = field(default_factory=dict)
    notes: Mapping[str, str | int | float] = field(default_factory=dict)
    tables: tuple[FactTable, ...] = ()
    curves: tuple[MetricCurves, ...] = ()
    groups: GroupBreakdown | None = None


def check_report(report: MetricReport, metrics: Sequence[Metric]) -> tuple[str, ...]:
    """Return one line for each metric that is undeclared, missing, not finite or out of range."""
    declared = {metric.name: metric for metric in metrics}
    faults = [f"{name} is not declared{did_you_mean(name, declared)}" for name in report.values if name not in declared]
    for name, metric in declared.items():
        found = report.values.get(name)
        fault = metric.fault(found.value if found else None)
        if fault:
            faults.append(f"{name} {fault}")
    return tuple(faults)
