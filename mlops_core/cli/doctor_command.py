"""``mlops doctor``."""

from __future__ import annotations

import click

from mlops_core.cli.options import json_option
from mlops_core.cli.output import print_json, print_table
from mlops_core.errors import ExitCode


@click.command("doctor")
@click.option("--repair", "is_repaired", is_flag=True, help="Discard damaged artifacts, so that they are made again.")
@json_option
@click.pass_obj
def command(context: dict[str, str | None], *, is_repaired: bool, as_json: bool) -> int:
    """Check environment, plugins, disk and workspace. Exit code 4 when something is wrong."""
    from dataclasses import asdict

    from mlops_core.api import workspace_path
    from mlops_core.diagnosis import examine

    findings = examine(workspace_path(context["workspace"]), is_repaired=is_repaired)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        print_table(
            ("", "what", "found", "cure"),
            [
                ("ok" if finding.is_good else "WRONG", finding.subject, finding.found, finding.cure or "-")
                for finding in findings
            ],
        )
    return ExitCode.OK if all(finding.is_good for finding in findings) else ExitCode.STEP
