"""Turns queued events into what the hooks of observers receive, from the workspace as it is at the delivery."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from mlops_core.errors import MlopsError
from mlops_core.evaluation.metrics import MetricReport
from mlops_core.observers.events import AliasEvent, EventPhase, ModelEvent, RunEvent, StepEvent
from mlops_core.pipeline import StepKind
from mlops_core.report.facts import read_facts
from mlops_core.report.histories import history_files
from mlops_core.report.tensorboard.writing import hyperparameters
from mlops_core.steps.histories import read_history
from mlops_core.workspace.ledger import alias_of_subject, version_of_subject
from mlops_core.workspace.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_core.steps.histories import HistoryRow
    from mlops_core.workspace.model_versions import LedgerEntry
    from mlops_core.workspace.records import RunRecord, StepRecord
    from mlops_core.workspace.store import Store


def observed_run(store: Store, record: RunRecord, *, phase: EventPhase) -> RunEvent:
    """Return a run with its configuration and, at its end, its metrics."""
    metrics: dict[str, float] = {}
    if phase is EventPhase.ENDED:
        evaluation = read_facts(store, record.run_id).evaluation
        values = evaluation.values if isinstance(evaluation, MetricReport) else {}
        metrics = {name: value.value for name, value in values.items() if math.isfinite(value.value)}
    return RunEvent(
        phase=phase,
        record=record,
        folder=store.runs.folder(record.run_id),
        parameters=hyperparameters(record),
        metrics=metrics,
    )


def observed_step(store: Store, record: RunRecord, step: StepRecord, *, phase: EventPhase) -> StepEvent:
    """Return a step; at the end of a training with its histories."""
    histories: dict[str, tuple[HistoryRow, ...]] = {}
    if phase is EventPhase.ENDED and step.name in _training_names(record):
        for output, path in history_files(store, record, step):
            try:
                histories[output] = tuple(read_history(path))
            except MlopsError:  # the report says what is wrong with it
                continue
    return StepEvent(phase=phase, run_id=record.run_id, record=step, histories=histories)


def observed_entry(store: Store, entry: LedgerEntry) -> ModelEvent | AliasEvent | None:
    """Return what an entry of the ledger means to an observer; None when it is about something else."""
    alias, number = alias_of_subject(entry.subject), version_of_subject(entry.subject)
    if alias:
        target = int(entry.value) if entry.value else None
        return AliasEvent(use_case=entry.use_case, alias=alias, version=target, entry=entry)
    if number is None:
        return None
    try:
        version = Registry(store).version(entry.use_case, number)
    except MlopsError:  # the registry lost it; the doctor says so
        return None
    folder = store.artifacts.path(version.artifact)
    return ModelEvent(version=version, entry=entry, folder=folder if folder.is_dir() else None)


def find_entry(store: Store, sequence: int) -> LedgerEntry | None:
    """Return an entry of the ledger by its number."""
    return next((entry for entry in Registry(store).history() if entry.sequence == sequence), None)


def version_config(store: Store, use_case: str, version: int | None) -> str:
    """Return the configuration of a version as YAML text; empty where there is none."""
    try:
        return "" if version is None else Registry(store).version(use_case, version).config
    except MlopsError:
        return ""


def section_settings(config: str, name: str) -> Mapping[str, object]:
    """Return the section `name` of a configuration that is given as YAML text; values of None are left out."""
    import yaml

    try:
        data: Any = yaml.load(config, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  both are safe
    except (yaml.YAMLError, RecursionError):
        return {}
    section = data.get(name) if isinstance(data, dict) else None
    return {key: value for key, value in section.items() if value is not None} if isinstance(section, dict) else {}


def _training_names(record: RunRecord) -> frozenset[str]:
    steps = record.pipeline.get("steps", ())
    return frozenset(step["name"] for step in steps if step.get("kind") == StepKind.TRAINING)
