"""A run on this machine and the same run on a runner, compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.runners.discovery import load_runner
from mlops_core.runners.observers import SilentObserver
from mlops_core.runners.parity import prove_parity
from mlops_core.workspace.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_core.runners.parity import ParityReport
    from mlops_core.runners.plugin import RunnerOptions
    from mlops_core.runners.request import RunRequest


def prove_runner_parity(
    request: RunRequest, *, runner: str, workspace: Path, options: RunnerOptions | None = None, jobs: int | None = 2
) -> ParityReport:
    """Carry out a request on this machine and on a runner, and compare everything: order, digests, verdict, message.

    Args:
        request: what is run, from `mlops_core.prepare_run`.
        runner: name of a runner with `Ability.PARITY`.
        workspace: the workspace of both runs.
        options: of the runner; None for its defaults.
        jobs: number of steps to run in parallel; None for the runner's default.

    Returns:
        The report; without `ParityReport.differences`, the two are equal.

    Raises:
        UsageError: the runner is not installed or executes no definition.
        MlopsError: a run could not be begun.

    Example:
        >>> from mlops_core import prepare_run
        >>> from mlops_core.testing import prove_runner_parity
        >>> request = prepare_run("TOY")
        >>> prove_runner_parity(request, runner="mine", workspace=workspace).differences  # doctest: +SKIP
        ()
    """
    plugin, observer = load_runner(runner), SilentObserver()
    with Store(workspace) as store:
        return prove_parity(
            request,
            store=store,
            observer=observer,
            runner=plugin.create_runner(store, observer=observer, jobs=jobs, options=options),
            definition_of=lambda run_id: plugin.executed_definition(store, run_id),
            jobs=jobs,
        )
