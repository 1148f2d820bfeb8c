"""What core provides as the runner ``local``."""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.errors import UsageError
from mlops_core.runners.plugin import Ability, RunnerOptions, RunnerPlugin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import click

    from mlops_core.deployments.target import DeploymentTarget
    from mlops_core.runners.local.processes import StepProcesses
    from mlops_core.runners.observers import RunObserver
    from mlops_core.runners.plugin import Runner
    from mlops_core.runners.request import RunRequest
    from mlops_core.workspace.maintenance.diagnosis import HealthCheck
    from mlops_core.workspace.store import Store


_STARTED: ContextVar[StepProcesses | None] = ContextVar("started", default=None)
"""Processes that were started before their runner was created."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalDeploymentOptions(RunnerOptions):
    """Options of a deployment on this machine.

    Attributes:
        port: at which a new endpoint answers; 0 for one that is free.
    """

    port: int = 0


class LocalRunnerPlugin(RunnerPlugin):
    """The runner of this machine."""

    name = "local"
    abilities = frozenset({Ability.CHECK, Ability.DEPLOY})
    runs_on_this_machine = True

    @contextlib.contextmanager
    def start_early(self) -> Iterator[None]:
        """Start the process from which those of the steps are forked: it takes as long as importing a use case."""
        from mlops_core.runners.local.processes import StepProcesses

        with StepProcesses() as processes:
            processes.start()
            token = _STARTED.set(processes)
            try:
                yield
            finally:
                _STARTED.reset(token)

    def create_runner(
        self, store: Store, *, observer: RunObserver, jobs: int | None = None, options: RunnerOptions | None = None
    ) -> Runner:
        """Return the runner; it has no options of its own.

        Raises:
            UsageError: options of another runner were given.
        """
        from mlops_core.runners.local.runner import LocalRunner

        if options is not None and options != RunnerOptions():
            raise UsageError(f"runner 'local' does not take {type(options).__name__}; leave the options out")
        return LocalRunner(store, observer=observer, jobs=jobs, processes=_STARTED.get())

    def check(self, request: RunRequest | None, options: RunnerOptions) -> Iterable[HealthCheck]:
        """Yield whether steps are confined to their outputs by the system."""
        from mlops_core.processes.confinement import landlock_version
        from mlops_core.workspace.maintenance.diagnosis import HealthCheck

        del request, options
        version = landlock_version()
        detail = f"Landlock {version}: a step can write to its outputs only"
        if not version:
            detail = "not confined by the system; inputs are checked after each step instead"
        yield HealthCheck(subject="step isolation", is_good=True, detail=detail)

    def command_options(self, command: str) -> Sequence[click.Parameter]:
        """Return the port of an endpoint for ``deploy``."""
        if command != Ability.DEPLOY:
            return ()
        import click

        return (
            click.Option(
                ["--port"],
                type=click.IntRange(0, 65535),
                default=0,
                show_default=True,
                help="Port of a new endpoint; 0 for one that is free. An endpoint keeps its port.",
            ),
        )

    def read_options(self, values: Mapping[str, object]) -> RunnerOptions:
        """Return the options.

        Raises:
            UsageError: there is no such option.
        """
        if set(values) == {"port"}:
            return LocalDeploymentOptions(port=int(str(values["port"])))
        return super().read_options(values)

    def deployment_target(self, store: Store, options: RunnerOptions) -> DeploymentTarget:
        """Return the endpoints of this machine.

        Raises:
            UsageError: options of another runner were given.
        """
        from mlops_core.deployments.local.target import LocalTarget

        if isinstance(options, LocalDeploymentOptions):
            return LocalTarget(store, port=options.port)
        if options != RunnerOptions():
            raise UsageError(f"runner 'local' does not take {type(options).__name__}; leave the options out")
        return LocalTarget(store)


PLUGIN = LocalRunnerPlugin()
