"""Writes and reads ``evaluation.json``, the metrics of an evaluation.

A bad value (missing, not finite, out of range) is read back as what it is, so that the gate can reject it and say why.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mlops_core.datasets.inspections import FactTable
from mlops_core.errors import MlopsError, StepError, did_you_mean
from mlops_core.evaluation.confusion import matrices_from_json
from mlops_core.evaluation.curves import curves_from_json
from mlops_core.evaluation.metrics import GroupBreakdown, GroupMetrics, Metric, MetricReport, MetricValue
from mlops_core.reading import read_json, replace_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

EVALUATION_FILE = "evaluation.json"
_GROUPS = "test_groups"


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
