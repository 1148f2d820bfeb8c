"""Running a run again to compare its outputs."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.api.workspaces import workspace_path
from mlops_core.settings import expand_home

if TYPE_CHECKING:
    from mlops_core.runners.observers import RunObserver
    from mlops_core.trust.agreement import Reproduction
    from mlops_core.trust.bundles.keys import TrustedKeys


def reproduce(
    run: str | Path,
    *,
    workspace: Path | str | None = None,
    dataset: Path | str | None = None,
    keep: Path | str | None = None,
    jobs: int | None = None,
    is_offline: bool = False,
    keys: TrustedKeys | None = None,
    allows_unsigned: bool = False,
    observer: RunObserver | None = None,
) -> Reproduction:
    """Run a run again on this machine and compare its outputs; nothing is reused or registered.

    Args:
        run: an id, the beginning of one, or ``latest``; or the path of an evidence bundle.
        workspace: the workspace that holds the run or, for a bundle, its data set.
        dataset: folder with the data set, where it is not where the run read it.
        keep: new folder for the workspace of the reproduction; None to remove it.
        jobs: number of steps to run in parallel; None for one per core.
        is_offline: refuse to fetch the data set from the network.
        keys: keys whose signatures of a bundle are accepted.
        allows_unsigned: accept a bundle without a signature.
        observer: receives the events of the reproduction; None as for `mlops_core.run`.

    Raises:
        UsageError: there is no such run, or it lacks what a reproduction needs.
        DatasetError: the data set is gone, or is not the one that the run read.
        NotVerifiedError: the bundle is not verified.
        PluginError: the use case or a package is not installed.
        MlopsError: a step failed.
    """
    from mlops_core.runners.progress import observed
    from mlops_core.trust.originals import bundled_original, stored_original
    from mlops_core.trust.reproduction import reproduce_run
    from mlops_core.workspace.store import Store

    with Store(workspace_path(workspace)) as store, contextlib.ExitStack() as opened:
        if isinstance(run, Path):
            folder = store.work_folder("bundle")
            opened.callback(store.remove_work_folder, folder)
            original = bundled_original(run, folder, keys=keys, allows_unsigned=allows_unsigned)
        else:
            original = stored_original(store, run)
        return reproduce_run(
            original,
            store=store,
            observer=opened.enter_context(observed(observer)),
            dataset=None if dataset is None else expand_home(dataset, what="--dataset").absolute(),
            keep=None if keep is None else expand_home(keep, what="--keep").absolute(),
            jobs=jobs,
            is_offline=is_offline,
        )
