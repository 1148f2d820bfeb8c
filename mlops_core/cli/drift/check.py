"""``mlops drift check``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_core.cli.drift.policy_options import chosen_policy, kept_calibration, policy_options
from mlops_core.cli.options import HomePath, chosen_use_case, json_option, use_case_option
from mlops_core.cli.output import format_time, print_json, print_table
from mlops_core.cli.streams import echo_line

if TYPE_CHECKING:
    from mlops_core.serving.drift.replay.checking import DriftCheck


@click.command("check")
@use_case_option
@click.option(
    "--model",
    metavar="MODEL",
    help="Version number, alias such as 'best', or folder of a model (default: the newest that is not rejected).",
)
@click.option(
    "--reference", type=HomePath(dir_okay=False), metavar="FILE", help="Reference statistics (default: the model's)."
)
@policy_options
@json_option
@click.argument("captures", nargs=-1, required=True, metavar="CAPTURE...", type=HomePath(path_type=Path))
@click.pass_context
def command(
    ctx: click.Context,
    *,
    usecase: str | None,
    model: str | None,
    reference: str | None,
    days: float,
    rate: float,
    windows: tuple[int, ...] | None,
    run_length: int,
    seed: int,
    as_json: bool,
    captures: tuple[Path, ...],
) -> int:
    """Replay captured requests of one or more servers in the order of their time, and print the alarms.

    A CAPTURE is a file that mlops serve --capture or the engine's own data capture wrote, a folder of such files, or a
    table of features: CSV, or lines of JSON with "time" and "features". Exit code 0: no alarm; 3: drift was found.
    """
    from mlops_core.errors import ExitCode
    from mlops_core.serving.drift.opening import require_numpy
    from mlops_core.serving.drift.replay.captures import CaptureReader
    from mlops_core.serving.drift.replay.references import captured_vectors, find_reference
    from mlops_core.serving.models import find_model
    from mlops_core.serving.protocols import capturing_protocols

    require_numpy()
    policy = chosen_policy(days=days, rate=rate, windows=windows, run_length=run_length, seed=seed)
    workspace = ctx.obj["workspace"]
    served = find_model(chosen_use_case(usecase), model, workspace=workspace)
    known = find_reference(served, workspace=workspace, file=Path(reference) if reference else None)
    reader = CaptureReader(
        known.features,
        model=str(served),
        protocols=capturing_protocols(),
        vectors=captured_vectors(served, known),
    )
    samples = reader.read(captures)
    from mlops_core.serving.drift.replay.checking import check_samples

    folder = kept_calibration(workspace, served, known, policy)
    found = check_samples(samples, known, policy, model=str(served), folder=folder)
    print_json(found.to_json()) if as_json else _print(found)
    return ExitCode.REJECTED if found.alarms else ExitCode.OK


def _print(found: DriftCheck) -> None:
    echo_line(
        f"{found.model}: {found.counts['samples']} samples in {found.hours:.1f} h, "
        f"{int(found.state['observed'])} of them observed; {len(found.alarms)} alarms"
    )
    if found.alarms:
        rows = [
            (
                format_time(alarm.raised_at),
                alarm.statistic,
                f"{alarm.value:.4g}",
                f"{alarm.threshold:.4g}",
                ", ".join(f"{each.name} {each.shift:+.2g} sd" for each in alarm.features if each.has_moved) or "-",
                "yes" if alarm.proposal else "-",
            )
            for alarm in found.alarms
        ]
        print_table(("time", "statistic", "value", "threshold", "moved", "propose retraining"), rows)
    rate = found.preparation["held_out"]
    if rate is not None:
        echo_line(
            f"held-out half of the reference: {rate['alarms']} false alarms in {rate['samples']} samples; expected "
            f"{rate['expected']:.1f}"
        )
    elif found.preparation["held_out_note"]:
        echo_line(f"note: {found.preparation['held_out_note']}")
    for note in found.notes:
        echo_line(f"note: {note}")
