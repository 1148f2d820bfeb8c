"""The runner plugins ``sagemaker`` and ``sagemaker-local``; heavy modules are imported on use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core import UsageError
from mlops_core.runners import Ability, CiFile, CompiledPipeline, ContainerImage, RunnerOptions, RunnerPlugin
from mlops_sagemaker.options import SageMakerOptions, command_options, read_options, settings_options

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import click

    from mlops_core import RunRecord
    from mlops_core.deployments import DeploymentTarget
    from mlops_core.runners import ExecutedDefinition, HealthCheck, Runner, RunObserver, RunRequest, Store
    from mlops_core.runners.remote.costs import Estimate
    from mlops_core.runners.remote.following import RemoteRun
    from mlops_core.runners.remote.object_store import Bucket
    from mlops_sagemaker.settings import CompileSettings


class SageMakerPlugin(RunnerPlugin):
    """The runner ``sagemaker``: SageMaker Pipelines in an account."""

    name = "sagemaker"
    abilities = frozenset(
        {
            Ability.COMPILE,
            Ability.CHECK,
            Ability.ESTIMATE,
            Ability.PACKAGE,
            Ability.CI,
            Ability.STORE,
            Ability.FOLLOW,
            Ability.DEPLOY,
        }
    )
    url_schemes = ("s3",)

    def create_runner(
        self, store: Store, *, observer: RunObserver, jobs: int | None = None, options: RunnerOptions | None = None
    ) -> Runner:
        """Return a runner that submits to the account of the options."""
        from mlops_sagemaker.runner import SageMakerRunner

        return SageMakerRunner(store, observer=observer, jobs=jobs, options=_own(options))

    def command_options(self, command: str) -> Sequence[click.Parameter]:
        """Return the options that core adds to a command for this runner."""
        return command_options(command)

    def read_options(self, values: Mapping[str, object]) -> SageMakerOptions:
        """Return the options from the values of click parameters."""
        return read_options(values)

    def open_run(self, store: Store, record: RunRecord, *, observer: RunObserver) -> RemoteRun:
        """Return a run together with its execution at the service."""
        from mlops_sagemaker.tracking import open_run

        return open_run(store, record, observer=observer)

    def compile(
        self, request: RunRequest, options: RunnerOptions, *, dataset_digest: str = "", is_checked: bool = True
    ) -> CompiledPipeline:
        """Return the pipeline definition, without AWS calls or credentials; the bytes are the same on every call."""
        from mlops_sagemaker.checking import Findings, examine_definition, has_service_model
        from mlops_sagemaker.compiler.definition import compile_pipeline

        definition = compile_pipeline(request, _settings(_own(options)), dataset_digest=dataset_digest)
        steps, parameters = definition.data["Steps"], definition.data["Parameters"]
        findings = examine_definition(definition.data) if is_checked else Findings()
        note = "only the graph was checked; install boto3 to check the arguments too"
        notes = (note,) if is_checked and not has_service_model() else ()
        return CompiledPipeline(
            text=definition.to_text(),
            faults=tuple(map(str, findings.faults)),
            summary=f"{len(steps)} steps, {len(definition.to_compact_text()):,} characters as submitted",
            open_parameters=tuple(item["Name"] for item in parameters if "DefaultValue" not in item),
            notes=(*notes, *(f"warning: {each}" for each in findings.warnings)),
        )

    def check(self, request: RunRequest | None, options: RunnerOptions) -> Iterable[HealthCheck]:
        """Yield the health checks of the account: credentials, region, role, permissions, bucket, image, quotas.

        Raises:
            UsageError: no use case was named.
        """
        from mlops_core.runners import HealthCheck
        from mlops_sagemaker.compiler.definition import compile_pipeline
        from mlops_sagemaker.service.account import Account
        from mlops_sagemaker.service.preflight import examine_access, examine_account
        from mlops_sagemaker.target import complete_settings, find_target, missing_names

        if request is None:
            raise UsageError("runner 'sagemaker' checks the account for one use case; pass --usecase NAME")
        own = _own(options)
        account = Account(region=own.region)
        missing = missing_names(complete_settings(own))
        if missing:  # the others need them all; what is independent of them is checked
            for name, advice in missing.items():
                yield HealthCheck(subject=name, is_good=False, detail="is not set", fix=advice)
            yield from examine_access(account)
            return
        target = find_target(request.use_case.name, own)
        definition = compile_pipeline(request, target.settings).data
        yield from examine_account(request.use_case.name, definition, target, account=account)

    def estimate(self, request: RunRequest, options: RunnerOptions, *, store: Store) -> Estimate:
        """Return the estimated duration and cost of a run in the account."""
        from mlops_sagemaker.machines import load_price_table
        from mlops_sagemaker.runner import estimate_run
        from mlops_sagemaker.target import complete_settings

        own = _own(options)
        return estimate_run(request, complete_settings(own), store=store, prices=load_price_table(own.prices))

    def open_bucket(self, url: str, options: RunnerOptions) -> Bucket:
        """Return the S3 bucket of a URL."""
        from mlops_core.runners.remote.datasets import Place
        from mlops_sagemaker.service.account import Account
        from mlops_sagemaker.service.store import S3Bucket

        return S3Bucket(Place.parse(url).bucket, account=Account(region=_own(options).region))

    def container_image(self) -> ContainerImage:
        """Return the contents of images: this distribution, and the modules that execute a step and serve a model."""
        return ContainerImage(
            distributions=("mlops-sagemaker",),
            module="mlops_sagemaker.container",
            serving_module="mlops_sagemaker.serving.container",
        )

    def deployment_target(self, store: Store, options: RunnerOptions) -> DeploymentTarget:
        """Return the endpoints of the account, to which models are deployed."""
        from mlops_sagemaker.deployment.target import SageMakerTarget
        from mlops_sagemaker.service.account import Account
        from mlops_sagemaker.target import complete_settings

        own = _own(options)
        return SageMakerTarget(store, own, settings=complete_settings(own), account=Account(region=own.region))

    def ci_file(self, use_case: str, *, provider: str, install: str | None = None) -> CiFile:
        """Return the CI file for CodeBuild, GitHub Actions or GitLab."""
        from mlops_sagemaker.delivery.ci import ci_file

        return ci_file(use_case, provider=provider, install=install)

    def command_group(self) -> click.Command:
        """Return ``mlops sagemaker``."""
        from mlops_sagemaker.commands import command

        return command


class SageMakerLocalPlugin(RunnerPlugin):
    """The runner ``sagemaker-local``: executes the compiled definition on this machine."""

    name = "sagemaker-local"
    abilities = frozenset({Ability.COMPILE, Ability.PARITY})
    runs_on_this_machine = True

    def create_runner(
        self, store: Store, *, observer: RunObserver, jobs: int | None = None, options: RunnerOptions | None = None
    ) -> Runner:
        """Return a runner that executes definitions in the workspace."""
        from mlops_sagemaker.local_runner import SageMakerLocalRunner

        return SageMakerLocalRunner(store, observer=observer, jobs=jobs, settings=_settings(_own(options)))

    def command_options(self, command: str) -> Sequence[click.Parameter]:
        """Return the options for the settings file."""
        return settings_options() if command in ("run", "parity", "compile") else ()

    def read_options(self, values: Mapping[str, object]) -> SageMakerOptions:
        """Return the options from the values of click parameters."""
        return read_options(values)

    def compile(
        self, request: RunRequest, options: RunnerOptions, *, dataset_digest: str = "", is_checked: bool = True
    ) -> CompiledPipeline:
        """Return the definition that a run would execute."""
        return SAGEMAKER.compile(request, options, dataset_digest=dataset_digest, is_checked=is_checked)

    def executed_definition(self, store: Store, run_id: str) -> ExecutedDefinition:
        """Return the parameters and the step order that a run executed.

        Raises:
            RunnerError: the run ended before its pipeline was compiled.
        """
        from mlops_sagemaker.local_runner import definition_of
        from mlops_sagemaker.parity import executed_definition

        return executed_definition(definition_of(store, run_id))


def _own(options: RunnerOptions | None) -> SageMakerOptions:
    if options is None or options == RunnerOptions():
        return SageMakerOptions()
    if not isinstance(options, SageMakerOptions):
        raise UsageError(f"runners of mlops-sagemaker take SageMakerOptions, not {type(options).__name__}")
    return options


def _settings(options: SageMakerOptions) -> CompileSettings:
    from mlops_core.runners import read_settings
    from mlops_sagemaker.settings import load_settings

    return load_settings(options.settings, overrides=options.settings_overrides, environ=read_settings().environ)


SAGEMAKER = SageMakerPlugin()
SAGEMAKER_LOCAL = SageMakerLocalPlugin()
