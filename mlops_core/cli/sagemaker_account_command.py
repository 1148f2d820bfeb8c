"""``mlops sagemaker policy`` and ``mlops sagemaker estimate``: what a run in an account needs, and costs."""

from __future__ import annotations

from pathlib import Path
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
from mlops_core.cli.output import format_duration, print_json, print_table


@click.command("policy")
@use_case_option
@account_options
@click.option("--pipeline-name", default="", help="At the service (default: the use case's name).")
@click.option(
    "--for",
    "audience",
    type=click.Choice(["submitter", "role", "trust"]),
    default="submitter",
    show_default=True,
    help="Whoever starts and follows runs; the role that carries them out; that role's trust.",
)
def policy_command(*, usecase: str | None, pipeline_name: str, audience: str, **account: Any) -> None:
    """Print the least-privilege IAM policy, as JSON. What is not named stays open ('*')."""
    from mlops_sagemaker.compiler.definition import model_package_group
    from mlops_sagemaker.service.policy import Audience, names_of, policy
    from mlops_sagemaker.target import check_pipeline_name, complete_settings

    from mlops_core.settings import read_settings

    use_case = chosen_use_case(usecase)
    options = runner_options(**account)
    environ = read_settings().environ
    pipeline = pipeline_name or environ.get("SAGEMAKER_PROJECT_NAME_ID") or model_package_group(use_case)
    check_pipeline_name(pipeline)
    region = options.region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ""
    names = names_of(use_case, complete_settings(options), pipeline=pipeline, region=region)
    print_json(policy(names, Audience(audience)))


@click.command("estimate")
@use_case_option
@config_options
@account_options
@click.option("--prices", type=click.Path(dir_okay=False), help="A table of prices instead of the one here.")
@json_option
@click.pass_obj
def estimate_command(
    context: dict[str, str | None],
    /,
    *,
    usecase: str | None,
    config: str | None,
    overrides: tuple[str, ...],
    prices: str | None,
    as_json: bool,
    **account: Any,
) -> None:
    """Estimate how long a run in an account takes and what it costs, by earlier runs and a table of prices."""
    from dataclasses import asdict

    from mlops_sagemaker.target import complete_settings

    from mlops_core.api import prepare_run, workspace_path
    from mlops_core.runners.remote.costs import estimate_cost, load_prices
    from mlops_core.workspace.store import Store

    request = prepare_run(chosen_use_case(usecase), config=config, overrides=overrides)
    settings = complete_settings(runner_options(**account))
    table = load_prices(Path(prices) if prices else None)
    with Store(workspace_path(context["workspace"])) as store:
        estimate = estimate_cost(request, settings, store=store, prices=table)
    if as_json:
        print_json({**asdict(estimate), "usd": estimate.usd})
        return
    rows = [
        (
            step.name,
            f"{step.instances} x {step.instance_type}",
            format_duration(step.duration_s),
            step.basis,
            "no price" if step.usd is None else f"{step.usd:.4f}",
        )
        for step in estimate.steps
    ]
    print_table(("step", "machines", "takes", "by", "USD"), rows)
    click.echo(str(estimate))
