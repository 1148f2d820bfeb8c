"""Comparison of two runs: differences in metrics, configuration, data, code and environment.

Owns the comparison as data; the command line and the report render it. Whether two values may be compared is decided by
`mlops_core.evaluation.comparability`; where they may not, there is neither a change nor a judgement to show.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import combinations
from typing import TYPE_CHECKING, Any

from mlops_core.evaluation.comparability import (
    TEST_CONTENT_NOTE,
    TEST_SET_NOTE,
    Measurement,
    definition_of,
    incomparability,
)
from mlops_core.evaluation.metrics import Direction, Metric, MetricReport, MetricValue

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mlops_core.report.facts import RunFacts
    from mlops_core.workspace.records import RunRecord

_ORIGIN = ("use case", "plugin", "runner", "seed", "status")
_DATA = ("name", "digest", "files", "size_bytes")


class Judgement(StrEnum):
    """How the later value of a metric compares with the earlier one."""

    BETTER = "better"
    WORSE = "worse"
    EQUAL = "equal"
    UNKNOWN = "not comparable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A fact in which two runs differ; the value is empty for a run that does not have it."""

    name: str
    earlier: str
    later: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricComparison:
    """A metric in two runs.

    Attributes:
        metric: its declaration, that of the later run when both have one.
        earlier: value in the earlier run; None when it has none.
        later: value in the later run; None when it has none.
        change: later minus earlier; None unless both are finite and comparable.
        judgement: depends on the metric's direction.
        is_within_intervals: the intervals overlap, so the change may be due to chance; None without intervals.
        incomparability: why two values must not be compared, as the rest of a sentence; empty when they may be, and
            where a run has no value.
    """

    metric: Metric
    earlier: MetricValue | None
    later: MetricValue | None
    change: float | None
    judgement: Judgement
    is_within_intervals: bool | None
    incomparability: str = ""

    @property
    def is_comparable(self) -> bool:
        """Whether the two values may be shown beside each other, with their change."""
        return self.judgement is not Judgement.UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparison:
    """The comparison of two runs.

    Attributes:
        earlier: id of the baseline run.
        later: id of the run that is compared with it.
        metrics: every metric of either run.
        is_same_test_set: both were evaluated on the same samples and labels; None when this is unknown.
        groups: the differences in ``origin``, ``parameters``, ``configuration``, ``data``, ``code``, ``environment``.
    """

    earlier: str
    later: str
    metrics: tuple[MetricComparison, ...]
    is_same_test_set: bool | None
    groups: Mapping[str, tuple[Difference, ...]]

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON types only; numbers that are not finite become null."""
        return {
            "earlier": self.earlier,
            "later": self.later,
            "is_same_test_set": self.is_same_test_set,
            "metrics": {entry.metric.name: _metric_to_json(entry) for entry in self.metrics},
            "incomparable": {
                entry.metric.name: entry.incomparability for entry in self.metrics if entry.incomparability
            },
            "differences": {name: list(map(asdict, differences)) for name, differences in self.groups.items()},
        }

    def metric(self, name: str) -> MetricComparison | None:
        """Return the comparison of a metric; None when neither run declares it."""
        return next((entry for entry in self.metrics if entry.metric.name == name), None)

    def incomparabilities(self) -> dict[str, tuple[str, ...]]:
        """Return reason -> the metrics that must not be compared because of it."""
        reasons = dict.fromkeys(entry.incomparability for entry in self.metrics if entry.incomparability)
        return {
            reason: tuple(entry.metric.name for entry in self.metrics if entry.incomparability == reason)
            for reason in reasons
        }


def compare_runs(earlier: RunFacts, later: RunFacts) -> RunComparison:
    """Compare two runs."""
    with_config = earlier.record.config != later.record.config  # equal texts need not be parsed
    return RunComparison(
        earlier=earlier.record.run_id,
        later=later.record.run_id,
        metrics=_compare_metrics(earlier, later),
        is_same_test_set=_is_same_test_set(earlier, later),
        groups={
            name: _differences(old, new)
            for (name, old), (_, new) in zip(
                _facts(earlier.record, with_config=with_config),
                _facts(later.record, with_config=with_config),
                strict=True,
            )
        },
    )


def _facts(record: RunRecord, *, with_config: bool) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yield each group of facts; values are compared as text."""
    data = record.dataset
    yield "origin", {name: getattr(record, name.replace(" ", "_")) for name in _ORIGIN}
    yield "parameters", record.parameters
    yield "configuration", flatten_yaml(record.config) if with_config else {}
    yield "data", {name.removesuffix("_bytes"): getattr(data, name) for name in _DATA} if data else {}
    components = (item for step in record.steps for item in step.key_components.items())
    yield "code", {name: value for name, value in components if name.startswith("code ")}
    yield "environment", record.environment


def flatten_yaml(text: str) -> dict[str, str]:
    """Return dotted key -> value of a YAML text; a single entry with the full text when it is not a mapping."""
    import yaml

    try:
        data = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  both loaders are safe
    except (yaml.YAMLError, RecursionError):
        data = None
    return dict(_leaves("", data)) if isinstance(data, dict) else {"(text)": text} if text else {}


def _leaves(prefix: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(f"{prefix}.{key}" if prefix else str(key), item)
    else:
        yield prefix, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _differences(earlier: Mapping[str, object], later: Mapping[str, object]) -> tuple[Difference, ...]:
    names = dict.fromkeys((*later, *earlier))
    pairs = ((name, str(earlier.get(name, "")), str(later.get(name, ""))) for name in names)
    return tuple(Difference(name=name, earlier=old, later=new) for name, old, new in pairs if old != new)


def incomparable_metrics(runs: Sequence[RunFacts]) -> dict[str, str]:
    """Return metric -> why its values in several runs must not be compared, for those of which two must not be."""
    declared = {metric.name: metric for facts in runs for metric in facts.metrics}
    found = {}
    for name, metric in declared.items():
        measured = [_measurement(facts, metric) for facts in runs if _value(facts, name)]
        reason = next(filter(None, (incomparability(one, other) for one, other in combinations(measured, 2))), "")
        if reason:
            found[name] = reason
    return found


def _compare_metrics(earlier: RunFacts, later: RunFacts) -> tuple[MetricComparison, ...]:
    declared = {metric.name: metric for facts in (earlier, later) for metric in facts.metrics}
    return tuple(_compare_metric(metric, earlier, later) for metric in declared.values())


def _compare_metric(metric: Metric, earlier: RunFacts, later: RunFacts) -> MetricComparison:
    old, new = (_value(facts, metric.name) for facts in (earlier, later))
    reason = incomparability(_measurement(earlier, metric), _measurement(later, metric)) if old and new else ""
    change = new.value - old.value if old and new and not reason else math.nan
    is_comparable = math.isfinite(change)
    return MetricComparison(
        metric=metric,
        earlier=old,
        later=new,
        change=change if is_comparable else None,
        judgement=_judgement(metric, change) if is_comparable else Judgement.UNKNOWN,
        is_within_intervals=_is_overlapping(old, new) if old and new and is_comparable else None,
        incomparability=reason,
    )


def _measurement(facts: RunFacts, metric: Metric) -> Measurement:
    """Return what a run's value of `metric` was measured on, with the run's own declaration of the metric."""
    own = next((declared for declared in facts.metrics if declared.name == metric.name), metric)
    return Measurement(
        use_case=facts.record.use_case,
        test_set=_test_set(facts),
        metric=own.name,
        direction=own.direction,
        unit=own.unit,
        test_content=_note(facts, TEST_CONTENT_NOTE),
        definition=definition_of(own, facts.evaluation.notes) if isinstance(facts.evaluation, MetricReport) else "",
    )


def _test_set(facts: RunFacts) -> str:
    return _note(facts, TEST_SET_NOTE)


def _note(facts: RunFacts, name: str) -> str:
    return str(facts.evaluation.notes.get(name, "")) if isinstance(facts.evaluation, MetricReport) else ""


def _value(facts: RunFacts, name: str) -> MetricValue | None:
    return facts.evaluation.values.get(name) if isinstance(facts.evaluation, MetricReport) else None


def _judgement(metric: Metric, change: float) -> Judgement:
    if change == 0:
        return Judgement.EQUAL
    return Judgement.BETTER if (change > 0) is (metric.direction is Direction.HIGHER) else Judgement.WORSE


def _is_overlapping(one: MetricValue, other: MetricValue) -> bool | None:
    if not all(map(math.isfinite, (one.low, one.high, other.low, other.high))):
        return None
    return one.low <= other.high and other.low <= one.high


def _is_same_test_set(earlier: RunFacts, later: RunFacts) -> bool | None:
    digests = [_test_set(facts) for facts in (earlier, later)]
    return digests[0] == digests[1] if all(digests) else None


def _metric_to_json(comparison: MetricComparison) -> dict[str, Any]:
    values = {"earlier": comparison.earlier, "later": comparison.later}
    return {
        **{name: value.value if value and math.isfinite(value.value) else None for name, value in values.items()},
        "change": comparison.change,
        "judgement": comparison.judgement,
        "is_within_intervals": comparison.is_within_intervals,
    }
