"""The header of the report: what ran, how it ended, and the key figures."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from mlops_core.evaluation.metrics import MetricReport
from mlops_core.quantities import counted, format_duration, format_number, format_size
from mlops_core.report.facts import REPORT_FILE
from mlops_core.report.kit import BadgeKind, Markup, badge, callout, element, muted, tile
from mlops_core.report.sections.groups import headline_metrics
from mlops_core.report.sections.metrics import interval_text
from mlops_core.report.sections.values import as_of
from mlops_core.workspace.model_versions import ApprovalStatus
from mlops_core.workspace.records import RunStatus, StepStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mlops_core.report.evidence import Evidence
    from mlops_core.workspace.records import RunRecord

STATUS_KINDS: Mapping[RunStatus, BadgeKind] = {
    RunStatus.ACCEPTED: "good",
    RunStatus.REJECTED: "bad",
    RunStatus.UNDECIDED: "warn",
    RunStatus.FAILED: "bad",
    RunStatus.STOPPED: "warn",
    RunStatus.PARTIAL: "warn",
    RunStatus.RUNNING: "plain",
}
_APPROVALS: Mapping[str, str] = {
    ApprovalStatus.PENDING: "pending approval",
    ApprovalStatus.APPROVED: "approved",
    ApprovalStatus.REJECTED: "rejected",
}


def page_header(evidence: Evidence, *, losses: Sequence[str] = ()) -> Markup:
    """Return the header of the report, with what it lacks of an earlier report of the run."""
    record = evidence.record
    status = badge(str(record.status), STATUS_KINDS[record.status])
    return element(
        "header",
        element("p", " · ".join(_origin(record)), class_="eyebrow"),
        element("h1", "Run ", element("span", record.run_id, class_="run-id"), " ", status),
        element("p", outcome_of(record), class_="outcome"),
        element("p", muted(record.alias_note)) if record.alias_note else None,
        _losses_note(losses),
        _generated_data_note(record),
        element("ul", *key_figures(evidence), class_="tiles"),
        class_="page-header",
    )


def _origin(record: RunRecord) -> Iterator[str]:
    yield record.use_case
    yield record.plugin
    yield f"{record.created[:10]} {record.created[11:19]} UTC"
    yield f"seed {record.seed}"


def outcome_of(record: RunRecord) -> str:
    """Return how a run ended, in one or two sentences."""
    version = record.model_version
    registration = "was not registered" if version is None else f"is registered as version {version}"
    return {
        RunStatus.ACCEPTED: f"The model passed the gate and {registration}.",
        RunStatus.REJECTED: f"The gate rejected the model. Nothing was registered. {record.error}",
        RunStatus.UNDECIDED: f"The test set is too small to decide. Nothing was registered. {record.error}",
        RunStatus.FAILED: f"The run failed: {record.error or 'no reason was recorded'}",
        RunStatus.STOPPED: "The run was stopped before it finished. There is no verdict.",
        RunStatus.PARTIAL: "The selected steps finished. The gate was not evaluated.",
        RunStatus.RUNNING: "The run had not finished when this report was generated.",
    }[record.status]


def _losses_note(losses: Sequence[str]) -> Markup | None:
    if not losses:
        return None
    lead = element("strong", "Incomplete report. ")
    where = f"An earlier report of this run, {REPORT_FILE} in the same folder, shows more: "
    return callout("warn", lead, where, "; ".join(losses), ".")


def _generated_data_note(record: RunRecord) -> Markup | None:
    if record.dataset is None or not record.dataset.is_generated:
        return None
    return callout(
        "warn",
        element("strong", "Generated data. "),
        f"The data set {record.dataset.name} is synthetic: these results say nothing about real-world data.",
    )


def key_figures(evidence: Evidence) -> Iterator[Markup]:
    """Yield the items of the list with the metrics, the duration, the data and the model."""
    record = evidence.record
    yield from _metric_tiles(evidence)
    yield tile("Duration", format_duration(record.duration_s), _step_counts(record))
    if record.dataset:
        size = format_size(record.dataset.size_bytes)
        yield tile("Data set", record.dataset.name, f"{counted(record.dataset.files, 'file')}, {size}")
    if record.model_version is not None:
        approval = _APPROVALS.get(str(evidence.approval), "not in the registry")
        yield tile("Model", f"Version {record.model_version}", f"{approval} on {as_of(evidence)}")


def _step_counts(record: RunRecord) -> str:
    counts = Counter(step.status for step in record.steps)
    shown = {"run": StepStatus.DONE, "reused": StepStatus.REUSED, "failed": StepStatus.FAILED}
    phrases = ", ".join(f"{counts[status]} {verb}" for verb, status in shown.items() if counts[status])
    return f"Steps: {phrases}" if phrases else "No step finished"


def _metric_tiles(evidence: Evidence) -> Iterator[Markup]:
    report = evidence.facts.evaluation
    if not isinstance(report, MetricReport):
        return
    for metric in headline_metrics(evidence.record, evidence.facts.metrics):
        value = report.values.get(metric.name)
        if value:
            yield tile(metric.title or metric.name, format_number(value.value), interval_text(value))
