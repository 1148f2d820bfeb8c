"""Metrics as data: their declaration, their values with intervals, and ``evaluation.json``.

A `Metric` says what a value means: unit, range, direction. A `MetricReport` holds the values that were computed
from stored predictions. A bad value (missing, not finite, out of range) is never an exception here: it is read
back as what it is, so that the gate can reject it and say why.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from mlops_core.datasets.inspections import FactTable
from mlops_core.errors import MlopsError, PipelineError, StepError, did_you_mean
from mlops_core.evaluation.confusion import ConfusionMatrix, matrices_from_json
from mlops_core.evaluation.curves import MetricCurves, curves_from_json
from mlops_core.evaluation.intervals import LEVEL, effective_count, wilson_interval
from mlops_core.reading import read_json, replace_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

EVALUATION_FILE = "evaluation.json"
FEWEST_GROUPS = 10
"""From so many groups on, an interval from resampled groups is nearly as wide as it should be.

Of 1,000 intervals of 95% of means of normal numbers, from 200 resamples each, 51% held the true mean with 2 groups, 73%
with 3, 83% with 5, 90% with 10.
"""
_GROUPS = "test_groups"
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
        if not self.tolerance:
            del data["tolerance"]  # an older version of mlops reads the declaration, too
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
        if self.method != "bootstrap" or not 0 < groups < FEWEST_GROUPS:
            return ""
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


def proportion(successes: int, count: int, *, level: float = LEVEL) -> MetricValue:
    """Return ``successes / count`` with the Wilson score interval; NaN when `count` is 0.

    The samples must be independent; where several belong to a group, use `proportion_by_group`.
    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, J. Am. Stat. Assoc.
    22 (1927) 209-212: centre (p + z²/2n) / (1 + z²/n), half width z sqrt(p(1-p)/n + z²/4n²) / (1 + z²/n).

    Example:
        >>> value = proportion(80, 100)
        >>> value.value, round(value.low, 3), round(value.high, 3)
        (0.8, 0.711, 0.867)
    """
    if not 0 <= successes <= count:
        raise StepError(f"a proportion of {successes} in {count} is impossible")
    if count == 0:
        return MetricValue(value=math.nan, low=0.0, high=1.0, level=level, method="wilson")
    low, high = wilson_interval(successes / count, count, level=level)
    return MetricValue(value=successes / count, low=low, high=high, level=level, method="wilson", count=count)


def proportion_by_group(groups: Mapping[str, Sequence[bool]], *, level: float = LEVEL) -> MetricValue:
    """Return the share of successes with a Wilson interval for samples in groups; NaN when there is no sample.

    Samples of one group (the clips of one speaker) are alike, so the interval is that of as many independent samples as
    would leave the rate as uncertain as it is, where the variance of the rate is that between the groups, G/(G-1)
    Σ(y - p·n)² / N² over G groups with y successes in n samples. Where every sample is a group of its own, it is that
    of `proportion`.
    Sources: W. G. Cochran, Sampling Techniques (3rd ed., 1977), ch. 9 (variance of a ratio over clusters); N. Dean and
    M. Pagano, Evaluating confidence interval methods for binomial proportions in clustered surveys, J. Surv. Stat.
    Methodol. 3 (2015) 484-503 (Wilson interval with the effective sample size).

    Args:
        groups: group -> whether each of its samples is a success.
        level: of the interval.

    Example:
        >>> value = proportion_by_group({"clip-1": [True] * 4, "clip-2": [True] * 4, "clip-3": [False, True] * 2})
        >>> round(value.value, 3), value.count, value.groups
        (0.833, 12, 3)
        >>> value.low < proportion(10, 12).low
        True
    """
    members = [list(map(bool, items)) for _, items in sorted(groups.items()) if len(items)]
    count, number = sum(map(len, members)), len(members)
    if number == count:
        return replace(proportion(sum(map(sum, members)), count, level=level), groups=number)
    rate = sum(map(sum, members)) / count
    residuals = sum((sum(items) - rate * len(items)) ** 2 for items in members)
    variance = number / (number - 1) * residuals / count**2 if number > 1 else math.nan
    effective = effective_count(rate, variance, count=count, groups=number, level=level)
    low, high = wilson_interval(rate, effective, level=level)
    return MetricValue(
        value=rate, low=low, high=high, level=level, method="wilson by group", count=count, groups=number
    )


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


def write_evaluation(folder: Path, report: MetricReport, metrics: Sequence[Metric]) -> None:
    """Write ``evaluation.json`` into `folder`, as strict JSON.

    A value is at ``<section>.<name>.value``, where existing gates read it. A value that is not finite is written as
    null, with the reason beside it.

    Raises:
        StepError: the report has a metric that is not declared.
    """
    declared = {metric.name: metric for metric in metrics}
    data: dict[str, Any] = {"format": "mlops-evaluation/1"}
    for name, value in sorted(report.values.items()):
        if name not in declared:
            raise StepError(f"metric '{name}' was computed but not declared{did_you_mean(name, declared)}")
        metric = declared[name]
        entry = _value_to_json(value) | {"unit": str(metric.unit)}
        fault = metric.fault(value.value)
        if fault:
            entry["error"] = fault
        data.setdefault(metric.section, {})[name] = entry
    for matrix in report.confusion_matrices.values():
        if matrix.section and not matrix.is_large:
            data.setdefault(matrix.section, {})["confusion_matrix"] = matrix.by_name()
    data["confusion_matrices"] = {name: matrix.to_json() for name, matrix in sorted(report.confusion_matrices.items())}
    data["notes"] = dict(sorted(report.notes.items()))
    if report.tables:
        data["tables"] = [asdict(table) for table in report.tables]
    if report.curves:
        data["curves"] = [asdict(curves) for curves in report.curves]
    if report.groups:
        data[_GROUPS] = asdict(report.groups)
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    replace_text(folder / EVALUATION_FILE, text)


def read_evaluation(folder: Path, metrics: Sequence[Metric]) -> MetricReport:
    """Return the content of ``evaluation.json`` in `folder`.

    A metric that is absent is absent in the report; a bad value is NaN, or what it is when it is a number.

    Raises:
        StepError: the file does not exist, or is not a JSON object.
    """
    path = folder / EVALUATION_FILE
    try:
        data = read_json(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise StepError(f"{path} cannot be read: {reason}") from error
    if not isinstance(data, dict):
        raise StepError(f"{path} holds {type(data).__name__}, not an object")
    values = {}
    for metric in metrics:
        section = data.get(metric.section)
        entry = section.get(metric.name) if isinstance(section, dict) else None
        if isinstance(entry, dict) and "value" in entry:
            values[metric.name] = _value_from_json(entry)
    return MetricReport(
        values=values,
        confusion_matrices=matrices_from_json(data.get("confusion_matrices")),
        notes=_notes(data),
        tables=_tables(data),
        curves=curves_from_json(data.get("curves")),
        groups=_groups(data.get(_GROUPS)),
    )


def _value_to_json(value: MetricValue) -> dict[str, Any]:
    deviation = value.standard_deviation
    return ({} if deviation is None else {"standard_deviation": _finite(deviation)}) | {
        "value": _finite(value.value),
        "confidence_interval": {
            "low": _finite(value.low),
            "high": _finite(value.high),
            "level": value.level,
            "method": value.method,
        },
        "count": value.count,
        **({"groups": value.groups} if value.groups else {}),
    }


def _value_from_json(entry: Mapping[str, Any]) -> MetricValue:
    interval = entry.get("confidence_interval")
    interval = interval if isinstance(interval, dict) else {}
    count, groups = entry.get("count"), entry.get("groups")
    return MetricValue(
        value=_number(entry["value"]),
        low=_number(interval.get("low")),
        high=_number(interval.get("high")),
        level=_number(interval.get("level")),
        method=str(interval.get("method", "none")),
        count=count if isinstance(count, int) else 0,
        groups=groups if isinstance(groups, int) else 0,
        standard_deviation=_number(entry["standard_deviation"]) if "standard_deviation" in entry else None,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(value: object) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        return float(value) if is_number else math.nan  # type: ignore[arg-type]
    except OverflowError:
        return math.inf


def _notes(data: Mapping[str, Any]) -> dict[str, str | int | float]:
    found = data.get("notes")
    notes = found if isinstance(found, dict) else {}
    return {name: note for name, note in notes.items() if isinstance(note, str | int | float)}


def _tables(data: Mapping[str, Any]) -> tuple[FactTable, ...]:
    """Return the tables; none if the file was changed by hand and they are not valid."""
    try:
        return tuple(
            FactTable(title=str(table["title"]), columns=tuple(table["columns"]), rows=tuple(map(tuple, table["rows"])))
            for table in data.get("tables", ())
        )
    except (MlopsError, KeyError, TypeError):
        return ()


def _groups(data: object) -> GroupBreakdown | None:
    """Return the groups of the test set; None if the file has none, or was changed by hand and they are not valid."""
    try:
        found: Any = data
        return GroupBreakdown(
            count=int(found["count"]),
            samples=int(found["samples"]),
            metrics={
                str(name): GroupMetrics(
                    samples=int(group["samples"]),
                    values={str(metric): _number(value) for metric, value in group["values"].items()},
                )
                for name, group in found["metrics"].items()
            },
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
