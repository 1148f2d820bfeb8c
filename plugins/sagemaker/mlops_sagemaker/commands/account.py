"""``mlops sagemaker policy`` and ``mlops sagemaker estimate``: the permissions and the cost of runs in an account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mlops_core.cli.options import chosen_use_case, config_options, json_option, use_case_option
from mlops_core.cli.output import print_estimate, print_json
from mlops_core.runners.remote.options import pipeline_name_option, prices_option
from mlops_sagemaker.options import account_options, read_options

if TYPE_CHECKING:
    from collections.abc import Callable

_DEPLOYER = "deployer"


def _with(*options: click.Option) -> Callable[[click.Command], click.Command]:
    """Return a decorator that adds options to a command."""

    def add(command: click.Command) -> click.Command:
        command.params += options
        return command

    return add


@_with(*account_options(), pipeline_name_option())
@click.command("policy")
@use_case_option
@click.option(
    "--for",
    "audience",
    type=click.Choice(["submitter", _DEPLOYER, "role", "trust"]),
    default="submitter",
    show_default=True,
    help="Policy to print: for the user who starts runs or who deploys, for the execution role, or its trust policy.",
)
def policy_command(*, usecase: str | None, audience: str, **values: Any) -> None:
    """Print a least-privilege IAM policy as JSON.

    The role must be set. A bucket, region or image that is not set becomes '*'; the bucket is then any of the account.
    """
    from mlops_core.runners import read_settings
    from mlops_sagemaker.compiler.definition import model_package_group
    from mlops_sagemaker.deployment.permissions import deployer_policy
    from mlops_sagemaker.service.policy import Audience, names_of, policy
    from mlops_sagemaker.target import check_pipeline_name, complete_settings

    use_case = chosen_use_case(usecase)
    options = read_options(values)
    environ = read_settings().environ
    pipeline = options.pipeline_name or environ.get("SAGEMAKER_PROJECT_NAME_ID") or model_package_group(use_case)
    check_pipeline_name(pipeline)
    region = options.region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ""
    names = names_of(use_case, complete_settings(options), pipeline=pipeline, region=region)
    print_json(deployer_policy(names) if audience == _DEPLOYER else policy(names, Audience(audience)))


@_with(*account_options(), prices_option())
@click.command("estimate")
@use_case_option
@config_options
@json_option
@click.pass_obj
def estimate_command(
    context: dict[str, str | None],
    /,
    *,
    usecase: str | None,
    config: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
    **values: Any,
) -> None:
    """Estimate duration and cost of a run in an account, from earlier runs and a price table."""
    from mlops_core import prepare_run, workspace_path
    from mlops_core.runners import Store
    from mlops_sagemaker.machines import load_price_table
    from mlops_sagemaker.runner import estimate_run
    from mlops_sagemaker.target import complete_settings

    request = prepare_run(chosen_use_case(usecase), config=config, overrides=overrides)
    options = read_options(values)
    settings, prices = complete_settings(options), load_price_table(options.prices)
    with Store(workspace_path(context["workspace"])) as store:
        estimate = estimate_run(request, settings, store=store, prices=prices)
    print_estimate(estimate, as_json=as_json)
