"""The pages of hyperparameter searches: the runs with a search, and the trials of one with importance and curves."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_core.errors import UsageError
from mlops_core.quantities import counted, format_duration, format_number
from mlops_core.report.histories import History, read_histories
from mlops_core.report.kit import (
    TONES,
    Curve,
    Markup,
    Node,
    PageSection,
    code,
    curve_chart,
    data_table,
    element,
    group,
    legend,
    missing_note,
    muted,
)
from mlops_core.report.search_section import search_section
from mlops_core.web.answers import PageAnswer
from mlops_core.web.index.queries import RunFilter, list_runs
from mlops_core.web.pages.data.dataset_parts import bar_list
from mlops_core.web.pages.forms import button_link, spaced
from mlops_core.web.pages.runs.run import known_run
from mlops_core.web.pages.runs.run_live import partial_evidence
from mlops_core.web.pages.runs.run_progress import work_folders
from mlops_core.web.pages.states import moment, run_badge
from mlops_core.web.shell import page_header, ui_page
from mlops_core.workspace.records import RunStatus
from mlops_core.workspace.searches.trials import read_searches

if TYPE_CHECKING:
    from mlops_core.report.histories import Series
    from mlops_core.web.answers import View
    from mlops_core.workspace.records import RunRecord
    from mlops_core.workspace.searches.trials import SearchRecord

_CHARTS = 8


def tuning_page(view: View) -> PageAnswer:
    """Return the page of all searches."""
    store = view.opened.store
    listing = list_runs(store, RunFilter(has_search=True))
    rows: list[tuple[Node, ...]] = []
    for run in listing.runs:
        searches = read_searches(store.runs.load(run.run_id), store.artifacts.path)
        rows += [_row(run.run_id, run.use_case, run.status, run.created, search) for search in searches]
    headings = ("Run", "Use case", "Status", "Step", "Trials", "Sampler", "Best", "Started (UTC)")
    note = element("p", muted("The runs are still being indexed: more may follow.")) if view.opened.stale else None
    body = (
        data_table("Searches", headings, rows, is_caption_visible=False)
        if rows
        else group(
            missing_note("no run has searched for hyperparameters."),
            element(
                "p", "How to: a ", code("tuning"), " section in the configuration of a use case with a search space."
            ),
        )
    )
    section = element("section", element("h2", "Hyperparameter searches", class_="hidden"), group(note, body))
    page = ui_page(
        view, title="Tuning", active="tuning", heading=page_header("Hyperparameter searches"), body=[section]
    )
    return PageAnswer(body=page)


def _row(run_id: str, use_case: str, status: str, created: str, search: SearchRecord) -> tuple[Node, ...]:
    done = sum(trial.value is not None for trial in search.trials)
    best = next((trial for trial in search.trials if trial.index == search.best), None)
    value = f"trial {best.index}: {search.objective} {format_number(best.value)}" if best is not None else "-"
    return (
        element("a", code(run_id), href=f"/tuning/{run_id}"),
        use_case,
        run_badge(status),
        code(search.name),
        f"{done} of {len(search.trials)}",
        search.sampler,
        value,
        moment(created),
    )


def search_page(view: View) -> PageAnswer:
    """Return the page of the searches of one run."""
    store = view.opened.store
    record = store.runs.load(known_run(view))
    searches = read_searches(record, store.artifacts.path)
    if not searches:
        raise UsageError(f"run {record.run_id} has no search")
    is_running = record.status is RunStatus.RUNNING
    evidence = replace(partial_evidence(store, record, work_folders(store, record.run_id)), searches=searches)
    trials = search_section(evidence)
    assert trials is not None  # noqa: S101  there are searches
    sections = [
        PageSection(anchor="progress", title="Objective", body=group(*map(_progress, searches))),
        PageSection(anchor="importance", title="Importance", body=group(*map(_importance, searches))),
        PageSection(anchor="trials", title="Trials", body=trials.body),
        PageSection(anchor="curves", title="Training curves of the trials", body=_curves(view, record, searches)),
    ]
    lead = "The run is being carried out: reload the page for newer trials." if is_running else None
    page = ui_page(
        view,
        title=f"Search of {record.run_id}",
        active="tuning",
        heading=page_header(
            group(element("span", record.run_id, class_="run-id"), " ", run_badge(record.status)),
            eyebrow=f"Hyperparameter search of {record.use_case}",
            lead=lead,
            actions=spaced(button_link("Run", f"/runs/{record.run_id}/")),
        ),
        body=sections,
        sections=[(section.anchor, section.title) for section in sections],
    )
    return PageAnswer(body=page)


def _progress(search: SearchRecord) -> Markup:
    """Return the objective of each trial, and the best so far."""
    done = [(float(trial.index), trial.value) for trial in search.trials if trial.value is not None]
    if len(done) < 2:
        return missing_note(f"{counted(len(done), 'trial')} of {search.name} has a result; a chart takes two.")
    better = max if search.is_higher_better else min
    best = [(x, better(value for _, value in done[: number + 1])) for number, (x, _) in enumerate(done)]
    curves = [
        Curve(name=search.objective, kind="tone-2", points=tuple(done)),
        Curve(name="best so far", kind="tone-1", points=tuple(best)),
    ]
    text = f"best: {format_number(best[-1][1])} after {counted(len(done), 'trial')}"
    return element(
        "figure",
        element("figcaption", f"{search.objective} of step {search.name}"),
        legend((f"line {curve.kind}", curve.name) for curve in curves),
        curve_chart(curves, x_label="trial", label=f"{search.objective} by trial; {text}"),
        element("output", text, class_="readout"),
        class_="curves single",
    )


def _importance(search: SearchRecord) -> Markup:
    found = sorted(search.importance().items(), key=lambda item: -item[1])
    if not found:
        return missing_note("it takes 8 trials with a result to say which parameter matters.")
    lead = f"Share of the variation of {search.objective} that a parameter alone explains, by ranks."
    return group(
        element("p", lead, class_="lead"), bar_list([(name, round(share, 3)) for name, share in found], whole=1.0)
    )


def _curves(view: View, record: RunRecord, searches: tuple[SearchRecord, ...]) -> Markup:
    """Return one chart for each series, with a line for each of the best trials."""
    ranked = [step for search in searches for step in _best_first(search)][: len(TONES)]
    found: dict[str, list[tuple[str, History, Series]]] = {}
    for history in read_histories(view.opened.store, record):
        if isinstance(history, History) and history.step in ranked:
            for series in history.series:
                found.setdefault(series.name, []).append((history.step, history, series))
    if not found:
        return missing_note("no trial has a training history.")
    figures = [_figure(name, entries, ranked) for name, entries in list(found.items())[:_CHARTS]]
    durations = sum(trial.duration_s for search in searches for trial in search.trials)
    return group(
        element("div", *figures, class_="charts"),
        element("p", muted(f"The {len(ranked)} best trials; all of them took {format_duration(durations)}.")),
    )


def _best_first(search: SearchRecord) -> list[str]:
    sign = -1 if search.is_higher_better else 1
    done = [trial for trial in search.trials if trial.value is not None]
    return [trial.step for trial in sorted(done, key=lambda trial: sign * (trial.value or 0.0))]


def _figure(name: str, entries: list[tuple[str, History, Series]], ranked: list[str]) -> Markup:
    ordered = sorted(entries, key=lambda entry: ranked.index(entry[0]))
    curves = [
        Curve(name=step.rpartition(".")[2], kind=TONES[number % len(TONES)], points=series.points)
        for number, (step, _, series) in enumerate(ordered)
    ]
    finals = ", ".join(f"{curve.name} {format_number(curve.points[-1][1])}" for curve in curves)
    return element(
        "figure",
        element("figcaption", name.replace("_", " ")),
        legend((f"line {curve.kind}", curve.name) for curve in curves),
        curve_chart(curves, x_label=ordered[0][1].x_label, label=f"{name}; final: {finals}"),
        element("output", f"final: {finals}", class_="readout"),
        class_="curves",
    )
