"""Running a use case."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlops_core.api.requests import prepare_resumption, prepare_run
from mlops_core.api.runs import viewable
from mlops_core.api.workspaces import workspace_path
from mlops_core.errors import UsageError
from mlops_core.reading import fault_of
from mlops_core.settings import expand_home

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from mlops_core.runners.observers import RunObserver
    from mlops_core.runners.plugin import RunnerOptions
    from mlops_core.runners.request import RunRequest
    from mlops_core.use_cases.assembly_cache import AssemblyCache
    from mlops_core.workspace.records import RunRecord


def run(
    use_case: str = "",
    *,
    config: Path | str | None = None,
    overrides: Sequence[str] = (),
    parameters: Mapping[str, str] | None = None,
    workspace: Path | str | None = None,
    seed: int = 0,
    jobs: int | None = None,
    force: Iterable[str] = (),
    start: str = "",
    only: Iterable[str] = (),
    keep_going: bool = False,
    resume: str = "",
    is_offline: bool = False,
    runner: str = "",
    options: RunnerOptions | None = None,
    artifacts_dir: Path | str | None = None,
    run_id: str = "",
    observer: RunObserver | None = None,
) -> RunRecord:
    """Run a use case: fetch, its steps, gate, register.

    Args:
        use_case: its name, case-insensitive; may be left out with `resume`.
        config: a ``user_config.yaml``; None for the plugin's defaults.
        overrides: strings such as ``"training.epochs=3"``.
        parameters: name -> text, as after ``--param``.
        workspace: the workspace's folder; None for ``MLOPS_HOME``, else ``.mlops``.
        seed: random seed.
        jobs: number of steps to run in parallel; None for one per core.
        force: names of steps to run even where their results could be reused.
        start: run this step and those that follow it; earlier steps must have results.
        only: run only these steps, without the gate.
        keep_going: after a failure, run the steps that do not depend on the failed one.
        resume: id of a run to resume with its own configuration, parameters and seed.
        is_offline: refuse to fetch from the network.
        runner: name of the runner, as for ``--runner``. Empty for ``local`` or, with `resume`, for that of the run.
        options: options of the runner, of the class that its plugin defines.
        artifacts_dir: folder to which the evaluation is also copied.
        run_id: id of a new run that must be found again whatever happens, from `new_run_id`; empty for any.
        observer: receives the run's events; an error in it never fails the run. None to show the progress as a table
            in a notebook and as lines on a terminal, and nothing elsewhere; `SilentObserver` for nothing anywhere.

    Returns:
        The finished record; look at `RunRecord.status` and `RunRecord.verdict`. A rejected gate and a failed step
        do not raise.

    Raises:
        UsageError: the use case, step or run does not exist, or options contradict each other.
        ConfigError: configuration or parameters are wrong.
        PluginError: the use case cannot be loaded.
        StoreError: the workspace is not writable.
        KeyboardInterrupt: raised after all processes were stopped.

    Example:
        >>> record = run("TOY", overrides=["features.scale=2"], workspace="workspace")
        >>> record.verdict.accepted, record.model_version
        (True, 1)
    """
    selection: dict[str, Any] = {"force": force, "start": start, "only": only, "keep_going": keep_going}
    with contextlib.ExitStack() as opened:
        if resume:
            if config or overrides or parameters or seed:
                raise UsageError(
                    f"run {resume} is resumed with its own configuration, parameters and seed; leave --config, --set, "
                    "--param and --seed out, or start a new run: it reuses every unchanged step"
                )
            request = prepare_resumption(resume, workspace=workspace, is_offline=is_offline, **selection)
            _check_use_case(request, use_case)
        else:
            cache = _assemblies(workspace, runner=runner, opened=opened)
            configuration: dict[str, Any] = {"config": config, "overrides": overrides, "parameters": parameters}
            request = prepare_run(use_case, seed=seed, is_offline=is_offline, cache=cache, **configuration, **selection)
        if run_id and not resume:
            request = replace(request, run_id=_unused_run_id(run_id, workspace=workspace))
        if artifacts_dir is not None:
            request = replace(request, artifacts_dir=_writable_folder(artifacts_dir, what="--artifacts-dir"))
        return _carry_out(request, workspace=workspace, runner=runner, observer=observer, jobs=jobs, options=options)


def _assemblies(workspace: Path | str | None, *, runner: str, opened: contextlib.ExitStack) -> AssemblyCache:
    """Return the workspace's assemblies; where the right one is missing, the runner may start early."""
    from mlops_core.runners.discovery import LOCAL, load_runner
    from mlops_core.use_cases.assembly_cache import ASSEMBLIES, AssemblyCache

    def start_early() -> None:
        opened.enter_context(load_runner(runner or LOCAL).start_early())

    return AssemblyCache(workspace_path(workspace) / ASSEMBLIES, on_miss=start_early)


def _carry_out(
    request: RunRequest, *, workspace: Path | str | None, runner: str, observer: RunObserver | None, **arguments: Any
) -> RunRecord:
    from mlops_core.observers.publishing import published
    from mlops_core.runners.discovery import LOCAL, open_runner
    from mlops_core.runners.lifecycle.results import write_run_report
    from mlops_core.runners.observers import GuardedObserver
    from mlops_core.runners.progress import observed, show_outcome
    from mlops_core.workspace.store import Store

    redactor = request.config.redactor()
    with observed(observer) as shown, Store(workspace_path(workspace)) as store, redactor.errors():
        events = GuardedObserver(shown, redactor=redactor)
        name = runner or (request.resumed.runner if request.resumed else LOCAL)
        with published(events, store, request.config) as observers:
            record = open_runner(name, store, observer=observers, **arguments).run(request)
            if not store.is_there:
                from mlops_core.workspace.database import disappeared

                raise disappeared(store.home)
            write_run_report(store, record.run_id, note=events.note, use_case=request.use_case)
        show_outcome(shown, record)
        return viewable(record, home=store.home)


def _unused_run_id(run_id: str, *, workspace: Path | str | None) -> str:
    """Return the id of a new run.

    Raises:
        UsageError: it is not a name, or a run of the workspace has it.
    """
    from mlops_core.names import require_name

    require_name(run_id, what="the id of a run")
    if (workspace_path(workspace) / "runs" / run_id / "run.json").exists():
        raise UsageError(f"run {run_id} exists already; resume it with: mlops run --resume {run_id}")
    return run_id


def _writable_folder(path: Path | str, *, what: str) -> Path:
    """Return a folder that exists or can be created.

    Raises:
        UsageError: it cannot.
    """
    folder = expand_home(path, what=what).absolute()
    existing = next(place for place in (folder, *folder.parents) if place.is_symlink() or place.exists())
    if not existing.exists():
        raise UsageError(f"{what}: {existing} is {fault_of(existing)}; name another folder")
    if not existing.is_dir():
        raise UsageError(f"{what}: {existing} is not a folder")
    if not os.access(existing, os.W_OK):
        raise UsageError(f"{what}: {existing} cannot be written; name another folder")
    return folder


def _check_use_case(request: RunRequest, use_case: str) -> None:
    name = request.use_case.name
    if use_case and use_case.casefold() != name.casefold():
        raise UsageError(f"the resumed run belongs to the use case {name}, not to {use_case}; leave --usecase out")
