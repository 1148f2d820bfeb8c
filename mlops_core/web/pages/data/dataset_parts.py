"""The parts of a data set's page that need the plugin: statistics, findings, the split, and samples to see or hear."""

from __future__ import annotations

import base64
import contextlib
import itertools
from typing import TYPE_CHECKING, Any

from mlops_core.datasets.previews import Preview
from mlops_core.errors import MlopsError
from mlops_core.quantities import counted, format_number
from mlops_core.report.facts import Missing
from mlops_core.report.kit import (
    BadgeKind,
    Markup,
    Node,
    badge,
    data_table,
    details,
    element,
    facts_list,
    group,
    missing_note,
    muted,
    share_bar,
)
from mlops_core.report.sections.samples import sample_preview
from mlops_core.web.answers import PageAnswer
from mlops_core.web.pages.data.datasets import known_dataset
from mlops_core.web.pages.forms import address, part, select_field, spaced

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlops_core.web.answers import View

_LEVELS: Mapping[str, BadgeKind] = {"error": "bad", "warning": "warn", "note": "plain"}
_ROWS, _FINDINGS, _NAMED, _BARS = 60, 40, 8, 40
SAMPLES = 12


def inspection_part(view: View) -> PageAnswer:
    """Return what an inspection of the data finds, with the plugin and configuration of the run that read it last."""
    digest, _, run_id, _, _ = known_dataset(view)
    try:
        found = view.opened.plugins.ask("inspection", run=run_id, state=digest)
    except MlopsError as error:
        return PageAnswer(body=missing_note(str(error)).html)
    findings = sorted(found["findings"], key=lambda each: "duplicate" not in each["check"])
    body = group(
        facts_list({str(name): str(value) for name, value in found["facts"]}) if found["facts"] else None,
        element("h3", "Duplicates and other findings"),
        element("ul", *map(_finding, findings[:_FINDINGS]), class_="findings")
        if findings
        else element("p", badge("none", "good")),
        *(_distribution(each) for each in found["distributions"]),
        *(_table(each) for each in found["tables"]),
    )
    return PageAnswer(body=body.html)


def _finding(finding: Mapping[str, Any]) -> Markup:
    samples = finding["samples"]
    names = element("pre", "\n".join(samples[:_ROWS]), tabindex=0) if samples else None
    return element(
        "li",
        element(
            "p",
            badge(finding["level"], _LEVELS.get(finding["level"], "plain")),
            " ",
            element("strong", finding["check"]),
            ": ",
            finding["message"],
        ),
        details(counted(len(samples), "sample"), names) if len(samples) > _NAMED else names,
    )


def _distribution(found: Mapping[str, Any]) -> Markup:
    edges = found["edges"]
    labels = found["labels"] or [f"{low:g} to {high:g}" for low, high in itertools.pairwise(edges)]
    unit = f" ({found['unit']})" if found["unit"] else ""
    return group(element("h3", f"{found['title']}{unit}"), bar_list(list(zip(labels, found["counts"], strict=False))))


def bar_list(amounts: Sequence[tuple[str, float]], *, whole: float = 0.0) -> Markup:
    """Return names with their amounts as horizontal bars; `whole` is the longest, that of the largest by default."""
    largest = whole or max((amount for _, amount in amounts), default=0) or 1
    bars = [
        element(
            "li",
            element("span", str(name)),
            share_bar(amount / largest, kind="right", label=f"{name}: {format_number(float(amount))}"),
            element("span", format_number(float(amount)), class_="amount"),
        )
        for name, amount in amounts[:_BARS]
    ]
    left = len(amounts) - _BARS
    return group(element("ul", *bars, class_="bars"), element("p", muted(f"{left} more.")) if left > 0 else None)


def _table(found: Mapping[str, Any]) -> Markup:
    rows = [[_cell(cell) for cell in row] for row in found["rows"][:_ROWS]]
    left = len(found["rows"]) - _ROWS
    more = element("p", muted(f"{counted(left, 'row')} more.")) if left > 0 else None
    return group(data_table(found["title"], found["columns"], rows), more)


def _cell(cell: object) -> str:
    return format_number(cell) if isinstance(cell, float) else str(cell)


# --- Split and samples ------------------------------------------------------------------------------------


def samples_part(view: View) -> PageAnswer:
    """Return the counts of the split, and a page of samples with their previews."""
    digest, _, run_id, _, _ = known_dataset(view)
    page = 1
    with contextlib.suppress(ValueError):
        page = min(max(1, int(view.first("page"))), 10**6)
    chosen = {"part": view.first("part"), "label": view.first("label")}
    try:
        found = view.opened.plugins.ask(
            "samples", dataset=digest, run=run_id, **chosen, offset=(page - 1) * SAMPLES, size=SAMPLES, state=run_id
        )
    except MlopsError as error:
        return PageAnswer(body=missing_note(str(error)).html)
    if "missing" in found:
        return PageAnswer(body=missing_note(found["missing"]).html)
    cards = [_card(each) for each in found["samples"]]
    body = group(
        _split_table(found),
        _choice(digest, found, chosen),
        element("ul", *cards, class_="samples") if cards else missing_note("no sample matches."),
        _pages(digest, chosen, page=page, count=found["count"]),
    )
    return PageAnswer(body=body.html)


def _split_table(found: Mapping[str, Any]) -> Markup:
    parts = found["parts"]
    rows: list[tuple[Node, ...]] = [
        (label, *(f"{counts.get(each, 0):,}" for each in parts)) for label, counts in found["labels"].items()
    ]
    totals: tuple[Node, ...] = ("all", *(f"{found['totals'].get(each, 0):,}" for each in parts))
    caption = f"Samples of each class and part, in the split of run {found['run']}"
    left = found["label_count"] - len(rows)
    more = element("p", muted(f"{counted(left, 'class', more='classes')} more.")) if left > 0 else None
    return group(data_table(caption, ("Class", *parts), [totals, *rows]), more)


def _choice(digest: str, found: Mapping[str, Any], chosen: Mapping[str, str]) -> Markup:
    return element(
        "form",
        element(
            "div",
            select_field("part", "Part", found["parts"], chosen["part"], none="all"),
            select_field("label", "Class", list(found["labels"]), chosen["label"], none="all"),
            class_="fields",
        ),
        element("div", element("button", "Show", type="submit"), class_="actions"),
        method="get",
        action=f"/datasets/{part(digest)}#samples",
    )


def _card(sample: Mapping[str, Any]) -> Markup:
    facts = f"{sample['part'] or 'no part'}, group {sample['group']}"
    return element(
        "li",
        element("h3", sample["sample"]),
        sample_preview(sample["sample"], _preview(sample["preview"])),
        element("p", "class ", element("strong", sample["label"])),
        element("p", muted(facts), class_="sample-facts"),
    )


def _preview(data: Mapping[str, str]) -> Preview | Missing:
    if "missing" in data:
        return Missing(data["missing"])
    return Preview(media_type=data["media_type"], data=base64.b64decode(data["data"]), caption=data.get("caption", ""))


def _pages(digest: str, chosen: Mapping[str, str], *, page: int, count: int) -> Markup | None:
    last = max(1, -(-count // SAMPLES))
    if last == 1:
        return None
    path = f"/datasets/{part(digest)}"

    def link(text: str, number: int) -> Markup:
        if not 1 <= number <= last:
            return element("span", text, class_="button disabled")
        return element("a", text, href=address(path, **chosen, page=str(number)) + "#samples", class_="button")

    label = muted(f"page {page} of {last}, {counted(count, 'sample')}")
    return element(
        "nav",
        spaced(link("Previous", page - 1), label, link("Next", page + 1)),
        class_="pager",
        aria_label="Pages of samples",
    )
