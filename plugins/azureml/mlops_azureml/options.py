"""Options of runs in a workspace, and the command-line options that they are read from."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_core import UsageError
from mlops_core.cli.options import HomePath
from mlops_core.runners.remote.options import RemoteOptions, prices_option, run_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    import click

_WORKSPACE_NAMES = ("subscription_id", "resource_group", "workspace_name", "image")


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureMlOptions(RemoteOptions):
    """Options of one run in a workspace."""


def command_options(command: str) -> tuple[click.Option, ...]:
    """Return the options that a command of core accepts with ``--runner azureml``."""
    if command == "run":
        return (*workspace_options(), *run_options())
    if command in ("estimate", "plan", "deploy"):
        return (*workspace_options(), prices_option())
    if command in ("doctor", "compile", "fetch"):
        return workspace_options()
    return ()


def settings_options() -> tuple[click.Option, ...]:
    """Return ``--settings`` and ``--set-azureml``."""
    import click

    return (
        click.Option(
            ["--settings"],
            type=HomePath(dir_okay=False, path_type=Path),
            help="Settings file (azureml.yaml): workspace, computes, data, overrides of steps.",
        ),
        click.Option(
            ["--set-azureml", "settings_overrides"],
            multiple=True,
            metavar="KEY=VALUE",
            help="Override one setting, for example steps.train.compute=gpu-cluster. Repeatable.",
        ),
    )


def workspace_options() -> tuple[click.Option, ...]:
    """Return the options for a workspace: settings, subscription, resource group, workspace, image."""
    import click

    return (
        *settings_options(),
        click.Option(["--subscription", "subscription_id"], help="Id of the subscription (default: SUBSCRIPTION_ID)."),
        click.Option(["--resource-group"], help="Name of the resource group (default: RESOURCE_GROUP_NAME)."),
        click.Option(["--workspace-name"], help="Name of the Azure ML workspace (default: WORKSPACE_NAME)."),
        click.Option(["--image"], help="Address of the step image (default: MLOPS_STEP_IMAGE)."),
    )


def read_options(values: Mapping[str, Any]) -> AzureMlOptions:
    """Return the options from the values of `command_options`; names of the workspace become settings.

    Raises:
        UsageError: a value is not an option of these runners.
    """
    known = {*_WORKSPACE_NAMES, *(item.name for item in fields(AzureMlOptions))}
    for name in values:
        if name not in known:
            raise UsageError(f"runners of mlops-azureml have no option '{name}'; leave it out")
    present = {name: value for name, value in values.items() if value is not None}
    names = {name: present.pop(name, None) for name in _WORKSPACE_NAMES}
    changes = tuple(f"workspace.{name}={json.dumps(value)}" for name, value in names.items() if value)
    present["settings_overrides"] = (*present.get("settings_overrides", ()), *changes)
    return AzureMlOptions(**present)
