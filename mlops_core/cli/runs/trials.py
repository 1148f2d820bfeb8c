"""The trials of a hyperparameter search, as ``mlops runs show`` prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.cli.output import format_duration, print_table
from mlops_core.cli.streams import echo_line

if TYPE_CHECKING:
    from mlops_core.workspace.searches.trials import SearchRecord, TrialRecord

_SHOWN = 60


def print_search(search: SearchRecord) -> None:
    """Print the trials of a search, the best one marked, and what each parameter explains."""
    best = "none has a result" if search.best is None else f"trial {search.best} is best"
    print_table(
        ("trial", *search.parameters, search.objective, "interval", "state", "took", "model"),
        [_row(trial, search) for trial in search.trials],
        title=f"search {search.name} ({search.sampler}, seed {search.seed}), {search.objective} on validation: {best}",
    )
    if search.note:
        echo_line(f"search {search.name}: {search.note}")
    if found := search.importance():
        shown = ", ".join(f"{name} {share:.2f}" for name, share in sorted(found.items(), key=lambda item: -item[1]))
        echo_line(f"share of {search.objective} that a parameter alone explains: {shown}")


def _row(trial: TrialRecord, search: SearchRecord) -> tuple[str, ...]:
    mark = " *" if trial.index == search.best else ""
    values = (_shown(trial.values[name]) if name in trial.values else "-" for name in search.parameters)
    interval = "-" if trial.low is None or trial.high is None else f"{trial.low:.4g} to {trial.high:.4g}"
    return (
        f"{trial.index}{mark}",
        *values,
        "-" if trial.value is None else f"{trial.value:.4g}",
        interval,
        f"{trial.state}{f': {trial.error[:_SHOWN]}' if trial.error else ''}",
        format_duration(trial.duration_s),
        trial.model[:12] or "-",
    )


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
