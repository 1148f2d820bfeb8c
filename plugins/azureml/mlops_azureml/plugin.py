"""The runner plugins ``azureml`` and ``azureml-local``; heavy modules are imported on use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_azureml.options import AzureMlOptions, command_options, read_options, settings_options
from mlops_core import UsageError
from mlops_core.runners import Ability, ContainerImage, RunnerOptions, RunnerPlugin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import click

    from mlops_azureml.settings import CompileSettings


class AzureMlPlugin(RunnerPlugin):
    """The runner ``azureml``: pipeline jobs in a workspace of Azure Machine Learning."""

    name = "azureml"
    abilities = frozenset({Ability.COMPILE, Ability.PACKAGE})

    def command_options(self, command: str) -> Sequence[click.Parameter]:
        """Return the options that core adds to a command for this runner."""
        return command_options(command)

    def read_options(self, values: Mapping[str, object]) -> AzureMlOptions:
        """Return the options from the values of click parameters."""
        return read_options(values)

    def container_image(self) -> ContainerImage:
        """Return the contents of images: this distribution, and the module that executes a step."""
        return ContainerImage(distributions=("mlops-azureml",), module="mlops_azureml.container")


class AzureMlLocalPlugin(RunnerPlugin):
    """The runner ``azureml-local``: executes the compiled job on this machine."""

    name = "azureml-local"
    abilities = frozenset({Ability.COMPILE, Ability.PARITY})
    runs_on_this_machine = True

    def command_options(self, command: str) -> Sequence[click.Parameter]:
        """Return the options for the settings file."""
        return settings_options() if command in ("run", "parity", "compile") else ()

    def read_options(self, values: Mapping[str, object]) -> AzureMlOptions:
        """Return the options from the values of click parameters."""
        return read_options(values)


def own_options(options: RunnerOptions | None) -> AzureMlOptions:
    """Return the options of these runners; None and core's empty ones are the defaults.

    Raises:
        UsageError: they are those of another runner.
    """
    if options is None or options == RunnerOptions():
        return AzureMlOptions()
    if not isinstance(options, AzureMlOptions):
        raise UsageError(f"runners of mlops-azureml take AzureMlOptions, not {type(options).__name__}")
    return options


def settings_of(options: RunnerOptions | None) -> CompileSettings:
    """Return the settings that the options and the environment name.

    Raises:
        ConfigError: they are invalid.
    """
    from mlops_azureml.settings import load_settings
    from mlops_core.runners import read_settings

    own = own_options(options)
    return load_settings(own.settings, overrides=own.settings_overrides, environ=read_settings().environ)


AZUREML = AzureMlPlugin()
AZUREML_LOCAL = AzureMlLocalPlugin()
