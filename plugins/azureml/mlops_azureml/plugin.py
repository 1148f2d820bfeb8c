"""The runner plugins ``azureml`` and ``azureml-local``; heavy modules are imported on use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_azureml.options import AzureMlOptions, command_options, read_options, settings_options
from mlops_core import UsageError
from mlops_core.runners import Ability, CiFile, CompiledPipeline, ContainerImage, RunnerOptions, RunnerPlugin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import click

    from mlops_azureml.settings import CompileSettings
    from mlops_core import RunRecord
    from mlops_core.deployments import DeploymentTarget
    from mlops_core.runners import (
        ExecutedDefinition,
        HealthCheck,
        LoadedArchive,
        Runner,
        RunObserver,
        RunRequest,
        Store,
    )
    from mlops_core.runners.remote.costs import Estimate
    from mlops_core.runners.remote.following import RemoteRun
    from mlops_core.runners.remote.object_store import Bucket


class AzureMlPlugin(RunnerPlugin):
    """The runner ``azureml``: pipeline jobs in a workspace of Azure Machine Learning."""

    name = "azureml"
    abilities = frozenset(
        {
            Ability.COMPILE,
            Ability.CHECK,
            Ability.ESTIMATE,
            Ability.PACKAGE,
            Ability.CI,
            Ability.DEPLOY,
            Ability.STORE,
            Ability.FOLLOW,
            Ability.LOAD,
        }
    )
    url_schemes = ("azureml",)

    def create_runner(
        self, store: Store, *, observer: RunObserver, jobs: int | None = None, options: RunnerOptions | None = None
    ) -> Runner:
        """Return a runner that submits to the workspace of the options."""
        from mlops_azureml.runner import AzureMlRunner

        return AzureMlRunner(store, observer=observer, jobs=jobs, options=own_options(options))

    def open_run(self, store: Store, record: RunRecord, *, observer: RunObserver) -> RemoteRun:
        """Return a run together with its job in the workspace."""
        from mlops_azureml.tracking.execution import open_run

        return open_run(store, record, observer=observer)

    def check(self, request: RunRequest | None, options: RunnerOptions) -> Iterable[HealthCheck]:
        """Yield the health checks of a workspace: identity, workspace, datastore, computes, environment, rights.

        Raises:
            UsageError: no use case was named.
        """
        from mlops_azureml.compiler.job import compile_pipeline
        from mlops_azureml.service.preflight import examine_access, examine_workspace
        from mlops_azureml.service.workspace import new_connection, open_workspace
        from mlops_azureml.target import complete_settings, find_target, missing_names
        from mlops_core.runners import HealthCheck

        if request is None:
            raise UsageError("runner 'azureml' checks the workspace for one use case; pass --usecase NAME")
        own = own_options(options)
        missing = missing_names(complete_settings(own))
        if missing:  # the others need them all; what is independent of them is checked
            for name, advice in missing.items():
                yield HealthCheck(subject=name, is_good=False, detail="is not set", fix=advice)
            yield from examine_access(new_connection())
            return
        target = find_target(request.pipeline.name, own)
        job = compile_pipeline(request, target.settings)
        workspace = open_workspace(target.workspace, tenant=target.settings.workspace.tenant_id)
        yield from examine_workspace(job.data, target, workspace=workspace)

    def estimate(self, request: RunRequest, options: RunnerOptions, *, store: Store) -> Estimate:
        """Return the estimated duration and cost of a run in the workspace."""
        from mlops_azureml.machines import load_price_table
        from mlops_azureml.runner import estimate_run
        from mlops_azureml.target import complete_settings

        own = own_options(options)
        return estimate_run(request, complete_settings(own), store=store, prices=load_price_table(own.prices))

    def open_bucket(self, url: str, options: RunnerOptions) -> Bucket:
        """Return the container of an address in a datastore."""
        from mlops_azureml.service.datastores import DatastoreContainer
        from mlops_azureml.service.workspace import open_workspace
        from mlops_azureml.target import find_target
        from mlops_azureml.values.addresses import DatastoreUri

        uri, own = DatastoreUri.parse(url), own_options(options)
        identifier = uri.workspace or find_target("", own).workspace
        return DatastoreContainer(open_workspace(identifier), uri.datastore)

    def load_archive(
        self,
        request: RunRequest,
        source: str,
        target: str,
        options: RunnerOptions,
        *,
        store: Store,
        observer: RunObserver,
    ) -> LoadedArchive:
        """Load a raw archive of images and labels into a folder of a datastore, as two folders that a job can mount."""
        from mlops_azureml.delivery.loading import converting_step, fetch_archive, load

        converting_step(request)  # refused before anything is asked for or downloaded
        bucket = self.open_bucket(target, options)
        bucket.place(target)
        archive = fetch_archive(source, store.home / "azureml" / "archives")
        return load(request, archive, target, store=store, bucket=bucket, observer=observer)

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
        return ContainerImage(
            distributions=("mlops-azureml",),
            module="mlops_azureml.container",
            serving_module="mlops_azureml.serving.container",
        )

    def deployment_target(self, store: Store, options: RunnerOptions) -> DeploymentTarget:
        """Return the online endpoints of the workspace of the options."""
        from mlops_azureml.deployment.target import AzureMlTarget
        from mlops_azureml.service.workspace import open_workspace
        from mlops_azureml.target import find_target

        own = own_options(options)
        target = find_target("", own)
        workspace = open_workspace(target.workspace, tenant=target.settings.workspace.tenant_id)
        return AzureMlTarget(store, own, target=target, workspace=workspace)

    def ci_file(self, use_case: str, *, provider: str, install: str | None = None) -> CiFile:
        """Return the CI file for GitHub Actions or Azure DevOps."""
        from mlops_azureml.delivery.ci import ci_file

        return ci_file(use_case, provider=provider, install=install)

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
