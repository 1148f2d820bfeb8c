"""``mlops gate replay``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlops_core.cli.options import HomePath, chosen_use_case, json_option, use_case_option
from mlops_core.cli.output import format_time, print_json, print_table
from mlops_core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_core.gates.evidence.sample_metric import ComputeMetrics
    from mlops_core.trust.replay import ReplayedRun, ThresholdCurve


@click.command("replay")
@use_case_option
@click.option(
    "--set",
    "condition",
    required=True,
    metavar="CONDITION",
    help="Condition of the gate to try, for example 'clip_acc.lower >= 0.9'; 'default' is the gate that a run had.",
)
@click.option("--since", default="", metavar="TIME", help="Leave out runs older than this: 90d, 12h, 4w or a date.")
@click.option(
    "--plot",
    type=HomePath(path_type=Path, dir_okay=False),
    metavar="FILE.svg",
    help="Write a plot of the number of accepted runs by threshold; one file per clause if there are several.",
)
@json_option
@click.pass_obj
def command(
    context: dict[str, str | None],
    *,
    usecase: str | None,
    condition: str,
    since: str,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Show which past verdicts another gate would change.

    Runs are judged again on their stored evaluations and predictions; no step is run and nothing is changed.
    """
    from mlops_core.api import workspace_path
    from mlops_core.trust.replay import replay_gate, threshold_curves
    from mlops_core.use_cases.discovery import find_use_case
    from mlops_core.use_cases.manager import load_use_case
    from mlops_core.workspace.store import Store

    name = find_use_case(chosen_use_case(usecase)).name

    def compute() -> ComputeMetrics:
        return load_use_case(name).compute_metrics

    with Store(workspace_path(context["workspace"])) as store:
        runs = tuple(replay_gate(store, name, condition, compute=compute, since=since))
    curves = threshold_curves(runs)
    plots = _write_plots(plot, curves) if plot else []
    if as_json:
        print_json(
            {
                "condition": condition,
                "runs": [_json(run) for run in runs],
                "curves": [asdict(curve) for curve in curves],
                "plots": [str(path) for path in plots],
            }
        )
        return
    _print(runs, plots)


def _print(runs: Sequence[ReplayedRun], plots: Sequence[Path]) -> None:
    if not runs:
        click.echo("no run with a verdict")
        return
    print_table(("run", "created", "was", "would be", "reason"), [_row(run) for run in runs])
    changed = sum(run.is_changed for run in runs)
    problems = sum(bool(run.problem) for run in runs)
    unjudged = f"; {problems} cannot be judged" if problems else ""
    click.echo(f"{changed} of {len(runs)} verdicts would change{unjudged}")
    for path in plots:
        click.echo(f"plot: {path}")


def _row(run: ReplayedRun) -> tuple[Any, ...]:
    if run.verdict is None:
        return (run.run_id, format_time(run.created), str(run.before), "-", run.problem)
    outcome = str(run.verdict.outcome)
    reason = run.verdict.message if run.is_changed or not run.verdict.accepted else ""
    return (run.run_id, format_time(run.created), str(run.before), outcome if run.is_changed else "same", reason)


def _json(run: ReplayedRun) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "created": run.created,
        "before": str(run.before),
        "after": str(run.verdict.outcome) if run.verdict else None,
        "is_changed": run.is_changed,
        "problem": run.problem,
        "verdict": run.verdict.to_json() if run.verdict else None,
    }


def _write_plots(path: Path, curves: Sequence[ThresholdCurve]) -> list[Path]:
    from mlops_core.trust.replay import curve_svg
    from mlops_core.workspace.files import write_atomically

    if not curves:
        raise UsageError("--plot: no clause of the gate compares a value with a number")
    paths = [path] if len(curves) == 1 else [path.with_stem(f"{path.stem}-{n}") for n in range(1, len(curves) + 1)]
    for target, curve in zip(paths, curves, strict=True):
        try:
            write_atomically(target, curve_svg(curve))
        except OSError as error:
            raise UsageError(f"--plot {target}: {error.strerror}") from error
    return paths
