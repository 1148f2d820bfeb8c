"""Checks a workspace for damaged artifacts and removes what is no longer needed.

Nothing here removes what a kept run, a kept model version or an alias needs: what is needed is found first, from the
records, and only the rest is removed. What another process is writing now (``work/``, running runs) is left alone.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.processes.short_names import remove_left_over_links
from mlops_core.workspace.assets.store import AssetStore
from mlops_core.workspace.files import is_claimed
from mlops_core.workspace.manifests import REQUESTS_NOTE
from mlops_core.workspace.records import RunStatus
from mlops_core.workspace.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from mlops_core.workspace.model_versions import ModelVersion
    from mlops_core.workspace.runs import RunSummary
    from mlops_core.workspace.store import Store

_GRACE_S = 600.0
"""During a run, an artifact may be so new that no record names it yet; a folder of work, that nobody has claimed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """An artifact whose content no longer matches its digest.

    Attributes:
        artifact: its digest.
        fault: what is wrong; names a file where possible.
        needed_by: runs and model versions that refer to it.
        fix: the command that creates it again.
    """

    artifact: str
    fault: str
    needed_by: tuple[str, ...]
    fix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Garbage:
    """Runs, artifacts and folders that are no longer needed.

    Attributes:
        runs: ids of the runs to remove.
        artifacts: digests of the artifacts to remove.
        folders: left behind by processes that have ended.
        size_bytes: of artifacts and folders together.
    """

    runs: tuple[str, ...]
    artifacts: tuple[str, ...]
    folders: tuple[Path, ...]
    size_bytes: int


def find_damage(store: Store) -> Iterator[Damage]:
    """Read every artifact of the workspace and yield those that are damaged."""
    versions = Registry(store).versions()
    damaged = {
        folder.name: fault for folder in store.artifacts.folders() if (fault := store.artifacts.damage(folder.name))
    }
    users = _users(store, versions, damaged.keys())
    for artifact, fault in damaged.items():
        needed_by = tuple(users.get(artifact, ()))
        runs = [name for name in needed_by if name.startswith("run ")]
        fix = f"mlops run --resume {runs[-1].removeprefix('run ')}" if runs else "nothing needs it"
        yield Damage(artifact=artifact, fault=fault, needed_by=needed_by, fix=fix)
    for version in versions:
        if not store.artifacts.has(version.artifact):
            yield Damage(
                artifact=version.artifact,
                fault=f"it is gone from {store.home}",
                needed_by=(f"model {version.use_case} version {version.version}",),
                fix=f"mlops run --resume {version.run_id}",
            )


def database_fault(store: Store) -> str:
    """Return what SQLite finds wrong with the database; empty when it is sound."""
    with store.reading() as db:
        rows = [str(row[0]) for row in db.execute("PRAGMA integrity_check(5)")]
    return "" if rows == ["ok"] else "; ".join(rows)


def find_garbage(store: Store, *, keep: int, use_case: str | None = None) -> Garbage:
    """Return what can be removed when the newest `keep` runs of each use case are kept.

    Runs with a registered model, runs in progress and registered models are always kept.
    """
    versions = Registry(store).versions()
    kept, removed = _sort_runs(store, keep=keep, use_case=use_case, models={version.run_id for version in versions})
    needed = {digest for version in versions for digest in (version.artifact, version.code, version.requests)}
    needed |= AssetStore(store).artifacts()
    forgotten = {run.run_id for run in removed}
    for run_id, digests in store.runs.artifacts():
        if run_id not in forgotten:
            needed.update(digests)
    needed |= {store.manifests.find_note(digest, REQUESTS_NOTE) or "" for digest in needed}
    is_running = any(run.status is RunStatus.RUNNING for run in kept)
    artifacts = tuple(
        folder
        for folder in store.artifacts.folders()
        if folder.name not in needed and _is_old(folder.stat().st_ctime, is_running=is_running)
    )
    folders = tuple(path for path in store.work.iterdir() if _is_left_over(path))
    return Garbage(
        runs=tuple(run.run_id for run in removed),
        artifacts=tuple(folder.name for folder in artifacts),
        folders=folders,
        size_bytes=sum(_size(path) for path in (*artifacts, *folders)),
    )


def remove_garbage(store: Store, garbage: Garbage) -> None:
    """Remove what `find_garbage` found; a run that another process is resuming is kept."""
    for run_id in garbage.runs:
        if not store.runs.is_alive(run_id):
            store.runs.forget(run_id)
    for digest in garbage.artifacts:
        store.artifacts.discard(digest)
        store.manifests.discard(digest)
    for folder in garbage.folders:
        if not is_claimed(folder):
            shutil.rmtree(folder, ignore_errors=True)
    remove_left_over_links()


def _sort_runs(
    store: Store, *, keep: int, use_case: str | None, models: AbstractSet[str]
) -> tuple[list[RunSummary], list[RunSummary]]:
    """Return the runs to keep and those to remove; runs whose ids are in `models` are kept."""
    kept: list[RunSummary] = []
    removed: list[RunSummary] = []
    seen: dict[str, int] = {}
    for run in store.runs.newest(limit=-1):
        seen[run.use_case] = seen.get(run.use_case, 0) + 1
        is_other = use_case is not None and run.use_case.casefold() != use_case.casefold()
        is_kept = is_other or seen[run.use_case] <= keep or run.run_id in models or store.runs.is_alive(run.run_id)
        (kept if is_kept else removed).append(run)
    return kept, removed


def _users(store: Store, versions: Iterable[ModelVersion], artifacts: AbstractSet[str]) -> dict[str, list[str]]:
    """Return for each of `artifacts` the model versions and the runs (oldest first) that refer to it."""
    users: dict[str, list[str]] = {}
    if not artifacts:
        return users
    for version in versions:
        for digest in {version.artifact, version.code} & artifacts:
            users.setdefault(digest, []).insert(0, f"model {version.use_case} version {version.version}")
    for run_id, digests in store.runs.artifacts():
        for digest in set(digests) & artifacts:
            users.setdefault(digest, []).append(f"run {run_id}")
    return users


def _is_old(made: float, *, is_running: bool) -> bool:
    """Return whether an artifact is older than any record that could name it later.

    Without a run in progress, one of a time still to come is old, too: the clock was set back since.
    """
    age = time.time() - made
    return age >= _GRACE_S if is_running else age >= 0 or age < -_GRACE_S


def _is_left_over(path: Path) -> bool:
    """Tell whether unfinished work belongs to no living process, however long that has been at it.

    A time still to come is no recent one: the clock was set back since.
    """
    try:
        return abs(time.time() - path.stat().st_mtime) > _GRACE_S and not is_claimed(path)
    except OSError:
        return False


def _size(folder: Path) -> int:
    sizes = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # another process has removed it
            sizes += path.lstat().st_size if path.is_file() else 0
    return sizes
