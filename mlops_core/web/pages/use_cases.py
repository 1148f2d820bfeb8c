"""The pages of use cases: those that are installed, and the pipeline of one with keys, cache state, gate, data sets."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from mlops_core.errors import MlopsError
from mlops_core.quantities import counted, format_duration, format_number, format_size
from mlops_core.report.kit import (
    BadgeKind,
    Markup,
    Node,
    badge,
    callout,
    code,
    data_table,
    details,
    digest,
    element,
    group,
    legend,
    missing_note,
    muted,
)
from mlops_core.use_cases.discovery import broken_use_cases, discover_use_cases
from mlops_core.web.answers import PageAnswer, PageNotFoundError
from mlops_core.web.pages.forms import address, button_link, part, spaced
from mlops_core.web.pages.graph import GraphStep, collapsed, pipeline_chart
from mlops_core.web.shell import page_header, ui_page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlops_core.web.answers import View

_ACTIONS: Mapping[str, BadgeKind] = {"reuse": "reused", "run": "warn", "maybe": "warn", "fetch": "warn"}
_SHOWN_STEPS = 80


def use_cases_page(view: View) -> PageAnswer:
    """Return the page that lists the installed use cases without importing them."""
    with view.opened.store.reading() as db:
        rows = db.execute("SELECT use_case, count(*) FROM main.runs GROUP BY use_case COLLATE NOCASE").fetchall()
    runs = {str(row[0]).casefold(): (str(row[0]), int(row[1])) for row in rows}
    installed = discover_use_cases()
    names = Counter(use_case.name.casefold() for use_case in installed)
    cards = [
        _card(
            use_case.name, f"{use_case.distribution} {use_case.version}", runs.pop(use_case.name.casefold(), ("", 0))[1]
        )
        for use_case in installed
    ]
    cards += [_card(name, "not installed here", count, is_installed=False) for name, count in runs.values()]
    faults = [callout("bad", fault) for fault in broken_use_cases()]
    faults += [callout("bad", f"several distributions provide {name}") for name, count in names.items() if count > 1]
    body = group(
        *faults,
        element("ul", *cards, class_="cards")
        if cards
        else group(
            missing_note("no use case is installed."), element("p", "Create one: ", code("mlops plugin new NAME"))
        ),
    )
    section = element("section", element("h2", "Installed use cases", class_="hidden"), body)
    page = ui_page(view, title="Use cases", active="use-cases", heading=page_header("Use cases"), body=[section])
    return PageAnswer(body=page)


def _card(name: str, plugin: str, runs: int, *, is_installed: bool = True) -> Markup:
    title: Node = element("a", name, href=f"/use-cases/{part(name)}") if is_installed else name
    count = element("a", counted(runs, "run"), href=address("/", use_case=name)) if runs else "no runs yet"
    return element("li", element("h3", title), element("p", muted(plugin)), element("p", count))


def use_case_page(view: View) -> PageAnswer:
    """Return the page of a use case, whose content is fetched when it is shown: the plugin may take a while."""
    name = view.path["use_case"]
    known = [each.name for each in discover_use_cases() if each.name.casefold() == name.casefold()]
    if not known:
        raise PageNotFoundError(f"no use case '{name[:80]}' is installed")
    waiting = element("section", element("p", "The plugin is being asked ...", class_="loading"))
    page = ui_page(
        view,
        title=known[0],
        active="use-cases",
        heading=page_header(
            known[0],
            eyebrow="Use case",
            lead="As it would run now, with its default configuration.",
            actions=spaced(
                button_link("Runs", address("/", use_case=known[0])),
                button_link("Models", f"/models/{part(known[0])}"),
            ),
        ),
        body=[
            element("div", waiting, data_load=f"/parts/use-cases/{part(known[0])}", aria_busy="true", class_="parts")
        ],
    )
    return PageAnswer(body=page)


def use_case_part(view: View) -> PageAnswer:
    """Return the content of the page of a use case."""
    try:
        found = view.opened.plugins.ask("use_case", use_case=view.path["use_case"])
    except MlopsError as error:
        problem = group(callout("bad", str(error)), element("p", "The plugin cannot be used as it is."))
        return PageAnswer(body=_section("Not available", problem).html)
    sections = [
        _section("Pipeline", _pipeline(found)),
        _section("Steps", _steps(found)),
        _section("Gate", group(element("pre", found["condition"], tabindex=0, aria_label="Gate"), _metrics(found))),
        _section("Parameters", _parameters(found)),
        _section("Data sets", _datasets(found)),
        _section("Configuration", details("Show the configuration", element("pre", found["config"], tabindex=0))),
    ]
    return PageAnswer(body=group(*sections).html)


def _section(title: str, body: Markup) -> Markup:
    return element("section", element("h2", title), body)


def _pipeline(found: Mapping[str, Any]) -> Markup:
    plan = {item["step"]: item for item in found["plan"]}
    steps = [GraphStep(name="fetch", state=_action(plan.get("fetch")), note=str(found["pipeline"].get("dataset", "")))]
    declared = {step["name"]: step for step in found["pipeline"]["steps"]}
    for name in found["order"]:
        item = plan.get(name)
        steps.append(
            GraphStep(
                name=name, needs=_needs(declared[name]), state=_action(item), key=str((item or {}).get("key", ""))
            )
        )
    evaluation = [name for name in found["order"] if declared[name].get("kind") == "evaluation"]
    steps.append(GraphStep(name="gate", needs=tuple(evaluation[-1:]), state="gate", note="accepts or rejects"))
    steps.append(GraphStep(name="register", needs=("gate",), note=str(found["pipeline"].get("model", ""))))
    fault = callout("warn", f"What is cached is not known: {found['plan_fault']}") if found["plan_fault"] else None
    marks = (("state reuse", "cached: is reused"), ("state run", "runs"), ("state maybe", "depends on an earlier step"))
    return group(fault, legend(marks), pipeline_chart(collapsed(steps)))


def _action(item: Mapping[str, Any] | None) -> str:
    return str(item["action"]) if item else ""


def _needs(step: Mapping[str, Any]) -> tuple[str, ...]:
    sources = step.get("inputs", {}).values()
    return tuple(dict.fromkeys("fetch" if "." not in each else each.rpartition(".")[0] for each in sources))


def _steps(found: Mapping[str, Any]) -> Markup:
    declared = {step["name"]: step for step in found["pipeline"]["steps"]}
    rows: list[tuple[Node, ...]] = [
        (
            code(item["step"]),
            str(declared.get(item["step"], {}).get("kind", "fetch")),
            badge(item["action"], _ACTIONS.get(item["action"], "plain")),
            digest(item["key"]),
            "-" if item["expected_s"] is None else format_duration(item["expected_s"]),
            item["reason"],
        )
        for item in found["plan"][:_SHOWN_STEPS]
    ]
    if not rows:
        return missing_note("the plan could not be made.")
    headings = ("Step", "Kind", "Would", "Key", "Expected", "Because")
    left = len(found["plan"]) - _SHOWN_STEPS
    more = element("p", muted(f"{counted(left, 'step')} more: mlops plan shows all.")) if left > 0 else None
    return group(data_table("Steps", headings, rows, class_="plan", is_caption_visible=False), more)


def _metrics(found: Mapping[str, Any]) -> Markup:
    rows = [
        (
            code(f"{item['section']}.{item['name']}"),
            str(item.get("unit") or "-"),
            f"{_bound(item.get('minimum'))} to {_bound(item.get('maximum'))}",
            str(item.get("direction", "")),
        )
        for item in found["pipeline"].get("metrics", ())
    ]
    return data_table("Metrics", ("Metric", "Unit", "Range", "Better"), rows)


def _bound(value: object) -> str:
    return format_number(float(value)) if isinstance(value, int | float) else "no limit"


def _parameters(found: Mapping[str, Any]) -> Markup:
    rows = [
        (code(item["name"]), str(item["type"]), str(item["default"]), str(item.get("description") or "-"))
        for item in found["pipeline"].get("parameters", ())
    ]
    if not rows:
        return missing_note("the pipeline has no parameter.")
    return data_table("Parameters", ("Parameter", "Type", "Default", "Description"), rows, is_caption_visible=False)


def _datasets(found: Mapping[str, Any]) -> Markup:
    rows: Sequence[tuple[Node, ...]] = [
        (
            code(item["name"]),
            item["title"],
            "generated" if item["is_generated"] else format_size(item["size_bytes"]) if item["size_bytes"] else "-",
            item["licence"] or "not known",
            badge("here", "good") if item["is_here"] else badge("not fetched", "plain"),
        )
        for item in found["datasets"]
    ]
    return data_table(
        "Data sets", ("Name", "Title", "Download", "Licence", "On this machine"), rows, is_caption_visible=False
    )
