"""The top of the page: what was run, how it ended, and the verdict with each clause of the gate."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from mlops_core.metrics import MetricReport
from mlops_core.quantities import format_duration, format_number, format_size
from mlops_core.report.blocks import PageSection, badge, callout, code, details, missing_note
from mlops_core.report.charts import interval_chart
from mlops_core.report.markup import Markup, Node, element, group
from mlops_core.report.metrics_section import interval_mark, interval_text, legend, metric_scale
from mlops_core.workspace.records import RunStatus, StepStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_core.conditions import ClauseVerdict
    from mlops_core.report.evidence import Evidence
    from mlops_core.workspace.records import RunRecord

STATUS_KINDS = {
    RunStatus.ACCEPTED: "good",
    RunStatus.REJECTED: "bad",
    RunStatus.FAILED: "bad",
    RunStatus.STOPPED: "warn",
    RunStatus.PARTIAL: "warn",
    RunStatus.RUNNING: "plain",
}


def page_header(evidence: Evidence) -> Markup:
    """Return the head of the page."""
    record = evidence.record
    return element(
        "header",
        element("p", " · ".join(_origin(record)), class_="eyebrow"),
        element("h1", "Run ", element("span", record.run_id, class_="run-id"), " ", status_badge(record)),
        element("p", _outcome(record), class_="outcome"),
        _data_note(record),
        element("ul", *_tiles(evidence), class_="tiles"),
        class_="page-header",
    )


def _origin(record: RunRecord) -> Iterator[str]:
    yield record.use_case
    yield record.plugin
    yield f"{record.created[:10]} {record.created[11:19]} UTC"
    yield f"seed {record.seed}"


def status_badge(record: RunRecord) -> Markup:
    """Return how a run ended."""
    return badge(str(record.status), STATUS_KINDS[record.status])


def _outcome(record: RunRecord) -> Node:
    match record.status:
        case RunStatus.ACCEPTED:
            version = record.model_version
            kept = f"It is version {version} in the registry." if version is not None else "It was not registered."
            return f"The model meets its gate. {kept}"
        case RunStatus.REJECTED:
            return f"The gate rejected the model, and nothing was registered. {record.error}"
        case RunStatus.FAILED:
            return f"The run failed: {record.error or 'no reason was recorded'}"
        case RunStatus.STOPPED:
            return "The run was stopped before it was done; no verdict was reached."
        case RunStatus.PARTIAL:
            return "The steps that were asked for are done; the gate was not asked."
    return "The run was not finished when this page was written."


def _data_note(record: RunRecord) -> Markup | None:
    if record.dataset is None or not record.dataset.is_generated:
        return None
    return callout(
        "warn",
        element("strong", "Generated data. "),
        f"{record.dataset.name} is made by code; the figures say nothing about recordings of the world.",
    )


def _tiles(evidence: Evidence) -> Iterator[Markup]:
    record = evidence.record
    yield from _metric_tiles(evidence)
    yield _tile("Duration", format_duration(record.duration_s), _step_counts(record))
    if record.dataset:
        size = format_size(record.dataset.size_bytes)
        yield _tile("Data", record.dataset.name, f"{record.dataset.files} files, {size}")
    if record.model_version is not None:
        yield _tile("Model", f"Version {record.model_version}", record.alias_note)


def _step_counts(record: RunRecord) -> str:
    counts = Counter(step.status for step in record.steps)
    shown = {"run": counts[StepStatus.DONE], "reused": counts[StepStatus.REUSED], "failed": counts[StepStatus.FAILED]}
    told = ", ".join(f"{count} {what}" for what, count in shown.items() if count)
    return f"steps: {told}" if told else "no step was done"


def _metric_tiles(evidence: Evidence) -> Iterator[Markup]:
    report = evidence.facts.evaluation
    if not isinstance(report, MetricReport):
        return
    for metric in evidence.facts.metrics[:3]:
        value = report.values.get(metric.name)
        if value:
            yield _tile(metric.title or metric.name, format_number(value.value), interval_text(value))


def _tile(name: str, value: str, note: str) -> Markup:
    return element(
        "li",
        element("span", name, class_="tile-name"),
        element("strong", value, class_="tile-value"),
        element("span", note, class_="tile-note") if note else None,
    )


def verdict_section(evidence: Evidence) -> PageSection:
    """Return the verdict with each clause, and what failed where there is no verdict."""
    record = evidence.record
    if record.verdict is None:
        body = group(missing_note(_no_verdict(record)), *_failures(evidence), _next_command(record))
        return PageSection(anchor="verdict", title="Verdict", body=body)
    clauses = record.verdict.clauses
    passed = sum(clause.passed for clause in clauses)
    return PageSection(
        anchor="verdict",
        title="Verdict",
        lead=group(
            badge("accepted" if record.verdict.accepted else "rejected", "good" if record.verdict.accepted else "bad"),
            f" {passed} of {len(clauses)} clauses of the gate are met.",
        ),
        body=group(
            element("ul", *(_clause(evidence, clause) for clause in clauses), class_="clauses"),
            legend(),
            element("p", record.verdict.message, class_="message") if record.verdict.message else None,
            *_failures(evidence),
            _next_command(record),
        ),
    )


def _next_command(record: RunRecord) -> Markup | None:
    """Return what a reader may want to do now, as it is typed into a terminal."""
    if record.model_version is not None:
        approve = f"mlops models approve {record.model_version} --usecase {record.use_case} --why REASON"
        return element("p", "To approve the model: ", code(approve))
    if record.status in (RunStatus.FAILED, RunStatus.STOPPED):
        return element("p", "To go on where it ended: ", code(f"mlops run --resume {record.run_id}"))
    return None


def _clause(evidence: Evidence, clause: ClauseVerdict) -> Markup:
    return element(
        "li",
        element(
            "div",
            badge("pass" if clause.passed else "fail", "good" if clause.passed else "bad"),
            " ",
            code(clause.clause),
            class_="clause-name",
        ),
        element(
            "div",
            element("span", "value ", element("strong", format_number(clause.value))),
            element("span", "threshold ", element("strong", format_number(clause.threshold))),
            class_="clause-values",
        ),
        element("div", clause.reason, class_="clause-reason"),
        _clause_chart(evidence, clause),
        class_="good" if clause.passed else "bad",
    )


def _clause_chart(evidence: Evidence, clause: ClauseVerdict) -> Markup | None:
    metric = next((metric for metric in evidence.facts.metrics if metric.name == clause.metric), None)
    if metric is None:
        return None
    mark = interval_mark(evidence, metric, is_good=clause.passed)
    label = (
        f"{metric.title or metric.name}: {format_number(clause.value)}, threshold {format_number(clause.threshold)}, "
        f"{'met' if clause.passed else 'not met'}"
    )
    return element("div", interval_chart(mark, metric_scale(metric, mark), label=label), class_="clause-chart")


def _no_verdict(record: RunRecord) -> str:
    if record.status is RunStatus.RUNNING:
        return "the gate has not been reached yet."
    return f"the gate was not reached; the run is {record.status}."


def _failures(evidence: Evidence) -> Iterator[Markup]:
    """Yield each failed step with the end of its log."""
    for step in evidence.record.steps:
        if step.status is not StepStatus.FAILED:
            continue
        log = evidence.logs.get(step.name, ())
        yield callout("bad", element("strong", f"Step {step.name} failed. "), step.error)
        if log:
            yield details(
                f"The end of the log of {step.name}", element("pre", "\n".join(log), tabindex=0), is_open=True
            )
