"""The trials of each hyperparameter search: table, parallel coordinates, and what each parameter explains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.quantities import format_duration, format_number
from mlops_core.report.kit import (
    CoordinateLine,
    Markup,
    Node,
    PageSection,
    callout,
    code,
    data_table,
    details,
    digest,
    element,
    group,
    muted,
    parallel_chart,
)

if TYPE_CHECKING:
    from mlops_core.report.evidence import Evidence
    from mlops_core.workspace.searches.trials import SearchRecord, TrialRecord

_ROWS = 30
_AXES = 12


def search_section(evidence: Evidence) -> PageSection | None:
    """Return the searches of the run; None if it has none."""
    if not evidence.searches:
        return None
    return PageSection(anchor="search", title="Hyperparameter search", body=group(*map(_search, evidence.searches)))


def _search(search: SearchRecord) -> Markup:
    done = sum(trial.value is not None for trial in search.trials)
    better = "highest" if search.is_higher_better else "lowest"
    lead = (
        f"{done} of {len(search.trials)} trials have a result ({search.sampler}, seed {search.seed}). The best has the "
        f"{better} {search.objective} on the validation part, which trains nothing and tests nothing; trial 0 is the "
        "configuration itself."
    )
    return group(
        element("h3", "Step ", code(search.name)),
        element("p", muted(lead)),
        callout("warn", search.note) if search.note else None,
        _chart(search),
        _importance(search),
        _table(search),
    )


def _chart(search: SearchRecord) -> Markup | None:
    done = [trial for trial in search.trials if trial.value is not None]
    if len(done) < 2:
        return None
    axes = (*search.parameters[:_AXES], search.objective)
    lines = [
        CoordinateLine(
            name=f"trial {trial.index}: {search.objective} {trial.value:.4g}",
            values={**trial.values, search.objective: trial.value or 0.0},
            is_marked=trial.index == search.best,
        )
        for trial in done
    ]
    label = f"Parallel coordinates of {len(done)} trials: {', '.join(axes)}; trial {search.best} is marked"
    caption = f"Each line is a trial; the best, trial {search.best}, is in front."
    return element("figure", parallel_chart(axes, lines, label=label), element("figcaption", caption), class_="curves")


def _importance(search: SearchRecord) -> Markup | None:
    found = sorted(search.importance().items(), key=lambda item: -item[1])
    if not found:
        return None
    shown = ", ".join(f"{name} {share:.0%}" for name, share in found)
    text = f"Share of the variation of {search.objective} that a parameter alone explains (by ranks): {shown}."
    return element("p", muted(text))


def _table(search: SearchRecord) -> Markup:
    headings = ("Trial", *search.parameters, search.objective, "Interval", "State", "Took", "Model")
    ranked = sorted(search.trials, key=lambda trial: (trial.index != search.best, trial.index))
    rows = [_row(trial, search) for trial in ranked]
    tables = [data_table(f"Trials of {search.name}, the best first", headings, rows[:_ROWS], class_="trials")]
    if rows[_ROWS:]:
        more = data_table("More trials", headings, rows[_ROWS:], class_="trials", is_caption_visible=False)
        tables.append(details(f"{len(rows) - _ROWS} more trials", more))
    return group(*tables)


def _row(trial: TrialRecord, search: SearchRecord) -> tuple[Node, ...]:
    name = f"{trial.index} (best)" if trial.index == search.best else str(trial.index)
    values = (_shown(trial.values[key]) if key in trial.values else "" for key in search.parameters)
    has_interval = trial.low is not None and trial.high is not None
    interval = f"{format_number(trial.low)} to {format_number(trial.high)}" if has_interval else ""
    return (
        name,
        *values,
        "" if trial.value is None else format_number(trial.value),
        interval,
        f"{trial.state}{f': {trial.error}' if trial.error else ''}",
        format_duration(trial.duration_s),
        digest(trial.model) if trial.model else "",
    )


def _shown(value: object) -> str:
    return format_number(value) if isinstance(value, float) else str(value)
