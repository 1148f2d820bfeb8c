"""Everything that the report of a run shows, read from the workspace; what is not available is a `Missing`."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlops_core.errors import MlopsError
from mlops_core.report.comparison import RunComparison, compare_runs
from mlops_core.report.facts import (
    REPORT_FILE,
    Missing,
    RunFacts,
    declared_metrics,
    facts_of,
    log_tail,
    predictions_folder,
    previous_accepted,
    read_facts,
)
from mlops_core.report.histories import read_histories
from mlops_core.report.model_card import card_facts_of
from mlops_core.report.previews import read_previews
from mlops_core.report.worst import WorstSamples, recorded_worst
from mlops_core.workspace.records import StepStatus
from mlops_core.workspace.registry import Registry
from mlops_core.workspace.searches.trials import read_searches

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlops_core.datasets.previews import Preview
    from mlops_core.report.histories import History
    from mlops_core.report.model_card import CardFacts
    from mlops_core.use_cases.manager import UseCase
    from mlops_core.workspace.records import RunRecord
    from mlops_core.workspace.searches.trials import SearchRecord
    from mlops_core.workspace.store import Store

DAMAGED = (AttributeError, IndexError, KeyError, TypeError, ValueError)
"""Errors caused by a record that was edited, or written by another version: its parts have unexpected types."""
_SAMPLES = 12
_PER_CONFUSION = 2
"""More of the same confusion teach nothing new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that the report of a run shows.

    Attributes:
        facts: of the run.
        as_of: when it was read, ISO 8601, UTC; the approval of a model changes later.
        approval: of the registered model at that time; None when no model was registered.
        previous: facts of the previous accepted run.
        comparison: of the two runs.
        worst: the samples with the worst predictions.
        has_previous_report: the previous run has a report that can be linked to.
        histories: training histories of the training steps.
        previews: sample id -> its preview.
        logs: name of a failed step -> the last lines of its log.
        card: what the model card says; None if there is no evaluation.
        searches: hyperparameter searches with their trials.
    """

    facts: RunFacts
    as_of: str
    approval: str | Missing | None
    previous: RunFacts | Missing
    comparison: RunComparison | Missing
    worst: WorstSamples | Missing
    has_previous_report: bool = False
    histories: tuple[History | Missing, ...] = ()
    previews: Mapping[str, Preview | Missing] = field(default_factory=dict)
    logs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    card: CardFacts | None = None
    searches: tuple[SearchRecord, ...] = ()

    @property
    def record(self) -> RunRecord:
        """The run's record."""
        return self.facts.record


def gather(store: Store, run_id: str, *, use_case: UseCase | None = None) -> Evidence:
    """Read everything that the report of a run shows.

    Raises:
        UsageError: the workspace has no such run.
        StoreError: its record is damaged.
    """
    facts = read_facts(store, run_id)
    previous, comparison = _previous(store, facts)
    worst = _worst(store, facts.record)
    return Evidence(
        facts=facts,
        as_of=_now(),
        approval=_approval(store, facts.record),
        previous=previous,
        comparison=comparison,
        has_previous_report=isinstance(previous, RunFacts) and (previous.folder / REPORT_FILE).is_file(),
        histories=read_histories(store, facts.record),
        worst=worst,
        previews=_previews(store, facts.record, worst, use_case),
        logs=_logs(facts),
        card=_card(store, facts),
        searches=read_searches(facts.record, store.artifacts.path),
    )


def essential_evidence(store: Store, record: RunRecord) -> Evidence:
    """Read what the run itself left behind: no comparison with another run, no samples, no model card.

    Args:
        store: the workspace of the run.
        record: of the run, as it is to be shown.
    """
    facts, left_out = facts_of(store, record), Missing("It is in the report of the run.")
    return Evidence(
        facts=facts,
        as_of=_now(),
        approval=_approval(store, record),
        previous=left_out,
        comparison=left_out,
        worst=left_out,
        histories=read_histories(store, record),
        logs=_logs(facts),
    )


def evidence_of_record(record: RunRecord, *, home: Path, reason: str) -> Evidence:
    """Return what the record alone says.

    Args:
        record: of the run.
        home: folder of the workspace that held it.
        reason: one sentence: why the workspace cannot be read.
    """
    missing = Missing(reason)
    facts = RunFacts(
        record=record, metrics=declared_metrics(record), evaluation=missing, folder=home / "runs" / record.run_id
    )
    return Evidence(
        facts=facts,
        as_of=_now(),
        approval=None if record.model_version is None else missing,
        previous=missing,
        comparison=missing,
        worst=missing,
        histories=(missing,),
    )


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def _logs(facts: RunFacts) -> dict[str, tuple[str, ...]]:
    failed = (step.name for step in facts.record.steps if step.status is StepStatus.FAILED)
    return {name: log_tail(facts.folder, name) for name in failed}


def _card(store: Store, facts: RunFacts) -> CardFacts | None:
    if isinstance(facts.evaluation, Missing):
        return None
    return card_facts_of(store, facts, version=facts.record.model_version)


def _previous(store: Store, facts: RunFacts) -> tuple[RunFacts, RunComparison] | tuple[Missing, Missing]:
    use_case = facts.record.use_case
    previous_id = previous_accepted(store, facts.record)
    if previous_id is None:
        missing = Missing(f"This workspace has no earlier accepted run of {use_case}.")
        return missing, missing
    try:
        previous = read_facts(store, previous_id)
        return previous, compare_runs(previous, facts)
    except (MlopsError, *DAMAGED) as error:
        missing = Missing(f"The record of run {previous_id} is damaged: {error}.")
        return missing, missing


def _approval(store: Store, record: RunRecord) -> str | Missing | None:
    if record.model_version is None:
        return None
    try:
        return str(Registry(store).version(record.use_case, record.model_version).status)
    except (MlopsError, *DAMAGED) as error:
        return Missing(str(error))


def _worst(store: Store, record: RunRecord) -> WorstSamples | Missing:
    folder = predictions_folder(store, record)
    if isinstance(folder, Missing):
        return folder
    try:
        return recorded_worst(store.manifests, folder, limit=_SAMPLES, per_confusion=_PER_CONFUSION)
    except (MlopsError, TypeError, ValueError) as error:
        return Missing(str(error))


def _previews(
    store: Store, record: RunRecord, worst: WorstSamples | Missing, use_case: UseCase | None
) -> dict[str, Preview | Missing]:
    if isinstance(worst, Missing):
        return {}
    samples = (judged.sample for judged in worst.samples)
    boxes = {judged.sample: judged.errors.boxes for judged in worst.samples if judged.errors is not None}
    return dict(read_previews(store, record, samples, use_case=use_case, boxes=boxes))
