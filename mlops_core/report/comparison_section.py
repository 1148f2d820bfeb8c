"""What has changed since the previous accepted run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.quantities import format_number, short_digest
from mlops_core.report.blocks import PageSection, callout, code, data_table, details, missing_note, muted
from mlops_core.report.facts import Missing
from mlops_core.report.markup import Markup, Node, element, group
from mlops_core.report.metrics_section import change_badge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_core.report.comparison import Difference, RunComparison
    from mlops_core.report.evidence import Evidence

_DIGEST_LENGTH = 64
_SHOWN_ROWS = 12
_FOLDED_ROWS = 300
_SHOWN_SIGNS = 200


def comparison_section(evidence: Evidence) -> PageSection:
    """Return the differences to the previous accepted run."""
    title = "Since the previous accepted run"
    previous, compared = evidence.previous, evidence.comparison
    if isinstance(previous, Missing) or isinstance(compared, Missing):
        reason = previous.reason if isinstance(previous, Missing) else ""
        return PageSection(anchor="changes", title=title, body=missing_note(reason))
    return PageSection(
        anchor="changes",
        title=title,
        lead=group("Compared with ", _link(evidence, compared.earlier), f" of {previous.record.created[:10]}."),
        body=group(*_body(compared)),
    )


def _link(evidence: Evidence, run_id: str) -> Markup:
    if evidence.has_previous_report:
        return element("a", "the report of run ", code(run_id), href=f"../{run_id}/report.html")
    return group("run ", code(run_id), " (it has no report yet: ", code(f"mlops runs report {run_id}"), ")")


def _body(compared: RunComparison) -> Iterator[Markup]:
    if compared.is_same_test_set is False:
        yield callout("warn", "The two runs were evaluated on different test sets: their metrics cannot be compared.")
    if compared.metrics:
        yield _metrics(compared)
    unchanged = [name for name, found in compared.groups.items() if not found]
    if len(unchanged) < len(compared.groups):
        yield from _differences(compared)
    if unchanged:
        yield element("p", muted(f"Unchanged: {', '.join(unchanged)}."), class_="unchanged")
    yield element("p", "In a terminal: ", code(f"mlops runs compare {compared.earlier} {compared.later}"))


def _metrics(compared: RunComparison) -> Markup:
    rows: list[tuple[Node, ...]] = [
        (
            found.metric.title or found.metric.name,
            format_number(found.earlier.value if found.earlier else None),
            format_number(found.later.value if found.later else None),
            change_badge(found),
        )
        for found in compared.metrics
    ]
    headings = ("Metric", "Previous", "This run", "Change")
    return data_table("Metrics of the two runs", headings, rows, class_="changes")


def _differences(compared: RunComparison) -> Iterator[Markup]:
    found = [(name, item) for name, items in compared.groups.items() for item in items]
    yield _table("What else differs", found[:_SHOWN_ROWS])
    folded = found[_SHOWN_ROWS:]
    if folded:
        yield details(f"{len(folded)} more differences", _table("More differences", folded[:_FOLDED_ROWS]))
    if len(folded) > _FOLDED_ROWS:
        yield element("p", muted(f"and {len(folded) - _FOLDED_ROWS} more, which the command below lists"))


def _table(caption: str, found: list[tuple[str, Difference]]) -> Markup:
    rows = [(code(item.name), muted(name), _value(item.earlier), _value(item.later)) for name, item in found]
    return data_table(caption, ("What", "Part of", "Previous", "This run"), rows, class_="changes")


def _value(text: str) -> Node:
    if not text:
        return muted("absent")
    if len(text) == _DIGEST_LENGTH and set(text) <= set("0123456789abcdef"):
        return element("code", short_digest(text), title=text)
    return code(text if len(text) <= _SHOWN_SIGNS else f"{text[:_SHOWN_SIGNS]}…")
