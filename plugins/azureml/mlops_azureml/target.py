"""The target of a run: workspace and settings, from options, ``azureml.yaml`` and the environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_azureml.layout import asset_name
from mlops_azureml.settings import VARIABLES, CompileSettings, load_settings
from mlops_azureml.values.addresses import WorkspaceId
from mlops_core import UsageError
from mlops_core.runners import read_settings

if TYPE_CHECKING:
    from mlops_azureml.options import AzureMlOptions

_NEEDED = ("subscription_id", "resource_group", "workspace_name")
_FLAGS = {"subscription_id": "--subscription"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The target of a run.

    Attributes:
        workspace: address of the workspace.
        experiment: name of the experiment.
        settings: the settings, complete.
    """

    workspace: WorkspaceId
    experiment: str
    settings: CompileSettings


def find_target(pipeline: str, options: AzureMlOptions) -> Target:
    """Return the target of a run of a pipeline.

    Raises:
        UsageError: subscription, resource group or workspace is missing.
        ConfigError: the settings are invalid.
    """
    settings = complete_settings(options)
    for name, advice in missing_names(settings).items():
        raise UsageError(f"no {name}: {advice}")
    workspace = settings.workspace
    assert workspace.subscription_id and workspace.resource_group and workspace.workspace_name  # noqa: S101, PT018
    identifier = WorkspaceId(
        subscription=workspace.subscription_id, group=workspace.resource_group, name=workspace.workspace_name
    )
    experiment = options.pipeline_name or workspace.experiment or asset_name(pipeline)
    if options.pipeline_name:
        changed = workspace.model_copy(update={"experiment": options.pipeline_name})
        settings = settings.model_copy(update={"workspace": changed})
    return Target(workspace=identifier, experiment=experiment, settings=settings)


def missing_names(settings: CompileSettings) -> dict[str, str]:
    """Return each of subscription, resource group and workspace that is not set -> where to set it."""
    return {
        name.replace("_", " ").removesuffix(" id"): (
            f"pass {_FLAGS.get(name) or '--' + name.replace('_', '-')}, set workspace.{name} in the settings file, or "
            f"set the variable {VARIABLES[f'workspace.{name}']}"
        )
        for name in _NEEDED
        if getattr(settings.workspace, name) is None
    }


def complete_settings(options: AzureMlOptions) -> CompileSettings:
    """Return the settings of the options and the environment.

    Raises:
        ConfigError: the settings are invalid.
    """
    return load_settings(options.settings, overrides=options.settings_overrides, environ=read_settings().environ)
