"""Reproduces a run: the same configuration, parameters, data digest and seed, executed afresh, and compared.

A reproduction is carried out in a workspace of its own, which is removed afterwards unless it is kept: nothing of the
original's workspace is reused, replaced or registered there, and no alias moves. Only the data set is read from it.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_core.datasets.digests import iter_tree
from mlops_core.datasets.tree_walk import EARLIER_SPLIT_FOLDER
from mlops_core.errors import DatasetError, ExitCode, MlopsError, PluginError, StepError, UsageError
from mlops_core.evaluation.evaluation_file import read_evaluation
from mlops_core.pipeline import EVALUATION_OUTPUT
from mlops_core.runners.dataset_source import dataset_errors, fetch_source
from mlops_core.runners.local.runner import LocalRunner
from mlops_core.runners.observers import GuardedObserver
from mlops_core.runners.progress import show_outcome
from mlops_core.runners.request import RunRequest
from mlops_core.runners.saved_config import CONFIG, REPRODUCE, check_saved_config, require_complete
from mlops_core.runners.selection import Selection
from mlops_core.settings import read_settings
from mlops_core.trust.agreement import compare_reproduction
from mlops_core.use_cases.assembly import assemble
from mlops_core.workspace.database import workspace_error
from mlops_core.workspace.manifests import changed_files
from mlops_core.workspace.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlops_core.datasets.catalogue import DatasetChoice
    from mlops_core.evaluation.metrics import MetricReport
    from mlops_core.pipeline import ParameterValue
    from mlops_core.runners.dataset_source import FetchedSource
    from mlops_core.runners.observers import RunObserver
    from mlops_core.trust.agreement import Reproduction
    from mlops_core.trust.originals import OriginalRun
    from mlops_core.workspace.records import RunRecord

_SHOWN = 3


def reproduce_run(  # noqa: PLR0913  what the command line knows
    original: OriginalRun,
    *,
    store: Store,
    observer: RunObserver,
    dataset: Path | None = None,
    jobs: int | None = None,
    is_offline: bool = False,
    keep: Path | None = None,
) -> Reproduction:
    """Run a run again with the local runner, and compare every output.

    Args:
        original: what is known of the run.
        store: the workspace that holds its data set, or into which that is fetched.
        observer: receives the events of the reproduction.
        dataset: folder with the data set, where it is not where the run read it.
        jobs: number of steps to run in parallel; None for one per core.
        is_offline: refuse to fetch the data set from the network.
        keep: new folder for the workspace of the reproduction; None to remove it.

    Raises:
        UsageError: the configuration cannot be used again, or the folder to keep exists.
        DatasetError: the data set is gone, or is not the one that the run read; nothing was run.
        PluginError: the use case or a package is not installed.
        MlopsError: a step failed, with the exit code of its failure.
    """
    if keep is not None and keep.exists():
        raise UsageError(f"{keep} exists; the workspace of a reproduction is a new folder")
    request = _request(original, is_offline=is_offline)
    redactor = request.config.redactor()
    with redactor.errors():
        source = _verified_dataset(original, request, store=store, folder=dataset)
        request = replace(request, dataset=_choice_in(request.dataset_choice(), source.path))
        with _new_workspace(store, keep) as folder, Store(folder) as own:
            events = GuardedObserver(observer, redactor=redactor)
            record = LocalRunner(own, observer=events, jobs=jobs).run(request)
            show_outcome(observer, record)
            _require_done(original, record)
            return compare_reproduction(
                original,
                record,
                pipeline=request.pipeline,
                evaluation=_evaluation(own, record, request),
                find_files=own.manifests.find,
                folder=str(keep) if keep else "",
            )


def _request(original: OriginalRun, *, is_offline: bool) -> RunRequest:
    """Return the request of the reproduction: every step that wrote outputs, and what it reads, without the gate."""
    folder = original.config_folder
    require_complete(folder, run_id=original.run_id, aim=REPRODUCE)
    assembly = assemble(original.use_case, config=folder / CONFIG, environ=read_settings().environ)
    check_saved_config(folder, assembly.config, run_id=original.run_id, aim=REPRODUCE)
    pipeline = assembly.pipeline
    names = {step.name for step in pipeline.steps}
    done = {step.name for step in original.steps} & names
    if not done:
        raise UsageError(
            f"{original.origin} cannot be reproduced: the installed {assembly.use_case.installed.distribution} "
            f"{assembly.use_case.installed.version} has none of its steps; install {original.plugin}"
        )
    return RunRequest(
        use_case=assembly.use_case,
        config=assembly.config,
        pipeline=pipeline,
        parameters=pipeline.resolve_parameters({name: _as_text(v) for name, v in original.parameters.items()}),
        seed=original.seed,
        is_offline=is_offline,
        selection=Selection(only=frozenset(done.union(*(pipeline.ancestors(name) for name in done)))),
        dataset=assembly.dataset,
    )


def _as_text(value: ParameterValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


# --- The data set -----------------------------------------------------------------------------------------


def _verified_dataset(
    original: OriginalRun, request: RunRequest, *, store: Store, folder: Path | None
) -> FetchedSource:
    """Return the data set that the run read.

    Raises:
        DatasetError: it is gone, or has another digest; names the files that differ if they are known.
    """
    choice = request.dataset_choice()
    recorded = store.home.joinpath(original.dataset.path)  # absolute for a run of this machine
    place = folder or (recorded if recorded.is_dir() else choice.path)
    if place is None and choice.entry is None:
        raise DatasetError(_gone(original))
    if place is not None and not place.is_dir():
        raise DatasetError(_gone(original, place=place))
    source = fetch_source(
        request.use_case,
        choice if place is None else _choice_in(choice, place),
        store=store,
        seed=original.seed,
        is_offline=request.is_offline,
    )
    if source.record.digest != original.dataset.digest:
        raise DatasetError(_changed(original, source, store=store))
    return source


def _choice_in(choice: DatasetChoice, path: Path) -> DatasetChoice:
    """Return the choice of the same data set in a folder, which may hold the earlier split that was joined to it."""
    earlier = None if (path / EARLIER_SPLIT_FOLDER).is_dir() else choice.earlier_split
    return replace(choice, path=path, entry=None, earlier_split=earlier)


def _gone(original: OriginalRun, *, place: Path | None = None) -> str:
    return (
        f"{original.origin} read the data set '{original.dataset.name}' in {place or original.dataset.path}, which is "
        "gone; name the folder that holds it now with --dataset"
    )


def _changed(original: OriginalRun, source: FetchedSource, *, store: Store) -> str:
    known = store.manifests.find(original.dataset.digest) or original.find_files(original.dataset.digest)
    names: tuple[str, ...] = ()
    if known is not None:
        with dataset_errors(original.dataset.name):
            now = {file.path: file.sha256 for file in iter_tree(source.path, cache=store.file_digests)}
        names = changed_files(known, now)
    which = f": {', '.join(names[:_SHOWN])}" if names else ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    is_new = source.record.is_generated and not source.was_there
    why = "; it was generated here, and its code or this processor gives other bytes" if is_new else ""
    return (
        f"the data set '{original.dataset.name}' in {source.path} is not the one that {original.origin} read{which}"
        f"{more}{why}: its digest is {source.record.digest[:12]}, expected {original.dataset.digest[:12]}; name "
        "a folder that holds the same data with --dataset"
    )


# --- The new run ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _new_workspace(store: Store, keep: Path | None) -> Iterator[Path]:
    """Create the folder of a new workspace, which is removed afterwards unless it is to be kept."""
    if keep is not None:
        yield keep
        return
    try:
        work = store.work_folder("reproduce")
    except OSError as error:
        raise workspace_error(store.home, error) from error
    try:
        yield work / "workspace"
    finally:
        _make_writable(work)
        store.remove_work_folder(work)


def _make_writable(folder: Path) -> None:
    """Let the folders of artifacts, which are read only, be removed."""
    for path in (folder, *folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            with contextlib.suppress(OSError):
                path.chmod(0o700)


def _require_done(original: OriginalRun, record: RunRecord) -> None:
    """Raise the failure of a reproduction as an error of the same exit code."""
    if record.exit_code == ExitCode.OK:
        return
    kinds: dict[int, type[MlopsError]] = {ExitCode.DATASET: DatasetError, ExitCode.PLUGIN: PluginError}
    log = record.error.partition("; log: ")[0]  # the log is removed with the workspace
    raise kinds.get(record.exit_code, StepError)(
        f"{original.origin} cannot be reproduced: {log}; keep its log with --keep FOLDER"
    )


def _evaluation(store: Store, record: RunRecord, request: RunRequest) -> MetricReport | None:
    step = record.step(request.pipeline.evaluation_step.name)
    digest = step.outputs.get(EVALUATION_OUTPUT, "") if step else ""
    return read_evaluation(store.artifacts.path(digest), request.pipeline.metrics) if digest else None
