"""The steps in time: what ran when and side by side, what was reused and from where, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.quantities import format_duration
from mlops_core.report.blocks import PageSection, badge, callout, code, details, facts_list, lines, missing_note, muted
from mlops_core.report.charts import bar_chart
from mlops_core.report.markup import Markup, Node, element, group
from mlops_core.report.timeline import Bar, Timeline, timeline
from mlops_core.workspace.records import StepStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_core.report.evidence import Evidence
    from mlops_core.workspace.records import StepRecord

STEP_KINDS = {
    StepStatus.DONE: "good",
    StepStatus.REUSED: "reused",
    StepStatus.FAILED: "bad",
    StepStatus.STOPPED: "warn",
    StepStatus.RUNNING: "plain",
    StepStatus.PENDING: "plain",
    StepStatus.SKIPPED: "plain",
}
_CHANGES = 20


def steps_section(evidence: Evidence) -> PageSection:
    """Return the timeline."""
    record = evidence.record
    if not record.steps:
        return PageSection(anchor="steps", title="Steps", body=missing_note("no step was recorded."))
    drawn = timeline(record)
    bars = {bar.step.name: bar for bar in drawn.bars}
    return PageSection(
        anchor="steps",
        title="Steps",
        lead=_summary(evidence, drawn),
        body=group(
            _axis(drawn) if bars else None,
            element("ol", *(_step(evidence, step, bars.get(step.name)) for step in record.steps), class_="timeline"),
            _shortened(drawn),
        ),
    )


def _summary(evidence: Evidence, drawn: Timeline) -> str:
    record = evidence.record
    reused = [step for step in record.steps if step.status is StepStatus.REUSED]
    told = [f"{format_duration(record.duration_s)} for the whole run."]
    if drawn.bars:
        overlap = ", one after the other" if len(drawn.bars) > 1 else ""
        if drawn.most_at_once > 1:
            overlap = f", up to {drawn.most_at_once} at once"
        told.append(f"{_count(len(drawn.bars), 'step')} worked for {format_duration(drawn.work_s)}{overlap}.")
    if reused:
        told.append(
            f"{_count(len(reused), 'step')} of {len(record.steps)} came from the cache, "
            f"which saved {format_duration(drawn.saved_s)}."
        )
    return " ".join(told)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _axis(drawn: Timeline) -> Markup:
    ticks = (element("span", format_duration(drawn.span_s * at / 4)) for at in range(5))
    return element("div", element("div", *ticks, class_="axis"), class_="timeline-axis", aria_hidden="true")


def _shortened(drawn: Timeline) -> Markup | None:
    if not drawn.is_shortened:
        return None
    return element("p", muted("Long times without work (the run was interrupted) are drawn short."))


def _step(evidence: Evidence, step: StepRecord, bar: Bar | None) -> Markup:
    return element(
        "li",
        element("div", code(step.name), badge(str(step.status), STEP_KINDS[step.status]), class_="step-name"),
        element("div", _bar(step, bar), class_="step-bar"),
        element("div", _duration(step), class_="step-duration"),
        element("div", lines(*_remarks(evidence, step)), class_="step-remarks"),
    )


def _bar(step: StepRecord, bar: Bar | None) -> Markup:
    if bar is None:
        return element("span", "reused" if step.status is StepStatus.REUSED else str(step.status), class_="no-bar")
    label = f"{step.name}: {format_duration(step.duration_s)}, {step.status}"
    return bar_chart(start=bar.start, length=bar.length, kind=STEP_KINDS[step.status], label=label)


def _duration(step: StepRecord) -> Node:
    if step.status is StepStatus.REUSED:
        return group(element("s", format_duration(step.duration_s)), " saved")
    return format_duration(step.duration_s) if step.started else muted("-")


def _remarks(evidence: Evidence, step: StepRecord) -> Iterator[Node]:
    if step.reused_from:
        yield group("reused from run ", _run_link(evidence, step.reused_from))
    if step.because and not (step.reused_from and step.reused_from in step.because):
        yield muted(step.because)
    if step.attempts > 1:
        yield f"{step.attempts} attempts"
    if step.warning:
        yield callout("warn", step.warning)
    if step.error:
        yield callout("bad", step.error)
    if len(step.changes) > 1:  # a single one stands in the sentence above
        shown = {change.component: _change(change.old, change.new) for change in step.changes[:_CHANGES]}
        more = len(step.changes) - len(shown)
        rest = element("p", muted(f"and {more} more")) if more else None
        yield details(f"What has changed ({len(step.changes)})", facts_list(shown), rest)
    if (evidence.facts.folder / "logs" / f"{step.name}.log").is_file():
        yield element("a", "log", href=f"logs/{step.name}.log", aria_label=f"log of {step.name}")


def _run_link(evidence: Evidence, run_id: str) -> Markup:
    is_there = (evidence.facts.folder.parent / run_id / "report.html").is_file()
    return element("a", code(run_id), href=f"../{run_id}/report.html") if is_there else code(run_id)


def _change(old: str, new: str) -> Markup:
    return group(code(_shown(old)), " → ", code(_shown(new)))


def _shown(value: str) -> str:
    is_digest = len(value) == 64 and all(sign in "0123456789abcdef" for sign in value)
    text = value[:12] if is_digest else value
    return text if len(text) <= 60 else f"{text[:59]}…"
