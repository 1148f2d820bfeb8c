"""``mlops drift simulate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_core.cli.drift.policy_options import chosen_policy, kept_calibration, policy_options
from mlops_core.cli.options import HomePath, chosen_use_case, json_option, use_case_option
from mlops_core.cli.output import print_json, print_table
from mlops_core.cli.streams import echo_line

if TYPE_CHECKING:
    from mlops_core.serving.drift.replay.simulation import DelayTable


@click.command("simulate")
@use_case_option
@click.option(
    "--model",
    metavar="MODEL",
    help="Version number, alias such as 'best', or folder of a model (default: the newest that is not rejected).",
)
@click.option(
    "--reference", type=HomePath(dir_okay=False), metavar="FILE", help="Reference statistics (default: the model's)."
)
@click.option(
    "--samples",
    "samples",
    type=HomePath(exists=True, path_type=Path),
    metavar="PATH",
    multiple=True,
    help="Sample file, or folder of them, to change; repeatable (default: the test samples of the run's data set).",
)
@click.option(
    "--most",
    type=click.IntRange(20, 100_000),
    default=250,
    show_default=True,
    help="Number of samples to change, drawn at random.",
)
@click.option("--vectors", "is_vectors", is_flag=True, help="Change the vectors of the reference instead of samples.")
@click.option("--runs", type=click.IntRange(1, 10_000), default=60, show_default=True, help="Runs per kind of drift.")
@policy_options
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    *,
    usecase: str | None,
    model: str | None,
    reference: str | None,
    samples: tuple[Path, ...],
    most: int,
    is_vectors: bool,
    runs: int,
    days: float,
    rate: float,
    windows: tuple[int, ...] | None,
    run_length: int,
    seed: int,
    as_json: bool,
) -> None:
    """Show how many samples, and hours of traffic, pass until drift of several kinds is found.

    Sample files are changed as the plugin declares, and described by the model. Without such a declaration, or without
    samples, the vectors of the reference are changed: features shifted, noise, a class that the reference does not
    have. The first row is without drift: its alarms are false.
    """
    from mlops_core.errors import UsageError
    from mlops_core.serving.drift.opening import require_numpy
    from mlops_core.serving.drift.replay.references import find_reference
    from mlops_core.serving.models import find_model

    if samples and is_vectors:
        raise UsageError("--samples and --vectors exclude each other; leave one out")
    require_numpy()
    policy = chosen_policy(days=days, rate=rate, windows=windows, run_length=run_length, seed=seed)
    workspace = ctx.obj["workspace"]
    served = find_model(chosen_use_case(usecase), model, workspace=workspace)
    known = find_reference(served, workspace=workspace, file=Path(reference) if reference else None)
    from mlops_core.serving.drift.replay.simulated import RawSimulation

    folder = kept_calibration(workspace, served, known, policy)
    simulation = RawSimulation(served, known, policy, workspace=workspace, calibration=folder, note=_note)
    found = simulation.of_vectors(runs) if is_vectors else simulation.of_samples(samples, runs=runs, most=most)
    print_json(found.to_json()) if as_json else _print(found, rate=rate)


def _note(text: str) -> None:
    echo_line(f"note: {text}", err=True)


def _print(found: DelayTable, *, rate: float) -> None:
    plan = found.plan
    echo_line(
        f"reference of {found.reference} samples; "
        f"windows {', '.join(map(str, plan.windows))}; one sample in {plan.every} is observed; a false "
        f"alarm in {plan.run_length:.0f} observed samples"
    )
    echo_line(
        f"changed: the files of {found.samples} samples, {found.in_reference} of them in the reference"
        if found.samples
        else "changed: the vectors of the reference, not sample files"
    )
    rows = []
    for row in found.rows:
        never = f"not in {row.longest}"
        rows.append(
            (
                row.change,
                f"{row.alarms} of {row.runs}",
                never if row.median is None else f"{row.median:.0f}",
                never if row.p90 is None else f"{row.p90:.0f}",
                "-" if row.median_hours is None else f"{row.median_hours:.3g}",
                "-" if row.p90_hours is None else f"{row.p90_hours:.3g}",
            )
        )
    headings = ("drift", "alarms", "median", "90 %", "median, hours", "90 %, hours")
    print_table(headings, rows, title=f"observed samples until the alarm, and hours at {rate:g} samples per hour")
    none = found.rows[0]
    echo_line(f"without drift: {none.alarms} false alarms in {none.samples} samples; expected {none.expected:.1f}")
    if found.held_out is not None:
        echo_line(
            f"held-out half of the reference: {found.held_out.alarms} false alarms in {found.held_out.samples} "
            f"samples; expected {found.held_out.expected:.1f}"
        )
    elif found.held_out_note:
        echo_line(f"note: {found.held_out_note}")
