"""The record of a run as the output of a cell: how it ended, the clauses of the gate, metrics, training curves.

It is made from the record; metrics and curves are read from the workspace at that moment. If the workspace or a part of
it is gone, the output says so in the place of what is missing.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from mlops_core.errors import MlopsError
from mlops_core.quantities import format_duration
from mlops_core.report.evidence import DAMAGED, essential_evidence, evidence_of_record
from mlops_core.report.facts import REPORT_FILE, Missing
from mlops_core.report.kit import badge, code, details, element, group
from mlops_core.report.notebook.output import output_html
from mlops_core.report.sections.metrics import metrics_section
from mlops_core.report.sections.overview import STATUS_KINDS, key_figures, outcome_of
from mlops_core.report.sections.training import training_section
from mlops_core.report.sections.verdict import verdict_section
from mlops_core.workspace.database import DATABASE
from mlops_core.workspace.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlops_core.report.evidence import Evidence
    from mlops_core.report.kit import Markup, PageSection
    from mlops_core.workspace.records import RunRecord


def record_html(record: RunRecord, *, home: Path) -> str:
    """Return the record of a run as the output of a cell.

    Args:
        record: of the run.
        home: folder of its workspace; it need not exist any more, and is not created.
    """
    return output_html(title_of(record), *_parts(_evidence(record, home)))


def title_of(record: RunRecord, *, duration_s: float | None = None) -> Markup:
    """Return use case, id, status and duration of a run as one line.

    Args:
        record: of the run.
        duration_s: how long it has been running; None for the duration in the record.
    """
    shown = format_duration(record.duration_s if duration_s is None else duration_s)
    status = badge(str(record.status), STATUS_KINDS[record.status])
    return element(
        "p", element("strong", record.use_case), " run ", code(record.run_id), " ", status, f" {shown}", class_="title"
    )


def _evidence(record: RunRecord, home: Path) -> Evidence:
    """Read what the workspace still has; opening a workspace that is gone would create it."""
    try:
        if not (home / DATABASE).exists():
            return evidence_of_record(record, home=home, reason=f"The workspace {home} does not exist any more.")
        with Store(home) as store:
            return essential_evidence(store, record)
    except (MlopsError, OSError, sqlite3.Error, *DAMAGED) as error:
        return evidence_of_record(record, home=home, reason=f"The workspace {home} cannot be read: {error}")


def _parts(evidence: Evidence) -> list[Markup]:
    record = evidence.record
    return [
        element("p", outcome_of(record), class_="outcome"),
        element("ul", *key_figures(evidence), class_="tiles"),
        _section(verdict_section(evidence)),
        *_metrics(evidence),
        _section(training_section(evidence)),
        *_links(evidence),
    ]


def _metrics(evidence: Evidence) -> Iterator[Markup]:
    if not isinstance(evidence.facts.evaluation, Missing):
        yield details("All metrics", metrics_section(evidence).body)


def _links(evidence: Evidence) -> Iterator[Markup]:
    report = evidence.facts.folder / REPORT_FILE
    if report.is_file():
        yield element("p", "Report: ", code(str(report)), class_="small")


def _section(section: PageSection) -> Markup:
    """Return a section of a report without its anchor: a notebook may show the same run twice."""
    lead = element("p", section.lead, class_="lead") if section.lead else None
    return element("section", group(element("h4", section.title), lead, section.body))
