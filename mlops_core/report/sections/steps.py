"""The timeline of the steps: when each one ran, which were reused from which run, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.quantities import format_duration
from mlops_core.report.kit import (
    BadgeKind,
    Markup,
    Node,
    PageSection,
    badge,
    callout,
    code,
    details,
    element,
    facts_list,
    group,
    lines,
    missing_note,
    muted,
    span_bar,
)
from mlops_core.report.sections.step_groups import SHOWN_STEPS, StepGroup, group_steps, span_of
from mlops_core.report.sections.values import shortened
from mlops_core.report.timeline import Bar, Timeline, timeline
from mlops_core.workspace.records import StepStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlops_core.report.evidence import Evidence
    from mlops_core.workspace.records import StepRecord

_STEP_KINDS: Mapping[StepStatus, BadgeKind] = {
    StepStatus.DONE: "good",
    StepStatus.REUSED: "reused",
    StepStatus.FAILED: "bad",
    StepStatus.STOPPED: "warn",
    StepStatus.RUNNING: "plain",
    StepStatus.PENDING: "plain",
    StepStatus.SKIPPED: "plain",
}
_CHANGES = 20
_CHANGE_LENGTH = 60
_ORIGINS = 3


def steps_section(evidence: Evidence) -> PageSection:
    """Return the timeline of the steps."""
    record = evidence.record
    if not record.steps:
        return PageSection(anchor="steps", title="Steps", body=missing_note("no step was recorded."))
    axis = timeline(record)
    bars = {bar.step.name: bar for bar in axis.bars}
    alone, groups = (record.steps, ()) if len(record.steps) <= SHOWN_STEPS else group_steps(record.steps)
    items = (
        *(_step(evidence, step, bars.get(step.name)) for step in alone),
        *(_group(evidence, steps, bars) for steps in groups),
    )
    return PageSection(
        anchor="steps",
        title="Steps",
        lead=_summary(evidence, axis),
        body=group(_axis(axis) if bars else None, element("ol", *items, class_="timeline"), _shortened_axis_note(axis)),
    )


def _summary(evidence: Evidence, axis: Timeline) -> str:
    record = evidence.record
    sentences = [f"Total duration {format_duration(record.duration_s)}."]
    if axis.bars:
        overlap = f", up to {axis.max_parallel} in parallel" if axis.max_parallel > 1 else ""
        sentences.append(f"{_count(len(axis.bars), 'step')} ran for {format_duration(axis.work_s)}{overlap}.")
    reused = sum(step.status is StepStatus.REUSED for step in record.steps)
    if reused:
        saved = format_duration(axis.saved_s)
        sentences.append(f"{reused} of {_count(len(record.steps), 'step')} reused from the cache, saving {saved}.")
    return " ".join(sentences)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _axis(axis: Timeline) -> Markup:
    ticks = (element("span", format_duration(axis.span_s * number / 4)) for number in range(5))
    return element("div", element("div", *ticks, class_="axis"), class_="timeline-axis", aria_hidden="true")


def _shortened_axis_note(axis: Timeline) -> Markup | None:
    if not axis.is_shortened:
        return None
    return element("p", muted("Idle time, while the run was interrupted, is shortened."))


def _step(evidence: Evidence, step: StepRecord, bar: Bar | None) -> Markup:
    return element(
        "li",
        element("div", code(step.name), badge(str(step.status), _STEP_KINDS[step.status]), class_="step-name"),
        element("div", _bar(step, bar), class_="step-bar"),
        element("div", _duration(step), class_="step-duration"),
        element("div", lines(*_remarks(evidence, step)), class_="step-remarks"),
    )


def _group(evidence: Evidence, steps: StepGroup, bars: Mapping[str, Bar]) -> Markup:
    span = span_of([bars[step.name] for step in steps.steps if step.name in bars])
    label = f"{steps.name}: {_count(len(steps.steps), 'step')}, {format_duration(steps.duration_s)}, {steps.status}"
    kind = _STEP_KINDS[steps.status]
    bar = (
        span_bar(start=span[0], length=span[1], kind=kind, label=label)
        if span
        else element("span", str(steps.status), class_="no-bar")
    )
    saved = " saved" if steps.status is StepStatus.REUSED else ""
    origins = list(dict.fromkeys(step.reused_from for step in steps.steps if step.reused_from))
    remarks: tuple[Markup | None, ...] = (
        *(group("Reused from run ", _run_link(evidence, origin)) for origin in origins[:_ORIGINS]),
        muted(steps.reason) if steps.reason and not origins else None,
        details(_count(len(steps.steps), "step"), element("pre", steps.listing())),
    )
    return element(
        "li",
        element("div", code(steps.name), badge(str(steps.status), kind), class_="step-name"),
        element("div", bar, class_="step-bar"),
        element("div", f"{format_duration(steps.duration_s)}{saved}", class_="step-duration"),
        element("div", lines(*remarks), class_="step-remarks"),
    )


def _bar(step: StepRecord, bar: Bar | None) -> Markup:
    if bar is None:
        return element("span", str(step.status), class_="no-bar")
    label = f"{step.name}: {format_duration(step.duration_s)}, {step.status}"
    return span_bar(start=bar.start, length=bar.length, kind=_STEP_KINDS[step.status], label=label)


def _duration(step: StepRecord) -> Node:
    if step.status is StepStatus.REUSED:
        return f"{format_duration(step.duration_s)} saved"
    return format_duration(step.duration_s) if step.started else muted("-")


def _remarks(evidence: Evidence, step: StepRecord) -> Iterator[Node]:
    if step.reused_from:
        yield group("Reused from run ", _run_link(evidence, step.reused_from))
    if step.because and not (step.reused_from and step.reused_from in step.because):
        yield muted(step.because)
    if step.attempts > 1:
        yield f"{step.attempts} attempts"
    if step.warning:
        yield callout("warn", step.warning)
    if step.error:
        yield callout("bad", step.error)
    if len(step.changes) > 1:  # a single change is part of the reason above
        yield _changes(step)
    if (evidence.facts.folder / "logs" / f"{step.name}.log").is_file():
        yield element("a", "Log", href=f"logs/{step.name}.log", aria_label=f"Log of {step.name}")


def _changes(step: StepRecord) -> Markup:
    shown = {
        change.component: group(_value(change.old), " → ", _value(change.new)) for change in step.changes[:_CHANGES]
    }
    more = len(step.changes) - len(shown)
    remark = element("p", muted(f"and {more} more")) if more else None
    return details(f"Changes since the cached execution ({len(step.changes)})", facts_list(shown), remark)


def _run_link(evidence: Evidence, run_id: str) -> Markup:
    has_report = (evidence.facts.folder.parent / run_id / "report.html").is_file()
    return element("a", code(run_id), href=f"../{run_id}/report.html") if has_report else code(run_id)


def _value(text: str) -> Markup:
    return code(shortened(text, limit=_CHANGE_LENGTH))
