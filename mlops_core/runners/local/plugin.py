"""What core provides as the runner ``local``."""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import TYPE_CHECKING

from mlops_core.errors import UsageError
from mlops_core.runners.plugin import Ability, RunnerOptions, RunnerPlugin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mlops_core.runners.local.processes import StepProcesses
    from mlops_core.runners.observers import RunObserver
    from mlops_core.runners.plugin import Runner
    from mlops_core.runners.request import RunRequest
    from mlops_core.workspace.maintenance.diagnosis import HealthCheck
    from mlops_core.workspace.store import Store


_STARTED: ContextVar[StepProcesses | None] = ContextVar("started", default=None)
"""Processes that were started before their runner was created."""


class LocalRunnerPlugin(RunnerPlugin):
    """The runner of this machine."""

    name = "local"
    abilities = frozenset({Ability.CHECK})
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


PLUGIN = LocalRunnerPlugin()
