"""``mlops runs tensorboard``."""

from __future__ import annotations

from pathlib import Path

import click

from mlops_core.cli.options import HomePath
from mlops_core.cli.streams import echo_line


@click.command("tensorboard")
@click.argument("runs", metavar="[RUN]...", nargs=-1)
@click.option(
    "--to",
    "folder",
    type=HomePath(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Collect the logs here, one folder per run (default: the folder of each run).",
)
@click.pass_obj
def command(context: dict[str, str | None], *, runs: tuple[str, ...], folder: Path | None) -> None:
    """Write the logs of runs for TensorBoard: curves, metrics, confusion matrices, hyperparameters.

    Without RUN, those of the latest run. A training writes its logs when the run ends; this command writes them again,
    or collects those of several runs: mlops runs tensorboard A B --to logs, then tensorboard --logdir logs
    """
    from mlops_core.api import workspace_path
    from mlops_core.report.tensorboard import write_tensorboard
    from mlops_core.workspace.store import Store

    with Store(workspace_path(context["workspace"])) as store:
        for run in dict.fromkeys(map(store.runs.full_id, runs or ("latest",))):
            echo_line(write_tensorboard(store, run, folder))
