"""The comparison of two to twenty runs: values, parallel coordinates, a metric against a setting, curves, samples."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlops_core.errors import UsageError
from mlops_core.evaluation.metrics import MetricReport
from mlops_core.quantities import counted, format_number
from mlops_core.report.comparison import flatten_yaml, incomparable_metrics
from mlops_core.report.histories import History, read_histories
from mlops_core.report.kit import (
    TONES,
    CoordinateLine,
    Curve,
    Markup,
    Node,
    PageSection,
    ScatterPoint,
    callout,
    code,
    curve_chart,
    element,
    group,
    legend,
    missing_note,
    muted,
    parallel_chart,
    scatter_chart,
)
from mlops_core.web.answers import PageAnswer
from mlops_core.web.index.database import number_of
from mlops_core.web.index.facts import PARAMETER_PREFIX
from mlops_core.web.pages.forms import address, button_link, select_field
from mlops_core.web.pages.runs.run_live import partial_evidence
from mlops_core.web.pages.states import run_badge
from mlops_core.web.shell import page_header, report_policy, ui_page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_core.report.facts import RunFacts
    from mlops_core.report.histories import Series
    from mlops_core.web.answers import View

FEWEST, MOST = 2, 20
_AXES, _METRIC_AXES, _COLUMNS, _CHARTS = 8, 4, 24, 12


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRun:
    """A run of the comparison.

    Attributes:
        name: short name on the page: the number of the run and its id.
        number: from 1.
        facts: its record and evaluation.
        settings: key of the configuration, ``param.NAME`` or ``seed`` -> value.
        metrics: name -> finite value.
    """

    name: str
    number: int
    facts: RunFacts
    settings: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.facts.record.run_id


def chosen_ids(view: View) -> tuple[str, ...]:
    """Return the ids of the runs in the address, each once.

    Raises:
        UsageError: there are too few or too many, or one of them does not exist.
    """
    ids = tuple(dict.fromkeys(run.strip() for run in view.query.get("run", ()) if run.strip()))
    if not FEWEST <= len(ids) <= MOST:
        raise UsageError(f"{counted(len(ids), 'run')} to compare; choose {FEWEST} to {MOST} on the page Runs")
    return tuple(view.opened.store.runs.full_id(run) for run in ids)


def compare_page(view: View) -> PageAnswer:
    """Return the comparison."""
    ids = chosen_ids(view)
    runs = [_compared(view, run_id, number) for number, run_id in enumerate(ids, 1)]
    differing = _differing(runs)
    metrics = list(dict.fromkeys(name for run in runs for name in run.metrics))
    sections = [
        PageSection(
            anchor="values", title="Values", body=_values(runs, metrics, differing), lead=_lead(runs, differing)
        ),
        PageSection(anchor="parallel", title="Parallel coordinates", body=_parallel(runs, metrics, differing)),
        PageSection(anchor="setting", title="Metric against setting", body=_against(view, runs, metrics, differing)),
        PageSection(anchor="curves", title="Training curves", body=_curves(view, runs)),
        PageSection(anchor="samples", title="Samples that changed sides", body=_samples(ids)),
    ]
    actions = (
        button_link("Complete comparison of the two", address("/compare/full", run=ids)) if len(ids) == 2 else None
    )
    page = ui_page(
        view,
        title=f"Comparison of {len(ids)} runs",
        active="runs",
        heading=page_header(f"Comparison of {len(ids)} runs", lead="Run 1 is the baseline.", actions=actions),
        body=sections,
        sections=[(section.anchor, section.title) for section in sections],
    )
    return PageAnswer(body=page)


def full_comparison(view: View) -> PageAnswer:
    """Return the complete comparison of two runs, as mlops runs compare writes it."""
    ids = chosen_ids(view)
    if len(ids) != FEWEST:
        raise UsageError(f"the complete comparison is one of two runs, not of {len(ids)}")
    page = str(view.opened.plugins.ask("comparison", runs=list(ids), state="stored")["page"])
    return PageAnswer(body=page, policy=report_policy(page))


def _compared(view: View, run_id: str, number: int) -> ComparedRun:
    store = view.opened.store
    facts = partial_evidence(store, store.runs.load(run_id)).facts
    record = facts.record
    settings = flatten_yaml(record.config)
    settings |= {f"{PARAMETER_PREFIX}{name}": str(value) for name, value in record.parameters.items()}
    settings["seed"] = str(record.seed)
    values = facts.evaluation.values if isinstance(facts.evaluation, MetricReport) else {}
    metrics = {metric.name: values[metric.name].value for metric in facts.metrics if metric.name in values}
    return ComparedRun(
        name=f"{number}: {run_id}",
        number=number,
        facts=facts,
        settings=settings,
        metrics={name: value for name, value in metrics.items() if math.isfinite(value)},
    )


def _differing(runs: Sequence[ComparedRun]) -> list[str]:
    """Return the settings that are not the same in all runs; those with the most values first."""
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    values = {key: {run.settings.get(key) for run in runs} for key in keys}
    return sorted((key for key in keys if len(values[key]) > 1), key=lambda key: (-len(values[key]), key))


# --- Values -----------------------------------------------------------------------------------------------


def _lead(runs: Sequence[ComparedRun], differing: Sequence[str]) -> str:
    use_cases = {run.facts.record.use_case for run in runs}
    what = "All runs have the same configuration." if not differing else f"{counted(len(differing), 'setting')} differ."
    return what + (" The runs belong to different use cases." if len(use_cases) > 1 else "")


def _values(runs: Sequence[ComparedRun], metrics: Sequence[str], differing: Sequence[str]) -> Markup:
    reasons: dict[str, list[str]] = {}
    for name, reason in incomparable_metrics([run.facts for run in runs]).items():
        reasons.setdefault(reason, []).append(name)
    warnings = [
        callout("warn", f"{', '.join(names)}: not comparable between all runs: {reason}.")
        for reason, names in reasons.items()
    ]
    shown = differing[:_COLUMNS]
    headings = ["Run", "Use case", "Status", "Model", *metrics, *shown]
    rows = [_row(run, metrics, shown) for run in runs]
    left = len(differing) - len(shown)
    more = element("p", muted(f"{left} more differ: {', '.join(differing[_COLUMNS:])}")) if left > 0 else None
    return group(*warnings, wide_table("Values of the runs", headings, rows), more)


def _row(run: ComparedRun, metrics: Sequence[str], keys: Sequence[str]) -> list[Node]:
    record = run.facts.record
    return [
        group(f"{run.number}: ", element("a", code(run.run_id), href=f"/runs/{run.run_id}/")),
        record.use_case,
        run_badge(record.status),
        "-" if record.model_version is None else f"version {record.model_version}",
        *(element("strong", format_number(run.metrics.get(name))) for name in metrics),
        *(code(run.settings[key][:60]) if key in run.settings else muted("not set") for key in keys),
    ]


def wide_table(caption: str, headings: Sequence[str], rows: Sequence[Sequence[Node]]) -> Markup:
    """Return a table that scrolls sideways within its own region, which the keyboard reaches."""
    head = element("tr", *(element("th", heading, scope="col") for heading in headings))
    body = (
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:])) for row in rows
    )
    table = element(
        "table",
        element("caption", caption, class_="hidden"),
        element("thead", head),
        element("tbody", *body),
        class_="plain-table",
    )
    return element("div", table, class_="wide-scroll", tabindex=0, role="region", aria_label=caption)


# --- Charts -----------------------------------------------------------------------------------------------


def _parallel(runs: Sequence[ComparedRun], metrics: Sequence[str], differing: Sequence[str]) -> Markup:
    axes = (*differing[:_AXES], *metrics[:_METRIC_AXES])
    if len(axes) < 2:
        return missing_note("it takes two quantities that the runs have, and settings that differ.")
    is_comparable = bool(metrics) and metrics[0] not in incomparable_metrics([run.facts for run in runs])
    best = max(
        (run for run in runs if is_comparable and metrics[0] in run.metrics),
        key=lambda run: _rank(run, metrics[0]),
        default=None,
    )
    lines = [
        CoordinateLine(
            name=run.name,
            values={
                **{key: _number_or_text(run.settings[key]) for key in differing[:_AXES] if key in run.settings},
                **{name: run.metrics[name] for name in metrics[:_METRIC_AXES] if name in run.metrics},
            },
            is_marked=run is best,
        )
        for run in runs
    ]
    label = f"Parallel coordinates of {len(runs)} runs: {', '.join(axes)}"
    caption = f"Each line is a run. The run with the best {metrics[0]}, {best.name}, is in front." if best else ""
    chart = element(
        "div",
        parallel_chart(axes, lines, label=label),
        class_="wide-scroll",
        tabindex=0,
        role="region",
        aria_label="Chart",
    )
    return element("figure", chart, element("figcaption", caption or "Each line is a run."), class_="curves")


def _rank(run: ComparedRun, metric: str) -> float:
    declared = next((each for each in run.facts.metrics if each.name == metric), None)
    is_lower_better = declared is not None and str(declared.direction) == "lower"
    return -run.metrics[metric] if is_lower_better else run.metrics[metric]


def _number_or_text(text: str) -> float | str:
    number = number_of(text)
    return text if number is None else number


def _against(view: View, runs: Sequence[ComparedRun], metrics: Sequence[str], differing: Sequence[str]) -> Markup:
    if not metrics or not differing:
        return missing_note("it takes a metric, and a setting that differs between the runs.")
    metric = view.first("metric") if view.first("metric") in metrics else metrics[0]
    key = view.first("key") if view.first("key") in differing else differing[0]
    texts = {run.number: run.settings.get(key, "not set") for run in runs}
    is_numeric = all(number_of(text) is not None for text in texts.values())
    points = [
        ScatterPoint(
            name=f"run {run.number}: {key} {texts[run.number]}, {metric} {format_number(run.metrics[metric])}",
            x=(number_of(texts[run.number]) or 0.0) if is_numeric else texts[run.number],
            y=run.metrics[metric],
            href=f"/runs/{run.run_id}/",
        )
        for run in runs
        if metric in run.metrics
    ]
    form = element(
        "form",
        *(element("input", type="hidden", name="run", value=run.run_id) for run in runs),
        element(
            "div",
            select_field("metric", "Metric", metrics, metric),
            select_field("key", "Setting", differing, key),
            class_="fields",
        ),
        element("div", element("button", "Draw", type="submit"), class_="actions"),
        method="get",
        action="/compare#setting",
    )
    label = f"{metric} against {key} of {len(points)} runs"
    chart = (
        scatter_chart(points, x_label=key, y_label=metric, label=label)
        if points
        else missing_note(f"no run has {metric}.")
    )
    return group(form, element("figure", chart, element("figcaption", label), class_="curves"))


def _curves(view: View, runs: Sequence[ComparedRun]) -> Markup:
    """Return one chart for each series that at least one run has, with a line for each run."""
    found: dict[tuple[str, str], list[tuple[ComparedRun, History, Series]]] = {}
    for run in runs:
        for history in read_histories(view.opened.store, run.facts.record):
            if isinstance(history, History):
                for series in history.series:
                    found.setdefault((history.step, series.name), []).append((run, history, series))
    if not found:
        return missing_note("no run has a training history.")
    figures = [_figure(step, name, entries) for (step, name), entries in list(found.items())[:_CHARTS]]
    left = len(found) - len(figures)
    return group(
        element("div", *figures, class_="charts"), element("p", muted(f"{left} more series.")) if left > 0 else None
    )


def _figure(step: str, name: str, entries: Sequence[tuple[ComparedRun, History, Series]]) -> Markup:
    curves = [
        Curve(name=f"run {run.number}", kind=TONES[(run.number - 1) % len(TONES)], points=series.points)
        for run, _, series in entries
    ]
    finals = ", ".join(f"{curve.name} {format_number(curve.points[-1][1])}" for curve in curves)
    return element(
        "figure",
        element("figcaption", f"{step}: {name.replace('_', ' ')}"),
        legend((f"line {curve.kind}", curve.name) for curve in curves),
        curve_chart(curves, x_label=entries[0][1].x_label, label=f"{name} of step {step}; final: {finals}"),
        element("output", f"final: {finals}", class_="readout"),
        class_="curves",
    )


def _samples(ids: Sequence[str]) -> Markup:
    text = element("p", "The predictions are being compared ...", class_="loading")
    return element("div", text, data_load=address("/parts/compare/samples", run=ids), aria_busy="true")
