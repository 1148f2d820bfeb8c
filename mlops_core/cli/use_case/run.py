"""``mlops run``."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlops_core.cli.options import (
    HomePath,
    chosen_use_case,
    config_options,
    folds_option,
    json_option,
    parse_parameters,
    run_options,
    selection_options,
    use_case_option,
)
from mlops_core.cli.output import print_continuation, print_json, print_outcome, print_result_tables, run_observer
from mlops_core.cli.runner_options import RunnerCommand, argument_of
from mlops_core.cli.streams import echo_line
from mlops_core.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from mlops_core.runners.plugin import RunnerOptions
    from mlops_core.workspace.records import RunRecord


def _default_runner(context: click.Context, arguments: Sequence[str]) -> str:
    """Return the runner of the run that is resumed, else ``local``."""
    resumed = argument_of(arguments, "--resume")
    if not resumed:
        return "local"
    from mlops_core.api import open_run

    return open_run(resumed, workspace=context.obj["workspace"]).runner


@click.command("run", cls=RunnerCommand, default_runner=_default_runner)
@use_case_option
@config_options
@folds_option
@run_options
@selection_options
@click.option("--resume", default="", metavar="RUN", help="Resume this run: an id, the beginning of one, or 'latest'.")
@click.option("--run-id", default="", hidden=True)  # chosen by mlops watch, which must find the run again
@click.option("--keep-going", is_flag=True, help="After a failure, run the steps that do not depend on it.")
@click.option(
    "--jobs", "-j", type=click.IntRange(min=1), help="Number of steps to run in parallel (default: one per core)."
)
@click.option("--offline", "is_offline", is_flag=True, help="Refuse to fetch from the network.")
@click.option(
    "--artifacts-dir",
    metavar="FOLDER",
    type=HomePath(file_okay=False, path_type=Path),
    help="Also copy the evaluation to this folder.",
)
@json_option
@click.pass_obj
def command(
    context: dict[str, str | None],
    /,
    *,
    usecase: str | None,
    parameters: tuple[str, ...],
    runner_options: RunnerOptions,
    as_json: bool,
    **arguments: Any,
) -> int:
    """Run a use case: fetch, its steps, gate, register.

    Everything is checked before anything runs. A step whose inputs, code and configuration are unchanged is not
    run again. A model that the gate rejects is not registered, and the exit code is 3. Ctrl-C stops the run so that
    it can be resumed; a second Ctrl-C stops it at once. A run that a service carries out continues there after Ctrl-C.
    """
    from mlops_core import api
    from mlops_core.processes.confinement import hide_memory

    hide_memory()
    observer = run_observer()
    signal.signal(signal.SIGINT, _interrupt)
    try:
        record = api.run(
            (usecase or "") if arguments["resume"] else chosen_use_case(usecase),
            parameters=parse_parameters(parameters),
            workspace=context["workspace"],
            options=runner_options,
            observer=observer,
            **arguments,  # the other options have the names of the function's arguments
        )
    except KeyboardInterrupt:
        observer.close()
        print_continuation(observer.run_id, workspace=context["workspace"])
        raise
    finally:
        observer.close()
    _print(record, workspace=context["workspace"], as_json=as_json)
    return record.exit_code


def _print(record: RunRecord, *, workspace: str | None, as_json: bool) -> None:
    """Print how the run ended and, after a failure, the command that resumes it."""
    from mlops_core import api

    if as_json:
        print_json(record.to_json())
    else:
        print_outcome(record, approval=api.approval_of(record, workspace=workspace))
        print_result_tables(record, api.run_folder(record.run_id, workspace=workspace))
    if record.error:
        echo_line(f"mlops: error: {record.error}", err=True)
    if record.exit_code not in (ExitCode.OK, ExitCode.REJECTED):
        print_continuation(record.run_id, workspace=workspace)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Stop the run in good order; the next signal ends this process and everything that it started."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(ExitCode.INTERRUPTED))
    raise KeyboardInterrupt
