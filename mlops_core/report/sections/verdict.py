"""The verdict: each clause of the gate with its value, and the errors and logs of failed steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.gates.verdicts import GateOutcome
from mlops_core.quantities import format_number
from mlops_core.report.kit import (
    BadgeKind,
    Markup,
    PageSection,
    badge,
    callout,
    code,
    details,
    element,
    group,
    interval_chart,
    missing_note,
)
from mlops_core.report.sections.metrics import interval_legend, interval_mark, metric_scale
from mlops_core.report.sections.values import as_of
from mlops_core.workspace.model_versions import ApprovalStatus
from mlops_core.workspace.records import RunStatus, StepStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlops_core.gates.verdicts import ClauseVerdict, Verdict
    from mlops_core.report.evidence import Evidence
    from mlops_core.workspace.records import RunRecord


_OUTCOME_KINDS: Mapping[GateOutcome, BadgeKind] = {
    GateOutcome.ACCEPTED: "good",
    GateOutcome.REJECTED: "bad",
    GateOutcome.UNDECIDED: "warn",
}
_CLAUSE_WORDS = {
    GateOutcome.ACCEPTED: "passed",
    GateOutcome.REJECTED: "failed",
    GateOutcome.UNDECIDED: str(GateOutcome.UNDECIDED),
}
_APPROVAL_KINDS: Mapping[str, BadgeKind] = {
    ApprovalStatus.APPROVED: "good",
    ApprovalStatus.REJECTED: "bad",
    ApprovalStatus.PENDING: "warn",
}


def verdict_section(evidence: Evidence) -> PageSection:
    """Return the verdict with each clause, and the failed steps."""
    record = evidence.record
    if record.verdict is None:
        body = group(missing_note(_no_verdict(record)), *_failures(evidence), _next_command(evidence))
        return PageSection(anchor="verdict", title="Verdict", body=body)
    return PageSection(
        anchor="verdict",
        title="Verdict",
        lead=_summary(record.verdict),
        body=group(
            element("ul", *(_clause(evidence, clause) for clause in record.verdict.clauses), class_="clauses"),
            interval_legend(evidence),
            element("p", record.verdict.message, class_="message") if record.verdict.message else None,
            *_failures(evidence),
            _next_command(evidence),
        ),
    )


def _summary(verdict: Verdict) -> Markup:
    status = badge(str(verdict.outcome), _OUTCOME_KINDS[verdict.outcome])
    passed = sum(clause.passed for clause in verdict.clauses)
    return group(status, f" {passed} of {len(verdict.clauses)} gate clauses passed.")


def _no_verdict(record: RunRecord) -> str:
    if record.status is RunStatus.RUNNING:
        return "the run has not reached its gate yet."
    return f"the gate was not evaluated (run status: {record.status})."


def _next_command(evidence: Evidence) -> Markup | None:
    """Return the state of the model, and the command that a reader is likely to run next."""
    record = evidence.record
    if record.model_version is not None:
        return group(_approval(evidence), _approve_command(evidence))
    if record.status in (RunStatus.FAILED, RunStatus.STOPPED):
        return element("p", "Resume the run: ", code(f"mlops run --resume {record.run_id}"))
    return None


def _approval(evidence: Evidence) -> Markup:
    version, moment = evidence.record.model_version, as_of(evidence)
    if not isinstance(evidence.approval, str):
        return element("p", f"Version {version} was not in the registry on {moment}.")
    kind: BadgeKind = _APPROVAL_KINDS.get(evidence.approval, "plain")
    return element("p", f"Version {version} on {moment}: ", badge(evidence.approval, kind))


def _approve_command(evidence: Evidence) -> Markup | None:
    record = evidence.record
    if evidence.approval != ApprovalStatus.PENDING:
        return None
    approve = f"mlops models approve {record.model_version} --usecase {record.use_case} --why REASON"
    return element("p", "Approve the model: ", code(approve))


def _clause(evidence: Evidence, clause: ClauseVerdict) -> Markup:
    status = badge(_CLAUSE_WORDS[clause.outcome], _OUTCOME_KINDS[clause.outcome])
    return element(
        "li",
        element("div", status, " ", code(clause.clause), class_="clause-name"),
        element(
            "div",
            element("span", "value ", element("strong", format_number(clause.value))),
            element("span", "threshold ", element("strong", format_number(clause.threshold))),
            class_="clause-values",
        ),
        element("div", clause.reason, class_="clause-reason"),
        _clause_chart(evidence, clause),
        class_=_OUTCOME_KINDS[clause.outcome],
    )


def _clause_chart(evidence: Evidence, clause: ClauseVerdict) -> Markup | None:
    metric = next((metric for metric in evidence.facts.metrics if metric.name == clause.metric), None)
    if metric is None or clause.clause.removeprefix("not ").partition(" ")[0].partition(".")[0] != metric.name:
        return None  # a slice of the test set, whose interval is not that of the metric
    mark = interval_mark(evidence, metric, is_good=clause.passed)
    label = (
        f"{metric.title or metric.name}: {format_number(clause.value)}, threshold {format_number(clause.threshold)}, "
        f"{_CLAUSE_WORDS[clause.outcome]}"
    )
    return element("div", interval_chart(mark, metric_scale(metric, mark), label=label), class_="clause-chart")


def _failures(evidence: Evidence) -> Iterator[Markup]:
    """Yield each failed step with the end of its log."""
    for step in evidence.record.steps:
        if step.status is not StepStatus.FAILED:
            continue
        log = evidence.logs.get(step.name, ())
        yield callout("bad", element("strong", f"Step {step.name} failed. "), step.error)
        if log:
            yield details(f"Last log lines of {step.name}", element("pre", "\n".join(log), tabindex=0), is_open=True)
