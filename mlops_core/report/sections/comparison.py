"""The changes since the previous accepted run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.quantities import format_number
from mlops_core.report.facts import Missing
from mlops_core.report.kit import (
    Markup,
    Node,
    PageSection,
    callout,
    code,
    data_table,
    details,
    element,
    group,
    missing_note,
    muted,
)
from mlops_core.report.sections.metrics import change_badge
from mlops_core.report.sections.values import is_digest, shortened

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlops_core.report.comparison import Difference, RunComparison
    from mlops_core.report.evidence import Evidence
    from mlops_core.workspace.records import RunRecord

_TITLE = "Changes"
_SHOWN_ROWS = 12
_FOLDED_ROWS = 300
_VALUE_LENGTH = 200


def comparison_section(evidence: Evidence) -> PageSection:
    """Return the differences from the previous accepted run."""
    previous, comparison = evidence.previous, evidence.comparison
    if isinstance(previous, Missing) or isinstance(comparison, Missing):
        reason = previous.reason if isinstance(previous, Missing) else ""
        return PageSection(anchor="changes", title=_TITLE, body=missing_note(reason))
    return PageSection(
        anchor="changes",
        title=_TITLE,
        lead=_lead(evidence, previous.record),
        body=group(*_body(comparison)),
    )


def _lead(evidence: Evidence, previous: RunRecord) -> Markup:
    run: Node = group("run ", code(previous.run_id))
    hint: Node = None
    if evidence.has_previous_report:
        run = element("a", run, href=f"../{previous.run_id}/report.html")
    else:
        hint = group(" (no report yet: ", code(f"mlops runs report {previous.run_id}"), ")")
    return group("Compared with ", run, f" of {previous.created[:10]}, the previous accepted run", hint, ".")


def _body(comparison: RunComparison) -> Iterator[Markup]:
    if comparison.is_same_test_set is False:
        yield callout("warn", "The runs were evaluated on different test sets: their metrics are not comparable.")
    else:
        for reason, names in comparison.incomparabilities().items():
            yield callout("warn", f"Not comparable: {', '.join(names)}: {reason}.")
    if comparison.metrics:
        yield _metrics(comparison)
    if any(comparison.groups.values()):
        yield from _differences(comparison)
    unchanged = [name for name, differences in comparison.groups.items() if not differences]
    if unchanged:
        yield element("p", muted(f"Unchanged: {', '.join(unchanged)}."), class_="unchanged")
    command = f"mlops runs compare {comparison.earlier} {comparison.later}"
    yield element("p", "Compare in a terminal: ", code(command))


def _metrics(comparison: RunComparison) -> Markup:
    rows: list[tuple[Node, ...]] = [
        (
            entry.metric.title or entry.metric.name,
            format_number(entry.earlier.value if entry.earlier else None),
            format_number(entry.later.value if entry.later else None),
            change_badge(entry),
        )
        for entry in comparison.metrics
    ]
    return data_table("Metrics", ("Metric", "Previous run", "This run", "Change"), rows, class_="changes")


def _differences(comparison: RunComparison) -> Iterator[Markup]:
    rows = [(name, difference) for name, differences in comparison.groups.items() for difference in differences]
    yield _table("Other differences", rows[:_SHOWN_ROWS])
    folded = rows[_SHOWN_ROWS:]
    if folded:
        yield details(f"{len(folded)} more differences", _table("More differences", folded[:_FOLDED_ROWS]))
    if len(folded) > _FOLDED_ROWS:
        yield element("p", muted(f"{len(folded) - _FOLDED_ROWS} more are listed by the command below."))


def _table(caption: str, differences: Sequence[tuple[str, Difference]]) -> Markup:
    rows = [
        (code(difference.name), muted(name), _value(difference.earlier), _value(difference.later))
        for name, difference in differences
    ]
    return data_table(caption, ("Name", "Part of", "Previous run", "This run"), rows, class_="changes")


def _value(text: str) -> Node:
    if not text:
        return muted("not set")
    return element("code", shortened(text, limit=_VALUE_LENGTH), title=text if is_digest(text) else None)
