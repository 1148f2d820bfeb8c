"""``mlops azureml estimate``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mlops_azureml.options import read_options, workspace_options
from mlops_core.cli.options import chosen_use_case, config_options, json_option, use_case_option
from mlops_core.cli.output import print_estimate
from mlops_core.runners.remote.options import prices_option

if TYPE_CHECKING:
    from collections.abc import Callable


def _with(*options: click.Option) -> Callable[[click.Command], click.Command]:
    """Return a decorator that adds options to a command."""

    def add(command: click.Command) -> click.Command:
        command.params += options
        return command

    return add


@_with(*workspace_options(), prices_option())
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
    """Estimate duration and cost of a run in a workspace, from earlier runs and a price table."""
    from mlops_azureml.machines import load_price_table
    from mlops_azureml.runner import estimate_run
    from mlops_azureml.target import complete_settings
    from mlops_core import prepare_run, workspace_path
    from mlops_core.runners import Store

    request = prepare_run(chosen_use_case(usecase), config=config, overrides=overrides)
    options = read_options(values)
    settings, prices = complete_settings(options), load_price_table(options.prices)
    with Store(workspace_path(context["workspace"])) as store:
        estimate = estimate_run(request, settings, store=store, prices=prices)
    print_estimate(estimate, as_json=as_json)
