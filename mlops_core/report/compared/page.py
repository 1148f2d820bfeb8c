"""The comparison of two runs as one self-contained page."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.quantities import counted, format_change, format_number
from mlops_core.report.compared.runs import SHOWN_SIDES
from mlops_core.report.facts import Missing
from mlops_core.report.kit import (
    BadgeKind,
    Markup,
    Node,
    PageSection,
    badge,
    callout,
    code,
    data_table,
    details,
    digest,
    element,
    facts_list,
    group,
    missing_note,
    muted,
    render_page,
)
from mlops_core.report.sections.metrics import change_badge
from mlops_core.report.sections.samples import sample_preview, score_list
from mlops_core.report.sections.values import is_digest, shortened

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mlops_core.report.compared.data import FileChanges, SampleChanges
    from mlops_core.report.compared.paired_tests import PairedTest
    from mlops_core.report.compared.runs import ComparedRuns
    from mlops_core.report.compared.sides import ChangedSide, ChangedSides
    from mlops_core.report.comparison import Difference, MetricComparison
    from mlops_core.report.facts import RunFacts
    from mlops_core.report.worst import JudgedSample

_ASSETS = Path(__file__).parents[1] / "assets"
_LISTED, _FOLDED = 12, 300
_VALUE_LENGTH = 200
_WORDS: Mapping[str, BadgeKind] = {"better": "good", "worse": "bad"}
_TITLES = {
    "origin": "Origin",
    "parameters": "Parameters",
    "configuration": "Configuration",
    "code": "Code",
    "environment": "Environment",
}


def render_comparison(compared: ComparedRuns) -> str:
    """Return the page."""
    sections = [
        PageSection(anchor="metrics", title="Metrics", body=group(*_metrics(compared)), lead=_lead(compared)),
        _sides_section(compared),
        _section("configuration", "Configuration", compared, ("configuration", "parameters", "origin")),
        PageSection(anchor="data", title="Data", body=group(*_data(compared))),
        PageSection(anchor="code", title="Code", body=group(*_code(compared))),
        _section("environment", "Environment", compared, ("environment",)),
    ]
    css = [(_ASSETS / name).read_text(encoding="utf-8") for name in ("report.css", "compared.css")]
    return render_page(
        title=f"{compared.later.record.use_case}: {compared.facts.earlier} and {compared.facts.later}",
        brand="comparison",
        header=_header(compared),
        sections=sections,
        stylesheet="".join(css),
    )


def _header(compared: ComparedRuns) -> Markup:
    return element(
        "header",
        element("p", _use_cases(compared), class_="eyebrow"),
        element("h1", "Comparison of two runs"),
        element("p", "A is the baseline; changes are from A to B.", class_="outcome"),
        element("div", _run("A", compared.earlier), _run("B", compared.later), class_="pair"),
        class_="page-header",
    )


def _use_cases(compared: ComparedRuns) -> str:
    return " · ".join(dict.fromkeys((compared.earlier.record.use_case, compared.later.record.use_case)))


def _run(letter: str, facts: RunFacts) -> Markup:
    record = facts.record
    rows: dict[str, Node] = {
        "Run": code(record.run_id),
        "Status": str(record.status),
        "Created": record.created[:19].replace("T", " "),
        "Plugin": record.plugin,
        "Model": "none" if record.model_version is None else f"version {record.model_version}",
        "Data": group(record.dataset.name, " ", digest(record.dataset.digest)) if record.dataset else "none",
    }
    return element("div", element("h3", letter), facts_list(rows, class_="wide"))


# --- Metrics ----------------------------------------------------------------------------------------------


def _lead(compared: ComparedRuns) -> str:
    tested = [test for test in compared.tests.values() if not isinstance(test, Missing)]
    if not tested:
        return "The metrics of the two runs could not be tested on the same samples."
    found = tested[0].difference
    return (
        f"Paired test on the same {counted(found.count, 'sample')} in {counted(found.groups, 'group')}: a difference "
        f"is called better or worse only if its {found.level:.0%} interval excludes 0."
    )


def _metrics(compared: ComparedRuns) -> Iterator[Markup]:
    if compared.facts.is_same_test_set is False:
        yield callout("warn", "The runs were evaluated on different test sets: their metrics are not comparable.")
    for letter, facts in (("A", compared.earlier), ("B", compared.later)):
        if isinstance(facts.evaluation, Missing):
            yield callout("warn", f"{letter} has no metrics: {facts.evaluation.reason}")
    if not compared.facts.metrics:
        yield missing_note("neither run declares metrics.")
        return
    headings = ("Metric", "A", "B", "Change", "Paired test")
    yield data_table("Metrics", headings, [_metric_row(entry, compared) for entry in compared.facts.metrics])
    reasons: dict[str, list[str]] = {}
    for name, test in compared.tests.items():
        if isinstance(test, Missing):
            reasons.setdefault(test.reason, []).append(name)
    for reason, names in reasons.items():
        yield element("p", muted(f"Not tested: {', '.join(names)}: {reason}."))


def _metric_row(entry: MetricComparison, compared: ComparedRuns) -> tuple[Node, ...]:
    test = compared.tests.get(entry.metric.name)
    return (
        entry.metric.title or entry.metric.name,
        format_number(entry.earlier.value if entry.earlier else None),
        format_number(entry.later.value if entry.later else None),
        change_badge(entry) if test is None or isinstance(test, Missing) else format_change(test.difference.value),
        muted("not tested") if test is None or isinstance(test, Missing) else _test(test),
    )


def _test(test: PairedTest) -> Markup:
    found = test.difference
    numbers = None
    if math.isfinite(found.low) and math.isfinite(found.high):
        p_value = f", p = {found.p_value:.2g}" if math.isfinite(found.p_value) else ""
        interval = f" {format_change(found.low)} to {format_change(found.high)}{p_value}"
        numbers = element("span", interval, class_="muted small")
    return group(badge(test.words, _WORDS.get(test.words, "plain")), numbers)


# --- Samples that changed sides ---------------------------------------------------------------------------


def _sides_section(compared: ComparedRuns) -> PageSection:
    sides = compared.sides
    title = "Samples that changed sides"
    if isinstance(sides, Missing):
        return PageSection(anchor="sides", title=title, body=missing_note(sides.reason))
    lost, gained = (
        ("Right in A, wrong in B", "Wrong in A, right in B")
        if not sides.is_regression
        else ("Larger error in B", "Smaller error in B")
    )
    return PageSection(
        anchor="sides",
        title="Samples whose error changed" if sides.is_regression else title,
        lead=_sides_lead(sides),
        body=group(_sides(compared, lost, sides.lost), _sides(compared, gained, sides.gained)),
    )


def _sides_lead(sides: ChangedSides) -> str:
    notes = [
        f"{counted(sides.common, 'sample')} in both runs: {len(sides.lost)} got worse, {len(sides.gained)} better."
    ]
    if not sides.is_regression:
        notes.append("The answer of a model is the class with the highest mean score.")
    if sides.only_earlier or sides.only_later:
        notes.append(f"Not compared: {sides.only_earlier} only in A, {sides.only_later} only in B.")
    if sides.relabelled:
        notes.append(f"{counted(sides.relabelled, 'sample')} with another label in B are not compared.")
    return " ".join(notes)


def _sides(compared: ComparedRuns, title: str, changes: Sequence[ChangedSide]) -> Markup:
    heading = element("h3", f"{title} ({len(changes)})")
    if not changes:
        return group(heading, element("p", muted("None.")))
    shown = changes[:SHOWN_SIDES]
    cards = (_card(compared, change) for change in shown)
    rest = [
        (code(change.sample), change.later.label, _answer(change.earlier), _answer(change.later))
        for change in changes[SHOWN_SIDES:]
    ]
    return group(
        heading,
        element("ol", *cards, class_="samples changed"),
        details(
            f"{len(rest)} more",
            data_table(title, ("Sample", "True", "A", "B"), rest[:_FOLDED], is_caption_visible=False),
            element("p", muted(f"{len(rest) - _FOLDED} more are in the output of --json."))
            if len(rest) > _FOLDED
            else None,
        )
        if rest
        else None,
    )


def _card(compared: ComparedRuns, change: ChangedSide) -> Markup:
    preview = compared.previews.get(change.sample)
    return element(
        "li",
        element("h3", change.sample),
        sample_preview(change.sample, preview),
        element("p", "true ", element("strong", change.later.label)),
        element("div", _side("A", change.earlier), _side("B", change.later), class_="pair"),
    )


def _side(letter: str, judged: JudgedSample) -> Markup:
    if not judged.guesses:
        error = element("p", muted(f"error {format_number(judged.loss)}"))
        return element("div", element("p", f"{letter}: ", element("strong", f"{judged.label_score:g}")), error)
    state = badge("wrong", "bad") if judged.is_wrong else badge("correct", "good")
    return element("div", element("p", f"{letter}: ", state, " ", _answer(judged)), score_list(judged))


def _answer(judged: JudgedSample) -> str:
    return judged.guesses[0].label if judged.guesses else f"{judged.label_score:g}"


# --- Configuration, data, code, environment ---------------------------------------------------------------


def _section(anchor: str, title: str, compared: ComparedRuns, parts: Sequence[str]) -> PageSection:
    rows = [difference for part in parts for difference in compared.facts.groups[part]]
    unchanged = [part for part in parts if not compared.facts.groups[part]]
    return PageSection(
        anchor=anchor,
        title=title,
        body=group(
            *_differences(title, rows),
            element("p", muted(f"Unchanged: {', '.join(unchanged)}.")) if unchanged else None,
        ),
    )


def _differences(caption: str, differences: Sequence[Difference]) -> Iterator[Markup]:
    rows = [(code(each.name), _value(each.earlier), _value(each.later)) for each in differences]
    yield from _long_table(caption, ("Name", "A", "B"), rows)


def _long_table(caption: str, headings: Sequence[str], rows: Sequence[Sequence[Node]]) -> Iterator[Markup]:
    if not rows:
        return
    yield data_table(caption, headings, rows[:_LISTED], class_="compared", is_caption_visible=False)
    folded = rows[_LISTED:]
    if folded:
        table = data_table(caption, headings, folded[:_FOLDED], class_="compared", is_caption_visible=False)
        yield details(f"{len(folded)} more", table)
    if len(folded) > _FOLDED:
        yield element("p", muted(f"{len(folded) - _FOLDED} more are in the output of --json."))


def _value(text: str) -> Node:
    if not text:
        return muted("not set")
    return element("code", shortened(text, limit=_VALUE_LENGTH), title=text if is_digest(text) else None)


def _data(compared: ComparedRuns) -> Iterator[Markup]:
    differences = compared.facts.groups["data"]
    yield from _differences("Data set", differences)
    if not differences and compared.later.record.dataset:
        yield element("p", "The data sets are the same.")
    yield element("h3", "Samples")
    yield from _samples(compared.samples)
    yield element("h3", "Files")
    yield from _files(compared.files)


def _samples(changes: SampleChanges | Missing) -> Iterator[Markup]:
    if isinstance(changes, Missing):
        yield missing_note(changes.reason)
        return
    counts: dict[str, Node] = {
        "Added": str(len(changes.added)),
        "Removed": str(len(changes.removed)),
        "Changed": str(len(changes.changed)),
        "Unchanged": str(changes.unchanged),
    }
    yield facts_list(counts)
    if not changes.is_content_compared:
        yield callout(
            "plain", "The splits hold no digests: the content of the samples was not compared, only their rows."
        )
    rows: list[tuple[Node, ...]] = [
        (code(change.sample), name, _value(old), _value(new))
        for change in changes.changed
        for name, (old, new) in change.fields.items()
    ]
    yield from _long_table("Changed samples", ("Sample", "What", "A", "B"), rows)
    yield from _names("added", changes.added)
    yield from _names("removed", changes.removed)


def _files(changes: FileChanges | Missing) -> Iterator[Markup]:
    if isinstance(changes, Missing):
        yield missing_note(changes.reason)
        return
    yield facts_list(
        {
            "Added": str(len(changes.added)),
            "Removed": str(len(changes.removed)),
            "Changed": str(len(changes.changed)),
            "Unchanged": str(changes.unchanged),
        }
    )
    for word, paths in (("added", changes.added), ("removed", changes.removed), ("changed", changes.changed)):
        yield from _names(word, paths)


def _names(word: str, names: Sequence[str]) -> Iterator[Markup]:
    if names:
        more = f"\n… and {len(names) - _FOLDED} more" if len(names) > _FOLDED else ""
        listing = element("pre", "\n".join(names[:_FOLDED]) + more, tabindex=0)
        yield details(f"{len(names)} {word}", listing)


def _code(compared: ComparedRuns) -> Iterator[Markup]:
    differences = compared.facts.groups["code"]
    sources = compared.sources
    if differences:
        yield element("p", "Modules whose code differs:")
        yield from _differences("Modules", differences)
    else:
        yield element("p", muted("The modules of the steps are unchanged."))
    yield element("h3", "Source files")
    if isinstance(sources, Missing):
        yield missing_note(sources.reason)
    elif not sources:
        yield element("p", muted("The source files are the same."))
    else:
        rows: list[tuple[Node, ...]] = [
            (
                code(file.path),
                "new" if file.is_new else "gone" if file.is_gone else "changed",
                "-" if file.added is None else f"+{file.added}",
                "-" if file.removed is None else f"-{file.removed}",
            )
            for file in sources
        ]
        yield from _long_table("Source files", ("File", "State", "Lines added", "Lines removed"), rows)
