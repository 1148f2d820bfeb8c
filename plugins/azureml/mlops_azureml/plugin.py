"""The runner plugins ``azureml`` and ``azureml-local``; heavy modules are imported on use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_azureml.options import AzureMlOptions, command_options, read_options, settings_options
from mlops_core import UsageError
from mlops_core.runners import Ability, CompiledPipeline, ContainerImage, RunnerOptions, RunnerPlugin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import click

    from mlops_azureml.settings import CompileSettings
    from mlops_core.runners import ExecutedDefinition, Runner, RunObserver, RunRequest, Store


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

    def compile(
        self, request: RunRequest, options: RunnerOptions, *, dataset_digest: str = "", is_checked: bool = True
    ) -> CompiledPipeline:
        """Return the pipeline job, without requests or credentials; the bytes are the same on every call."""
        from mlops_azureml.checking import Findings, examine_job
        from mlops_azureml.compiler.job import compile_pipeline

        job = compile_pipeline(request, settings_of(options), dataset_digest=dataset_digest)
        text = job.to_text()
        findings = examine_job(job.data) if is_checked else Findings()
        return CompiledPipeline(
            text=text,
            faults=tuple(map(str, findings.faults)),
            summary=f"{len(job.data['jobs'])} nodes, {len(text):,} characters",
            open_parameters=job.open_inputs,
            notes=(*job.notes, *(f"warning: {each}" for each in findings.warnings)),
        )

    def container_image(self) -> ContainerImage:
        """Return the contents of images: this distribution, and the module that executes a step."""
        return ContainerImage(distributions=("mlops-azureml",), module="mlops_azureml.container")

    def command_group(self) -> click.Command:
        """Return ``mlops azureml``."""
        from mlops_azureml.commands import command

        return command


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

    def compile(
        self, request: RunRequest, options: RunnerOptions, *, dataset_digest: str = "", is_checked: bool = True
    ) -> CompiledPipeline:
        """Return the job that a run would execute."""
        return AZUREML.compile(request, options, dataset_digest=dataset_digest, is_checked=is_checked)

    def create_runner(
        self, store: Store, *, observer: RunObserver, jobs: int | None = None, options: RunnerOptions | None = None
    ) -> Runner:
        """Return a runner that executes jobs in the workspace."""
        from mlops_azureml.local_runner import AzureMlLocalRunner

        return AzureMlLocalRunner(store, observer=observer, jobs=jobs, settings=settings_of(options, is_local=True))

    def executed_definition(self, store: Store, run_id: str) -> ExecutedDefinition:
        """Return the parameters and the step order that a run executed.

        Raises:
            RunnerError: the run ended before its pipeline was compiled.
        """
        from mlops_azureml.local_runner import document_of, pipeline_of
        from mlops_azureml.parity import executed_definition

        return executed_definition(document_of(store, run_id), pipeline_of(store, run_id))


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


def settings_of(options: RunnerOptions | None, *, is_local: bool = False) -> CompileSettings:
    """Return the settings that the options and the environment name.

    Args:
        options: of a runner.
        is_local: the job is executed here, where variables that name data in a datastore mean nothing.

    Raises:
        ConfigError: they are invalid.
    """
    from mlops_azureml.settings import DATA_VARIABLES, load_settings
    from mlops_core.runners import read_settings

    own = own_options(options)
    environ = read_settings().environ
    if is_local:
        environ = {name: value for name, value in environ.items() if name not in DATA_VARIABLES}
    return load_settings(own.settings, overrides=own.settings_overrides, environ=environ)


AZUREML = AzureMlPlugin()
AZUREML_LOCAL = AzureMlLocalPlugin()
