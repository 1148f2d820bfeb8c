"""``mlops doctor``."""

from __future__ import annotations

from typing import Any

import click

from mlops_core.cli.options import (
    account_options,
    chosen_use_case,
    config_options,
    json_option,
    runner_options,
    use_case_option,
)
from mlops_core.cli.output import print_json, print_table
from mlops_core.errors import ExitCode


@click.command("doctor")
@click.option("--repair", "is_repaired", is_flag=True, help="Discard damaged artifacts, so that they are made again.")
@click.option("--runner", default="local", metavar="NAME", help="sagemaker: look at the account of a use case's runs.")
@use_case_option
@config_options
@account_options
@click.option("--pipeline-name", default="", help="At the service (default: the use case's name).")
@json_option
@click.pass_obj
def command(
    context: dict[str, str | None],
    /,
    *,
    is_repaired: bool,
    runner: str,
    usecase: str | None,
    config: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
    **account: Any,
) -> int:
    """Check environment, plugins, disk and workspace. Exit code 4 when something is wrong.

    With --runner sagemaker, look instead at what a run of a use case needs in its account: credentials, region, role,
    rights, bucket, image, quotas. Nothing is changed.
    """
    from dataclasses import asdict

    from mlops_core.api import prepare_run, workspace_path
    from mlops_core.workspace.diagnosis import examine, examine_runner

    options = runner_options(**account)
    if runner == "sagemaker":
        request = prepare_run(chosen_use_case(usecase), config=config, overrides=overrides)
        findings = examine_runner(request, options)
    else:
        options.check(runner, known=())
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
