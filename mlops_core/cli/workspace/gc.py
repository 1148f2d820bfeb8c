"""``mlops gc``."""

from __future__ import annotations

import click

from mlops_core.cli.options import json_option, require_use_case
from mlops_core.cli.output import format_size, print_json
from mlops_core.cli.streams import echo_line
from mlops_core.quantities import counted


@click.command("gc")
@click.option(
    "--keep",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="Number of newest runs to keep per use case.",
)
@click.option("--usecase", "-u", metavar="NAME", help="Remove only runs of this use case.")
@click.option("--dry-run", "is_dry", is_flag=True, help="Print what would be removed without removing it.")
@json_option
@click.pass_obj
def command(context: dict[str, str | None], *, keep: int, usecase: str | None, is_dry: bool, as_json: bool) -> None:
    """Remove old runs and the artifacts that no kept run and no model needs.

    Registered models, the runs that made them and runs that are being carried out are never removed.
    """
    from mlops_core.api import workspace_path
    from mlops_core.workspace.maintenance.housekeeping import find_garbage, remove_garbage
    from mlops_core.workspace.store import Store

    with Store(workspace_path(context["workspace"])) as store:
        if usecase and not store.runs.newest(use_case=usecase, limit=1):
            require_use_case(usecase)
        garbage = find_garbage(store, keep=keep, use_case=usecase)
        if not is_dry:
            remove_garbage(store, garbage)
    if as_json:
        print_json(
            {
                "removed": not is_dry,
                "runs": list(garbage.runs),
                "artifacts": list(garbage.artifacts),
                "folders": [str(folder) for folder in garbage.folders],
                "size_bytes": garbage.size_bytes,
            }
        )
        return
    echo_line(
        f"{'would remove' if is_dry else 'removed'} {counted(len(garbage.runs), 'run')}, "
        f"{counted(len(garbage.artifacts), 'artifact')} and {counted(len(garbage.folders), 'unfinished folder')}: "
        f"{format_size(garbage.size_bytes)}"
    )
