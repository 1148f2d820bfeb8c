"""The facts of a run that reports and comparisons read; a part that is not available is a `Missing` with its reason."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_core.datasets.licences import Licences
from mlops_core.errors import MlopsError
from mlops_core.evaluation.evaluation_file import EVALUATION_FILE, read_evaluation
from mlops_core.evaluation.metrics import Metric, MetricReport
from mlops_core.pipeline import EVALUATION_OUTPUT, PREDICTIONS_OUTPUT, StepKind
from mlops_core.quantities import counted
from mlops_core.workspace.records import RunStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from mlops_core.evaluation.metrics import MetricValue
    from mlops_core.workspace.records import RunRecord, StepRecord
    from mlops_core.workspace.store import Store

REPORT_FILE = "report.html"
_PAGES = (50, 1_000, 100_000)
"""Page sizes of the search for the previous accepted run, which is nearly always among the newest runs."""
_LOG_LINES = 40
_LOG_BYTES = 16_384
_ESCAPE_CODES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


@dataclass(frozen=True, slots=True)
class Missing:
    """A part of a run that is not available.

    Attributes:
        reason: one sentence, shown in place of the part.
    """

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """A run with its evaluation.

    Attributes:
        record: the run's record.
        metrics: the declared metrics.
        evaluation: their values, or the reason why there are none.
        folder: the run's folder.
    """

    record: RunRecord
    metrics: tuple[Metric, ...]
    evaluation: MetricReport | Missing
    folder: Path


def read_facts(store: Store, run_id: str) -> RunFacts:
    """Return the facts of a run.

    Raises:
        UsageError: the workspace has no such run.
        StoreError: its record is damaged.
    """
    return facts_of(store, store.runs.load(run_id))


def facts_of(store: Store, record: RunRecord) -> RunFacts:
    """Return the facts of a run whose record is known."""
    metrics = declared_metrics(record)
    return RunFacts(
        record=record,
        metrics=metrics,
        evaluation=_evaluation(store, record, metrics),
        folder=store.runs.folder(record.run_id),
    )


def recorded_values(folder: Path, declared: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, float]]:
    """Yield name and value of each metric of a run that is a finite number, reading no more than that.

    Args:
        folder: of the run.
        declared: the metrics of its pipeline, as in its record.
    """
    try:
        evaluation = json.loads((folder / EVALUATION_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    for metric in declared:
        entry = evaluation.get(metric.get("section"), {}).get(metric["name"], {})
        value = entry.get("value") if isinstance(entry, dict) else None
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield str(metric["name"]), float(value)


def declared_metrics(record: RunRecord) -> tuple[Metric, ...]:
    """Return the declared metrics of a run's pipeline; empty when another version wrote them in an unknown format."""
    try:
        return tuple(Metric.from_json(metric) for metric in record.pipeline.get("metrics", ()))
    except (MlopsError, KeyError, TypeError, ValueError):
        return ()


def recorded_licences(record: RunRecord) -> Licences | None:
    """Return the licences of a run, without base models for an old one; None if it has read no data."""
    try:
        return Licences.from_json(record.pipeline["licences"])
    except (AttributeError, KeyError, MlopsError, TypeError):  # an old record, or one of another version
        pass
    dataset = record.dataset
    return Licences(dataset_name=dataset.name, dataset=dataset.licence, base_models=None) if dataset else None


def steps_of_kind(record: RunRecord, kind: StepKind) -> tuple[StepRecord, ...]:
    """Return the records of all steps of `kind`, in order of execution."""
    declared = record.pipeline.get("steps", ())
    names = {step.get("name") for step in declared if isinstance(step, dict) and step.get("kind") == kind}
    return tuple(step for step in record.steps if step.name in names)


def predictions_folder(store: Store, record: RunRecord) -> Path | Missing:
    """Return the folder of the artifact that contains the predictions of a run."""
    return _evaluation_output(store, record, PREDICTIONS_OUTPUT)


def basis_of(value: MetricValue, report: MetricReport) -> str:
    """Return what a value of a report rests on: samples, groups, or samples in groups.

    A sample that is its own group is called a sample.
    """
    if value.method == "bootstrap":
        return counted(value.count, "sample" if report.groups is None else "group")
    samples = counted(value.count, "sample")
    has_groups = value.groups and value.groups != value.count
    return f"{samples} in {counted(value.groups, 'group')}" if has_groups else samples


def previous_accepted(store: Store, record: RunRecord) -> str | None:
    """Return the id of the last accepted run of the same use case before `record`; None when there is none."""
    for limit in _PAGES:
        runs = store.runs.newest(use_case=record.use_case, limit=limit)
        ids = [run.run_id for run in runs]
        start = ids.index(record.run_id) + 1 if record.run_id in ids else len(ids)
        accepted = next((run.run_id for run in runs[start:] if run.status is RunStatus.ACCEPTED), None)
        if accepted or len(runs) < limit:
            return accepted
    return None


def log_tail(folder: Path, step: str) -> tuple[str, ...]:
    """Return the last lines of a step's log without terminal colour codes; empty when there is no log."""
    try:
        with (folder / "logs" / f"{step}.log").open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - _LOG_BYTES))
            text = stream.read().decode("utf-8", "replace")
    except (OSError, ValueError):  # ValueError: the name is not a valid file name
        return ()
    return tuple(_ESCAPE_CODES.sub("", text).splitlines()[-_LOG_LINES:])


def _evaluation(store: Store, record: RunRecord, metrics: tuple[Metric, ...]) -> MetricReport | Missing:
    reasons = []
    for folder in _evaluation_folders(store, record):
        if isinstance(folder, Missing):
            reasons.append(folder.reason)
            continue
        try:
            return read_evaluation(folder, metrics)
        except (MlopsError, KeyError, TypeError, ValueError) as error:
            reasons.append(str(error))
    return Missing(reasons[-1])


def _evaluation_folders(store: Store, record: RunRecord) -> Iterator[Path | Missing]:
    folder = store.runs.folder(record.run_id)
    if (folder / EVALUATION_FILE).is_file():
        yield folder
    yield _evaluation_output(store, record, EVALUATION_OUTPUT)


def _evaluation_output(store: Store, record: RunRecord, output: str) -> Path | Missing:
    steps = steps_of_kind(record, StepKind.EVALUATION)
    if not steps:
        return Missing("The run has no evaluation step.")
    step = steps[-1]
    if output not in step.outputs:
        return Missing(f"The evaluation did not finish (status of step '{step.name}': {step.status}).")
    folder = store.artifacts.path(step.outputs[output])
    if not folder.is_dir():
        return Missing(f"The artifact {step.name}.{output} is no longer in the workspace.")
    return folder
