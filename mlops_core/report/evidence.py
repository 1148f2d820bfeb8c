"""Everything that the page of one run shows, gathered from the workspace; what cannot be had is a `Missing`."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.errors import MlopsError
from mlops_core.report.comparison import RunComparison, compare_runs
from mlops_core.report.facts import Missing, RunFacts, log_tail, predictions_folder, previous_accepted, read_facts
from mlops_core.report.histories import read_histories
from mlops_core.report.worst import WorstSamples, find_worst
from mlops_core.workspace.records import StepStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlops_core.datasets.previews import Preview
    from mlops_core.report.histories import History
    from mlops_core.use_cases.manager import UseCase
    from mlops_core.workspace.records import RunRecord
    from mlops_core.workspace.store import Store

REPORT_FILE = "report.html"
DAMAGED = (AttributeError, IndexError, KeyError, TypeError, ValueError)
"""What a record that was changed by hand, or written by another version, leads to: its parts are of other types."""
_SAMPLES = 12
_PREVIEWS_BYTES = 2_500_000
_PREVIEWS_S = 3.0
"""A hook that is slow or generous makes a report with fewer previews, not a slow or huge one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of a run.

    Attributes:
        facts: of the run.
        previous: of the last run that was accepted before it.
        comparison: of the two.
        has_previous_report: that run's page is there to be linked.
        histories: of its training steps.
        worst: the samples that the model gets most wrong.
        previews: sample -> what it looks or sounds like.
        logs: failed step -> the end of its log.
    """

    facts: RunFacts
    previous: RunFacts | Missing
    comparison: RunComparison | Missing
    worst: WorstSamples | Missing
    has_previous_report: bool = False
    histories: tuple[History | Missing, ...] = ()
    previews: Mapping[str, Preview | Missing] = field(default_factory=dict)
    logs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def record(self) -> RunRecord:
        """The run's record."""
        return self.facts.record


def gather(store: Store, run_id: str) -> Evidence:
    """Return what is known of a run.

    Raises:
        UsageError: there is no such run.
        StoreError: its record is damaged.
    """
    facts = read_facts(store, run_id)
    previous, comparison = _previous(store, facts)
    worst = _worst(store, facts.record)
    return Evidence(
        facts=facts,
        previous=previous,
        comparison=comparison,
        has_previous_report=isinstance(previous, RunFacts) and (previous.folder / REPORT_FILE).is_file(),
        histories=read_histories(store, facts.record),
        worst=worst,
        previews=dict(_previews(facts.record, worst)) if isinstance(worst, WorstSamples) else {},
        logs={
            step.name: log_tail(facts.folder, step.name)
            for step in facts.record.steps
            if step.status is StepStatus.FAILED
        },
    )


def _previous(store: Store, facts: RunFacts) -> tuple[RunFacts, RunComparison] | tuple[Missing, Missing]:
    use_case = facts.record.use_case
    found = previous_accepted(store, facts.record)
    if found is None:
        missing = Missing(f"No run of {use_case} in this workspace was accepted before this one.")
        return missing, missing
    try:
        previous = read_facts(store, found)
        return previous, compare_runs(previous, facts)
    except (MlopsError, *DAMAGED) as error:
        missing = Missing(f"The record of run {found} is damaged: {error}.")
        return missing, missing


def _worst(store: Store, record: RunRecord) -> WorstSamples | Missing:
    folder = predictions_folder(store, record)
    if isinstance(folder, Missing):
        return folder
    try:
        return find_worst(folder, limit=_SAMPLES)
    except (MlopsError, TypeError, ValueError) as error:
        return Missing(str(error))


def _previews(record: RunRecord, worst: WorstSamples) -> Iterator[tuple[str, Preview | Missing]]:
    """Yield each sample with its preview, as long as there is room and time."""
    use_case = _use_case(record)
    room, end = _PREVIEWS_BYTES, time.monotonic() + _PREVIEWS_S
    for sample in (judged.sample for judged in worst.samples):
        if isinstance(use_case, Missing):
            yield sample, use_case
            continue
        if time.monotonic() > end:
            yield sample, Missing("No preview: making the others took too long.")
            continue
        preview = _preview(use_case, record, sample)
        if not isinstance(preview, Missing):
            if len(preview.data) > room:
                preview = Missing("No preview: the page has no room for it.")
            else:
                room -= len(preview.data)
        yield sample, preview


def _use_case(record: RunRecord) -> UseCase | Missing:
    from mlops_core.use_cases.manager import load_use_case

    if record.dataset is None or not Path(record.dataset.path).is_dir():
        return Missing("No preview: the data are no longer where the run read them.")
    try:
        return load_use_case(record.use_case)
    except MlopsError as error:
        return Missing(f"No preview: {error}")


def _preview(use_case: UseCase, record: RunRecord, sample: str) -> Preview | Missing:
    folder = Path(record.dataset.path if record.dataset else "")
    try:
        found = use_case.sample_preview(sample, folder)
    except MlopsError as error:
        return Missing(f"No preview: {error}")
    return found or Missing("No preview of this sample.")
