"""``mlops reproduce``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_core.cli.options import HomePath, json_option
from mlops_core.cli.output import print_json, print_table, run_observer
from mlops_core.cli.streams import echo_line
from mlops_core.cli.trust.key_options import read_trusted_keys, trusted_key_options
from mlops_core.errors import ExitCode
from mlops_core.quantities import format_change, format_number, short_digest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlops_core.steps.keys import Change
    from mlops_core.trust.agreement import MetricAgreement, Reproduction, StepAgreement

_BUNDLE = ".tar"
_SHOWN = 3


@click.command("reproduce")
@click.argument("run")
@click.option(
    "--dataset",
    metavar="FOLDER",
    type=HomePath(path_type=Path),
    help="Folder with the data set, if it is not where the run read it.",
)
@click.option(
    "--keep",
    metavar="FOLDER",
    type=HomePath(path_type=Path),
    help="Keep the workspace of the reproduction, with outputs and logs, in this new folder.",
)
@click.option(
    "--jobs", "-j", type=click.IntRange(min=1), help="Number of steps to run in parallel (default: one per core)."
)
@click.option("--offline", "is_offline", is_flag=True, help="Refuse to fetch from the network.")
@trusted_key_options
@click.option("--allow-unsigned", is_flag=True, help="Accept a bundle that is not signed.")
@json_option
@click.pass_obj
def command(
    context: dict[str, str | None],
    *,
    run: str,
    dataset: Path | None,
    keep: Path | None,
    jobs: int | None,
    is_offline: bool,
    public_key: Path | None,
    trust_file: Path | None,
    allow_unsigned: bool,
    as_json: bool,
) -> int:
    """Run a stored run again and compare its outputs, step by step.

    RUN is an id, the beginning of one, 'latest', or a bundle that mlops bundle wrote (FILE.tar), which is verified
    first. The same configuration, parameters, data and seed are executed on
    this machine, whichever runner executed them before. No result is reused and nothing is registered. The exit code is
    0 if all outputs are the same bytes or every metric is within the tolerance that the plugin declares, 3 otherwise.
    """
    from mlops_core.api import reproduce
    from mlops_core.processes.confinement import hide_memory

    hide_memory()
    bundle = Path(run) if run.endswith(_BUNDLE) else None
    result = reproduce(
        bundle or run,
        workspace=context["workspace"],
        dataset=dataset,
        keep=keep,
        jobs=jobs,
        is_offline=is_offline,
        keys=read_trusted_keys(public_key, trust_file),
        allows_unsigned=allow_unsigned,
        observer=run_observer(),
    )
    if as_json:
        print_json(result.to_json())
    else:
        _print(result)
    return ExitCode.OK if result.is_reproduced else ExitCode.REJECTED


def _print(result: Reproduction) -> None:
    from mlops_core.trust.agreement import Agreement

    print_table(("step", "outputs", "what differs"), [_step_row(step) for step in result.steps])
    if result.metrics:
        rows = [_metric_row(metric) for metric in result.metrics]
        print_table(("metric", "before", "now", "change", "tolerance", "is"), rows, title="\nmetrics")
    if not result.has_evaluation:
        echo_line("The metrics of the original run are not known, so no tolerance applies.")
    for step in result.steps:
        if step.is_origin:
            _print_causes(step)
    if result.other_differences:
        _print_changes("also different, but not what a step depends on whose outputs differ:", result.other_differences)
    if result.agreement is not Agreement.SAME:
        _print_limits(result)
    echo_line(_conclusion(result))
    if result.folder:
        echo_line(f"The reproduction is the latest run of the workspace {result.folder}.")


def _print_limits(result: Reproduction) -> None:
    if result.unrecorded:
        echo_line(f"The original run does not record: {', '.join(result.unrecorded)}; that may explain a difference.")
    if result.is_remote:
        echo_line("The original run was executed elsewhere; its record describes the machine that started it.")


def _step_row(step: StepAgreement) -> tuple[str, ...]:
    outputs = []
    for output in step.outputs:
        more = f" and {len(output.files) - _SHOWN} more" if len(output.files) > _SHOWN else ""
        files = f" ({', '.join(output.files[:_SHOWN])}{more})" if output.files else ""
        outputs.append(
            f"{output.name}{files}: {short_digest(output.before)} -> {short_digest(output.now) or 'nothing'}"
        )
    return step.step, str(step.agreement), "; ".join(outputs) or "-"


def _metric_row(metric: MetricAgreement) -> tuple[str, ...]:
    has_both = metric.before is not None and metric.now is not None
    change = format_change(metric.now - metric.before) if metric.now is not None and metric.before is not None else "-"
    is_equal = has_both and metric.now == metric.before
    return (
        metric.metric,
        format_number(metric.before),
        format_number(metric.now),
        change,
        format_number(metric.tolerance),
        "equal" if is_equal else str(metric.agreement),
    )


def _print_causes(step: StepAgreement) -> None:
    begin = f"the outputs of '{step.step}' differ, its inputs do not"
    if step.causes:
        _print_changes(f"{begin}; of what the step depends on, this differs:", step.causes)
    else:
        echo_line(f"{begin}; nothing recorded explains it")


def _print_changes(title: str, changes: Iterable[Change]) -> None:
    rows = [(change.component, _shown(change.old), _shown(change.new)) for change in changes]
    print_table(("what", "before", "now"), rows, title=f"\n{title}")


def _shown(text: str) -> str:
    is_digest = len(text) == 64 and not set(text) - set("0123456789abcdef")
    return short_digest(text) if is_digest else text or "-"


def _conclusion(result: Reproduction) -> str:
    run = f"run {result.original} of {result.use_case}"
    return {
        "same bytes": f"reproduced: all outputs of {run} are the same bytes",
        "within tolerance": f"reproduced: every metric of {run} is within its tolerance; the bytes differ",
    }.get(result.agreement, f"not reproduced: {run} has other results here")
