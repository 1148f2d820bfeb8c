"""The page of all runs: filter, sort, search, choose runs to compare; its table is brought up to date while shown."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from mlops_core.quantities import counted, format_duration, format_number
from mlops_core.report.kit import Markup, Node, callout, code, data_table, element, group, missing_note, muted
from mlops_core.web.answers import PageAnswer
from mlops_core.web.index.queries import (
    PAGE_SIZE,
    FilterChoices,
    RunFilter,
    RunOrder,
    SettingTest,
    filter_choices,
    list_runs,
    running_states,
)
from mlops_core.web.pages.forms import address, number_of, select_field, spaced, text_field
from mlops_core.web.pages.states import moment, run_badge
from mlops_core.web.shell import page_header, ui_page
from mlops_core.workspace.records import RunStatus

if TYPE_CHECKING:
    from mlops_core.web.answers import View
    from mlops_core.web.index.queries import ListedRun, RunListing

_MOST_KEYS = 200
_TABLE = "runs-table"


def runs_page(view: View) -> PageAnswer:
    """Return the page, or with ``part=table`` only the table; an unchanged one is not made again."""
    opened = view.opened
    state = (opened.state, opened.stale, running_states(opened.store))
    name = ("runs", tuple(sorted(view.query.items())))
    return PageAnswer(body=opened.memory.page(name, state, lambda: _runs_page(view)))


def _runs_page(view: View) -> str:
    chosen = read_filter(view)
    listing = list_runs(view.opened.store, chosen)
    if view.first("part") == "table":
        return _table(view, chosen, listing).html
    body = [
        element("section", element("h2", "Filter", class_="hidden"), _filter_form(view, chosen), class_="filter"),
        element(
            "section",
            element("h2", "Runs", class_="hidden"),
            element("div", _table(view, chosen, listing), id=_TABLE),
        ),
    ]
    heading = page_header("Runs", lead="Choose two to twenty runs to compare them.")
    return ui_page(view, title="Runs", active="runs", heading=heading, body=body, events="/events/runs")


def read_filter(view: View) -> RunFilter:
    """Return the filter in the address of a page; what is not understood is left out."""
    order, test, page = RunOrder.NEWEST, SettingTest.EQUAL, 1
    with contextlib.suppress(ValueError):
        order = RunOrder(view.first("order"))
    with contextlib.suppress(ValueError):
        test = SettingTest(view.first("test"))
    with contextlib.suppress(ValueError):
        page = min(max(1, int(view.first("page"))), 10**9)
    return RunFilter(
        use_case=view.first("use_case"),
        status=view.first("status"),
        text=view.first("text"),
        key=view.first("key"),
        test=test,
        value=view.first("value"),
        metric=view.first("metric"),
        low=number_of(view.first("low")),
        high=number_of(view.first("high")),
        dataset=view.first("dataset"),
        has_search=view.first("search") == "yes",
        order=order,
        page=page,
    )


def _filter_form(view: View, chosen: RunFilter) -> Markup:
    choices = filter_choices(view.opened.store)
    is_refined = bool(chosen.key or chosen.metric or chosen.low is not None or chosen.high is not None)
    refined = element(
        "details",
        element("summary", "Configuration and metrics"),
        element("div", *_refinements(choices, chosen), class_="fields"),
        open=is_refined,
    )
    return element(
        "form",
        element(
            "div",
            select_field("use_case", "Use case", choices.use_cases, chosen.use_case, none="all"),
            select_field("status", "Status", map(str, RunStatus), chosen.status, none="any"),
            text_field("text", "Run or data set", chosen.text, placeholder="beginning of an id, or a name"),
            select_field("order", "Sort by", map(str, RunOrder), str(chosen.order)),
            class_="fields",
        ),
        refined,
        element("input", type="hidden", name="dataset", value=chosen.dataset) if chosen.dataset else None,
        element(
            "div",
            element("button", "Apply", type="submit", class_="primary"),
            element("a", "Clear", href="/", class_="button"),
            class_="actions",
        ),
        method="get",
        action="/",
        role="search",
    )


def _refinements(choices: FilterChoices, chosen: RunFilter) -> tuple[Node, ...]:
    keys = element("datalist", *(element("option", value=key) for key in choices.keys[:_MOST_KEYS]), id="known-keys")
    return (
        text_field("key", "Configuration key", chosen.key, list="known-keys", placeholder="training.epochs"),
        select_field("test", "Comparison", map(str, SettingTest), str(chosen.test)),
        text_field("value", "Value", chosen.value),
        select_field("metric", "Metric", choices.metrics, chosen.metric, none="the first of each run"),
        text_field("low", "From", _shown(chosen.low), inputmode="decimal"),
        text_field("high", "To", _shown(chosen.high), inputmode="decimal"),
        keys,
    )


def _shown(number: float | None) -> str:
    return "" if number is None else f"{number:g}"


# --- The table --------------------------------------------------------------------------------------------


def _table(view: View, chosen: RunFilter, listing: RunListing) -> Markup:
    return group(
        _index_note(view, chosen),
        element("p", muted(_count(listing))),
        _rows(chosen, listing) if listing.runs else _nothing(listing),
        _pages(view, chosen, listing),
    )


def _index_note(view: View, chosen: RunFilter) -> Markup | None:
    if not view.opened.stale:
        return None
    missing = counted(view.opened.stale, "run")
    if chosen.needs_index:
        return callout("warn", f"Incomplete: {missing} cannot be found by this search yet, and will be in a moment.")
    return element("p", muted(f"The metrics of {missing} are being read."))


def _count(listing: RunListing) -> str:
    if listing.count == listing.total:
        return counted(listing.total, "run")
    return f"{listing.count:,} of {counted(listing.total, 'run')}"


def _nothing(listing: RunListing) -> Markup:
    if listing.total:
        return missing_note("no run matches the filter.")
    return group(
        missing_note("this workspace has no runs yet."), element("p", "Begin with: ", code("mlops run --usecase NAME"))
    )


def _rows(chosen: RunFilter, listing: RunListing) -> Markup:
    headings = ["Run", "Use case", "Status", "Created (UTC)", "Took", "Metric", "Model"]
    if chosen.key:
        headings.append(chosen.key)
    table = data_table(
        "Runs", headings, [_row(run, chosen) for run in listing.runs], class_="runs", is_caption_visible=False
    )
    bar = element(
        "div",
        element("button", "Compare", type="submit", id="compare-button", class_="primary"),
        element("span", "Mark runs in the first column.", id="compare-hint", class_="muted"),
        class_="actions compare-bar",
    )
    return element("form", bar, table, method="get", action="/compare", id="compare-form")


def _row(run: ListedRun, chosen: RunFilter) -> tuple[Node, ...]:
    mark = element("input", type="checkbox", name="run", value=run.run_id, aria_label=f"Compare {run.run_id}")
    metric: Node = "-"
    if run.value is not None:
        metric = group(element("strong", format_number(run.value)), " ", muted(run.metric))
    if run.problem:
        metric = element("span", run.problem, class_="fault")
    cells: list[Node] = [
        element("span", mark, element("a", run.run_id, href=f"/runs/{run.run_id}/"), class_="marked"),
        run.use_case,
        run_badge(run.status),
        moment(run.created),
        "-" if run.status == RunStatus.RUNNING and not run.duration_s else format_duration(run.duration_s),
        metric,
        "-" if run.model_version is None else _model_link(run),
    ]
    if chosen.key:
        cells.append(code(run.setting))
    return tuple(cells)


def _model_link(run: ListedRun) -> Markup:
    from mlops_core.web.pages.forms import part

    return element("a", f"version {run.model_version}", href=f"/models/{part(run.use_case)}/{run.model_version}")


def _pages(view: View, chosen: RunFilter, listing: RunListing) -> Markup | None:
    last = max(1, -(-listing.count // PAGE_SIZE))
    if last == 1 and chosen.page == 1:
        return None
    query = {name: values for name, values in view.query.items() if name not in ("page", "part")}

    def link(text: str, page: int, *, rel: str) -> Markup:
        if not 1 <= page <= last or page == chosen.page:
            return element("span", text, class_="button disabled")
        return element("a", text, href=address("/", **query, page=str(page)), rel=rel, class_="button")

    return element(
        "nav",
        spaced(
            link("Newest" if chosen.order is RunOrder.NEWEST else "First", 1, rel="first"),
            link("Previous", chosen.page - 1, rel="prev"),
            muted(f"page {chosen.page} of {last}"),
            link("Next", chosen.page + 1, rel="next"),
            link("Last", last, rel="last"),
        ),
        aria_label="Pages of runs",
        class_="pager",
    )
