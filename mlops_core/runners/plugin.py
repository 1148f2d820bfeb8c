"""What a runner plugin provides: `RunnerPlugin`, named by an entry point of the group ``mlops.runners``.

Only `RunnerPlugin.create_runner` is required. Every other method serves one command; an engine that lacks the ability
keeps the default, which refuses the command by name. ``docs/runners.md`` walks through a whole one.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from mlops_core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    import click

    from mlops_core.deployments.target import DeploymentTarget
    from mlops_core.runners.observers import RunObserver
    from mlops_core.runners.remote.costs import Estimate
    from mlops_core.runners.remote.following import RemoteRun
    from mlops_core.runners.remote.object_store import Bucket
    from mlops_core.runners.request import RunRequest
    from mlops_core.workspace.maintenance.diagnosis import HealthCheck
    from mlops_core.workspace.records import RunRecord
    from mlops_core.workspace.store import Store


class Runner(Protocol):
    """Carries out pipelines."""

    def run(self, request: RunRequest) -> RunRecord:
        """Carry out a run and return its finished record.

        Raises:
            MlopsError: the run could not begin; later errors are in the record.
        """


class Ability(StrEnum):
    """What an engine can do besides carrying out a run; the values are the verbs of the command line."""

    COMPILE = "compile"
    PARITY = "parity"
    CHECK = "check"
    ESTIMATE = "estimate"
    PACKAGE = "package"
    CI = "ci"
    STORE = "store"
    LOAD = "load"
    FOLLOW = "follow"
    DEPLOY = "deploy"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerOptions:
    """Options of one run that only its runner understands. A runner plugin derives its own class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledPipeline:
    """A pipeline as an engine's own document.

    Attributes:
        text: the document; equal for equal pipelines, settings and code.
        faults: what the engine would refuse, one line each; empty when nothing was found.
        summary: one line for people, for example the number of steps.
        open_parameters: parameters without a value, to be given when an execution is started.
        notes: what could not be checked, one line each.
    """

    text: str
    faults: tuple[str, ...] = ()
    summary: str = ""
    open_parameters: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CiFile:
    """A file for a CI service.

    Attributes:
        path: relative to the project.
        text: its content.
        variables: names that must be set in the service.
    """

    path: str
    text: str
    variables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedArchive:
    """A raw archive that an engine unpacked, converted and stored.

    Attributes:
        place: address of the folder that it was loaded into.
        files: number of files of data, for example images; files of labels do not count.
        variables: environment variable -> value: with these, a run reads the data in place.
    """

    place: str
    files: int
    variables: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerImage:
    """What a step image for an engine holds besides core and the use case's plugin.

    Attributes:
        distributions: names of the engine's own distributions.
        module: the module whose ``main(arguments)`` executes a step in the container.
        serving_module: the module whose ``main(arguments)`` serves a model in a container; empty for none.
    """

    distributions: tuple[str, ...]
    module: str
    serving_module: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutedDefinition:
    """What an engine executed, as far as it is compared.

    Attributes:
        parameters: name -> value that the engine used, without the engine's own parameters.
        seed: random seed that the engine used.
        order: step -> the steps that it waits for.
    """

    parameters: Mapping[str, object]
    seed: object
    order: Mapping[str, frozenset[str]]


class RunnerPlugin:
    """One engine. Subclass it and name an instance in the entry-point group ``mlops.runners``.

    Attributes:
        name: that of ``--runner``; equal to the entry point's name.
        abilities: which of the optional methods are implemented.
        runs_on_this_machine: a run needs no account and no network; ``mlops matrix`` then includes the runner.
        url_schemes: URL schemes of the addresses that `open_bucket` takes.
    """

    name: str = ""
    abilities: frozenset[Ability] = frozenset()
    runs_on_this_machine: bool = False
    url_schemes: tuple[str, ...] = ()

    # --- Running ------------------------------------------------------------------------------------------

    def create_runner(
        self, store: Store, *, observer: RunObserver, jobs: int | None = None, options: RunnerOptions | None = None
    ) -> Runner:
        """Return what carries out one run. Required.

        Args:
            store: the workspace that keeps the run's record.
            observer: receives the run's events.
            jobs: number of steps to run in parallel; None for the engine's default.
            options: from `read_options`; None for the defaults.

        Raises:
            UsageError: an option does not fit.
            ConfigError: the settings that the options name are wrong.
        """
        raise NotImplementedError

    def start_early(self) -> AbstractContextManager[None]:
        """Begin what takes time and needs no use case, such as starting a process, while the use case is imported.

        Entered before `create_runner` where the use case or its configuration has changed, so that steps will be
        executed; left when the run is over, or when it was refused.
        """
        return nullcontext()

    def command_options(self, command: str) -> Sequence[click.Parameter]:
        """Return the options that a command gets with ``--runner NAME``, for example ``run`` or ``doctor``."""
        del command
        return ()

    def read_options(self, values: Mapping[str, object]) -> RunnerOptions:
        """Return the options from the values of `command_options`, by the parameters' names.

        Raises:
            UsageError: a value does not fit.
        """
        if values:
            raise UsageError(f"runner '{self.name}' has no option '{next(iter(values))}'; leave it out")
        return RunnerOptions()

    # --- Optional abilities -------------------------------------------------------------------------------

    def open_run(self, store: Store, record: RunRecord, *, observer: RunObserver) -> RemoteRun:
        """Return a run that the engine carries out elsewhere. `Ability.FOLLOW`.

        Raises:
            RunnerError: it was never started at the engine.
        """
        del store, observer
        raise UsageError(
            f"run {record.run_id} was carried out by this machine (runner {self.name}); Ctrl-C in its terminal stops "
            f"it, and mlops run --resume {record.run_id} resumes it"
        )

    def compile(
        self, request: RunRequest, options: RunnerOptions, *, dataset_digest: str = "", is_checked: bool = True
    ) -> CompiledPipeline:
        """Return the pipeline as the engine's own document. `Ability.COMPILE`.

        Args:
            request: what a run would be given.
            options: from `read_options`.
            dataset_digest: digest of the data set, where the document refers to it.
            is_checked: look for faults.

        Raises:
            ConfigError: the settings are wrong.
            PipelineError: the engine cannot express the pipeline.
        """
        del request, options, dataset_digest, is_checked
        raise self.refused(Ability.COMPILE)

    def executed_definition(self, store: Store, run_id: str) -> ExecutedDefinition:
        """Return what a run of this engine executed, for a comparison with a local run. `Ability.PARITY`."""
        del store, run_id
        raise self.refused(Ability.PARITY)

    def check(self, request: RunRequest | None, options: RunnerOptions) -> Iterable[HealthCheck]:
        """Yield the checks before a start: credentials, rights, names, quotas. `Ability.CHECK`.

        Args:
            request: the run that would be started; None where no use case was named.
            options: from `read_options`.
        """
        del request, options
        raise self.refused(Ability.CHECK)

    def estimate(self, request: RunRequest, options: RunnerOptions, *, store: Store) -> Estimate:
        """Return how long a run may take and what it may cost. `Ability.ESTIMATE`."""
        del request, options, store
        raise self.refused(Ability.ESTIMATE)

    def open_bucket(self, url: str, options: RunnerOptions) -> Bucket:
        """Return the bucket or container of an address of `url_schemes`. `Ability.STORE`."""
        del url, options
        raise self.refused(Ability.STORE)

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
        """Load a raw archive of data and labels into folders that a run reads in place. `Ability.LOAD`.

        Args:
            request: run with the use case and its configuration; its data set is not used.
            source: an archive on this machine, or its address. An address may have a signature, so neither messages
                nor records hold its query.
            target: address of a folder, of one of `url_schemes`.
            options: from `read_options`.
            store: workspace in which the labels are converted.
            observer: receives the events of the conversion.

        Raises:
            UsageError: the source is neither a file nor an address, or the use case cannot convert labels.
            DatasetError: the archive is damaged, or the store refuses.
            RunnerError: the archive cannot be downloaded.
        """
        del request, source, target, options, store, observer
        raise self.refused(Ability.LOAD)

    def container_image(self) -> ContainerImage:
        """Return what a step image for this engine needs. `Ability.PACKAGE`."""
        raise self.refused(Ability.PACKAGE)

    def ci_file(self, use_case: str, *, provider: str, install: str | None = None) -> CiFile:
        """Return the file by which a CI service trains and registers a use case on this engine. `Ability.CI`.

        Args:
            use_case: its name.
            provider: the CI service, for example ``github``.
            install: the command that installs the project; None for the engine's default.

        Raises:
            UsageError: the engine does not support the provider.
        """
        del use_case, provider, install
        raise self.refused(Ability.CI)

    def deployment_target(self, store: Store, options: RunnerOptions) -> DeploymentTarget:
        """Return the endpoints of this engine, to which models are deployed. `Ability.DEPLOY`.

        Args:
            store: the workspace, whose runs say where the engine keeps a model.
            options: from `read_options`.

        Raises:
            ConfigError: the settings that the options name are wrong.
        """
        del store, options
        raise self.refused(Ability.DEPLOY)

    def command_group(self) -> click.Command | None:
        """Return the commands that only this engine has, as the group ``mlops NAME``; None for none."""
        return None

    def refused(self, ability: Ability) -> UsageError:
        """Return the error for an ability that this engine lacks."""
        return UsageError(f"runner '{self.name}' does not support '{ability}'; choose another one with --runner")
