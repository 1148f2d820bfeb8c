"""The data set of a run: found in the user's folder, found in the workspace, or fetched into it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlops_core.datasets import storage
from mlops_core.datasets.addresses import is_below
from mlops_core.datasets.catalogue import CommandSource, Dataset, GeneratedSource
from mlops_core.datasets.digests import file_digest, iter_tree, tree_manifest
from mlops_core.datasets.earlier_splits import PARTS, join_parts
from mlops_core.datasets.fetching.archives import drop_outer_folder, unpack
from mlops_core.datasets.tree_walk import tree_state
from mlops_core.errors import DatasetError, UsageError
from mlops_core.pipeline import Step
from mlops_core.reading import fault_of
from mlops_core.redaction import redact_urls
from mlops_core.runners.local.processes import StepProcesses, module_of
from mlops_core.steps.context import StepRequest
from mlops_core.steps.source_code import CodeIndex
from mlops_core.workspace.assets.store import ASSET_PREFIX, AssetStore
from mlops_core.workspace.manifests import changed_files
from mlops_core.workspace.records import DatasetRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from mlops_core.datasets.catalogue import DatasetChoice, Progress
    from mlops_core.datasets.earlier_splits import EarlierSplit
    from mlops_core.datasets.tree_walk import TreeState
    from mlops_core.use_cases.manager import UseCase
    from mlops_core.workspace.assets.store import DataAsset
    from mlops_core.workspace.store import Store

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", re.DOTALL)
"""An address as a path holds it, with the slashes of ``//`` as one; a drive of Windows has one letter."""
_MANIFEST_LIMIT = 200_000
"""Number of files; of a larger data set only the digest is kept, without the digests of its files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedSource:
    """A data set that is complete on this machine.

    Attributes:
        path: its folder, read only.
        record: its entry in the run's record.
        was_there: nothing had to be fetched.
        state: of its folder when its digest was computed.
    """

    path: Path
    record: DatasetRecord
    was_there: bool
    state: TreeState


def fetch_source(  # noqa: PLR0913  what a runner, a plan and the command line know
    use_case: UseCase,
    choice: DatasetChoice,
    *,
    store: Store,
    seed: int = 0,
    is_offline: bool = False,
    progress: Progress | None = None,
    processes: StepProcesses | None = None,
) -> FetchedSource:
    """Return the configured data set, fetching it first where it is missing.

    Data that are generated are generated in a process of their own, as a step is: the driver stays small.

    Raises:
        ConfigError: the file with the versions of an earlier split is missing, not valid, or contradicts the
            configuration.
        UsageError: a data asset does not exist.
        DatasetError: the user's folder does not exist, is empty or lacks a required file, the data set cannot be
            fetched, or it has changed since it was fetched.
    """
    earlier = None if choice.earlier_split is None else _earlier_parts(choice.earlier_split, store=store)
    source = _fetched(
        use_case, choice, store=store, seed=seed, is_offline=is_offline, progress=progress, processes=processes
    )
    return source if earlier is None else _with_earlier_split(source, earlier, store=store)


def _earlier_parts(split: EarlierSplit, *, store: Store) -> dict[str, DataAsset]:
    """Return part -> data asset of an earlier split.

    Raises:
        UsageError: an asset does not exist, or configuration and file name two versions.
        DatasetError: its files are gone or have changed.
    """
    assets, parts = AssetStore(store), {}
    for part, (stated, *configured) in split.references().items():
        parts[part] = assets.find(stated)
        for reference in configured:
            if assets.find(reference) != parts[part]:
                raise UsageError(
                    f"{split.keys[PARTS.index(part)]} names {reference}, and {split.versions} ({split.keys[2]}) names "
                    f"{stated}, another version of the part '{part}'; expected the same one"
                )
        assets.check(parts[part])
    return parts


def _with_earlier_split(source: FetchedSource, parts: Mapping[str, DataAsset], *, store: Store) -> FetchedSource:
    """Return a data set to which the parts of an earlier split are joined."""
    assets = AssetStore(store)
    folder = join_parts(
        source.path, {part: assets.folder(asset) for part, asset in parts.items()}, below=store.datasets
    )
    record = source.record
    joined = _described(
        folder,
        store=store,
        name=record.name,
        was_there=source.was_there,
        licence=record.licence,
        is_generated=record.is_generated,
    )
    named = ", ".join(f"{part}: {asset}" for part, asset in parts.items())
    return replace(joined, record=replace(joined.record, asset=record.asset, earlier_split=named))


def _fetched(  # noqa: PLR0913  as fetch_source
    use_case: UseCase,
    choice: DatasetChoice,
    *,
    store: Store,
    seed: int,
    is_offline: bool,
    progress: Progress | None,
    processes: StepProcesses | None,
) -> FetchedSource:
    if choice.path is not None and str(choice.path).startswith(ASSET_PREFIX):
        return _asset_source(choice.name, str(choice.path), required=choice.required, store=store)
    if choice.path is not None:
        return _own_source(choice.name, choice.path, required=choice.required, store=store)
    dataset = _entry(choice)
    if dataset.place:
        raise DatasetError(
            f"data set '{dataset.name}' is at {dataset.place}: a runner of that store reads it in place; choose one "
            "with --runner NAME, or copy the data to this machine and set dataset.path"
        )
    path = dataset_folder(store.datasets, dataset, seed=seed)
    was_there = storage.is_complete(dataset, path)
    if not was_there:
        if is_offline and any(isinstance(source, CommandSource) for source in dataset.sources):
            raise DatasetError(f"data set '{dataset.name}' is downloaded by a script; fetch it without --offline first")
        generation = _Generation(use_case, dataset, store=store, seed=seed, progress=progress or _ignore_progress)
        storage.fetch(
            dataset,
            path,
            seed=seed,
            progress=progress,
            is_offline=is_offline,
            populate=lambda folder: (
                _run_script(dataset, folder, store=store)
                or use_case.fetch_dataset(dataset, folder)
                or generation.populate(folder, processes)
            ),
        )
    found = _described(
        path,
        store=store,
        name=dataset.name,
        was_there=was_there,
        licence=dataset.licence,
        is_generated=dataset.is_generated,
    )
    fetched = storage.recorded_digest(path)
    if found.record.digest != fetched:
        raise DatasetError(_changed(found, fetched, store=store))
    return found


def _run_script(dataset: Dataset, folder: Path, *, store: Store) -> bool:
    """Fill `folder` by the script of a data set; return False for a data set without one."""
    from mlops_core.processes.download_scripts import run_command_source

    scripts = [source for source in dataset.sources if isinstance(source, CommandSource)]
    for source in scripts:
        work = store.work_folder("download")
        try:
            run_command_source(source, folder, work=work, name=dataset.name)
        finally:
            store.remove_work_folder(work)
    return bool(scripts)


def _own_source(name: str, path: Path, *, required: Iterable[str], store: Store) -> FetchedSource:
    """Return the data set in a folder of the user's, or in an archive of the user's, which is unpacked first."""
    if os.path.isfile(path):  # noqa: PTH113  False also for a name that is too long
        return _archive_source(name, path, required=required, store=store)
    if not os.path.isdir(path):  # noqa: PTH112  False also for a name that is too long
        found = f"{path} is {fault}" if (fault := fault_of(path)) else f"no folder {path}"
        raise DatasetError(_address_fault(str(path)) or f"dataset.path: {found}; expected the data set '{name}' there")
    if store.home.resolve().is_relative_to(path.resolve()):
        raise DatasetError(
            f"dataset.path: {path} holds the workspace {store.home}, which changes during a run; "
            "set MLOPS_HOME to a folder elsewhere, or dataset.path to a folder with nothing but data"
        )
    _require_files(path, required, what=f"dataset.path: {path}", name=name)
    return _described(path.absolute(), store=store, name=name, was_there=True)


def _address_fault(text: str) -> str:
    """Return why a path that is missing cannot be used, where it is an address; empty where it is none."""
    found = _ADDRESS.match(text)
    if found is None:
        return ""
    scheme, rest = found.groups()
    if scheme.lower() == "file":
        return f"dataset.path: file:///{rest} is an address; write the path alone: /{rest}"
    hint = "set dataset.source.url instead" if scheme.lower() in {"http", "https"} else "copy the data to this machine"
    return f"dataset.path: {redact_urls(f'{scheme}://{rest}')} is an address; expected a folder or an archive; {hint}"


def _has_files(folder: Path, required: Sequence[str]) -> bool:
    """Return whether a data set requires files, and all of them are there."""
    return bool(required) and all(next(folder.glob(pattern), None) is not None for pattern in required)


def _require_files(folder: Path, required: Iterable[str], *, what: str, name: str) -> None:
    for pattern in required:
        if not pattern or not is_below(pattern):
            raise DatasetError(f"data set '{name}' requires {pattern!r}, which is not a path below it")
        if any(found.is_file() or found.is_dir() for found in folder.glob(pattern)):
            continue
        for found in (folder / pattern, *folder.glob(pattern)):
            if fault := fault_of(found):
                found_name = found.relative_to(folder)
                raise DatasetError(f"{what}: {found_name} is {fault}; the data set '{name}' requires {pattern}")
        raise DatasetError(f"{what} has no {pattern}, which the data set '{name}' requires")


def _archive_source(name: str, path: Path, *, required: Iterable[str], store: Store) -> FetchedSource:
    """Return the data set in a zip or tar archive, unpacked in the workspace once for each content of the archive.

    Use cases that share the folder may require different files, so that it is checked at each use. A folder that holds
    all the rest, as archives mostly have one, is left out.
    """
    required = tuple(required)
    with dataset_errors(name):
        digest = file_digest(path, cache=store.file_digests)
    entry = Dataset(name=f"archive-{digest[:32]}", title=path.name, licence="", sources=(), required=required)
    folder, what = store.datasets / entry.name, f"dataset.path: {path}"
    was_there = storage.is_complete(entry, folder)

    def populate(files: Path) -> bool:
        unpack(path, files)
        if next(files.iterdir(), None) is None:
            raise DatasetError(f"{what} holds no file")
        if not _has_files(files, required):
            drop_outer_folder(files)
            _require_files(files, required, what=what, name=name)
        return True

    try:
        storage.fetch(entry, folder, populate=populate)
    except DatasetError as error:
        if str(error).startswith(what):
            raise
        reason = str(error).replace(f"data set '{entry.name}'", str(path))
        raise DatasetError(f"dataset.path: {reason}; expected a folder, or a zip or tar archive of one") from None
    found = _described(folder, store=store, name=name, was_there=was_there)
    if found.record.digest != storage.recorded_digest(folder):
        raise DatasetError(f"dataset.path: {folder}, unpacked from {path}, was changed; remove it to unpack it again")
    _require_files(folder, required, what=what, name=name)
    return found


def _asset_source(name: str, reference: str, *, required: Iterable[str], store: Store) -> FetchedSource:
    """Return the data set that is a version of a data asset; its files must be those that were registered."""
    assets = AssetStore(store)
    asset = assets.find(reference)
    folder = assets.folder(asset)
    if folder.is_dir():
        found = _described(folder, store=store, name=name, was_there=True, licence=asset.licence)
        assets.check(asset, digest=found.record.digest)
        _require_files(folder, required, what=f"data asset {asset}: {folder}", name=name)
        return replace(found, record=replace(found.record, asset=str(asset)))
    assets.check(asset)
    raise AssertionError("a folder that is not there passes no check")


class _Generation:
    """Generated data, each source in a process of its own."""

    def __init__(self, use_case: UseCase, dataset: Dataset, *, store: Store, seed: int, progress: Progress) -> None:
        self._use_case = use_case
        self._dataset = dataset
        self._store = store
        self._seed = seed
        self._progress = progress

    def populate(self, folder: Path, processes: StepProcesses | None) -> bool:
        """Fill `folder`; return False when a part of the data set is not generated.

        Raises:
            DatasetError: the code failed.
        """
        sources = [source for source in self._dataset.sources if isinstance(source, GeneratedSource)]
        if len(sources) < len(self._dataset.sources):
            return False
        with contextlib.ExitStack() as opened:
            for source in sources:
                self._generate(source, folder, processes or opened.enter_context(StepProcesses()))
        return True

    def _generate(self, source: GeneratedSource, folder: Path, processes: StepProcesses) -> None:
        work = self._store.work_folder("generate")
        request = StepRequest(
            use_case=self._use_case.name,
            step=Step(name="generate", run=source.run, outputs=("dataset",)),
            config={},
            parameters={},
            seed=self._seed,
            inputs={},
            outputs={"dataset": folder},
            scratch=work / "scratch",
            progress_file=work / "progress.jsonl",
            is_generation=True,
        )
        try:
            request.scratch.mkdir()
            outcome = processes.run(request, folder=work, log=work / "generate.log", on_progress=self._progress)
        finally:
            self._store.remove_work_folder(work)
        if outcome.error:
            raise DatasetError(f"data set '{self._dataset.name}' cannot be generated: {outcome.error}")


def _ignore_progress(_label: str, _done: int, _total: int) -> None:
    """Ignore the progress."""


def _changed(found: FetchedSource, fetched: str, *, store: Store) -> str:
    known = store.manifests.find(fetched)
    now = {file.path: file.sha256 for file in iter_tree(found.path, cache=store.file_digests)}
    names = () if known is None else changed_files(known, now)
    which = f" ({names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''})" if names else ""
    return (
        f"data set '{found.record.name}' has changed since it was fetched{which}: remove {found.path} to fetch it "
        "again, or set dataset.path to a copy of it to use the changed files"
    )


def source_identity(dataset: Dataset, *, seed: int) -> str:
    """Return the identity of a data set's content: its sources and, for generated data, the seed and the code.

    Raises:
        PluginError: generating code has no source that can be found.
    """
    code = CodeIndex()
    parts: list[object] = []
    for source in dataset.sources:
        parts.append(redact_urls(repr(source)))
        if isinstance(source, GeneratedSource):
            parts.append({"seed": seed, "code": code.digests(module_of(source.run))})
    return json.dumps(parts)


def is_source_there(choice: DatasetChoice, *, store: Store, seed: int) -> bool:
    """Return whether `fetch_source` has nothing to fetch."""
    if choice.path is not None:
        return True
    dataset = _entry(choice)
    return storage.is_complete(dataset, dataset_folder(store.datasets, dataset, seed=seed))


def _entry(choice: DatasetChoice) -> Dataset:
    assert choice.entry is not None  # noqa: S101  for mypy: a choice without a path has an entry
    return choice.entry


def dataset_folder(folder: Path, dataset: Dataset, *, seed: int) -> Path:
    """Return the folder of a data set within the workspace's `folder`.

    Data sets of one name with different sources, seeds or code have different folders.
    """
    identity = hashlib.sha256(source_identity(dataset, seed=seed).encode()).hexdigest()
    return folder / f"{dataset.name}-{identity[:8]}"


def _described(
    path: Path, *, store: Store, name: str, was_there: bool, licence: str = "", is_generated: bool = False
) -> FetchedSource:
    with dataset_errors(name):
        state = tree_state(path)
        manifest = tree_manifest(path, cache=store.file_digests)
    if manifest.count <= _MANIFEST_LIMIT and store.manifests.find(manifest.digest) is None:
        with contextlib.suppress(OSError):  # no room for it: a later change is found, but cannot be traced to a file
            store.manifests.save(manifest.digest, iter_tree(path, cache=store.file_digests))
    if manifest.count == 0:
        faults = sorted(f"{entry.name} is {fault}" for entry in path.iterdir() if (fault := fault_of(entry)))
        found = f"has no file: {faults[0]}" if faults else "is empty"
        raise DatasetError(f"data set '{name}': the folder {path} {found}")
    record = DatasetRecord(
        name=name,
        path=str(path),
        digest=manifest.digest,
        files=manifest.count,
        size_bytes=manifest.size_bytes,
        is_generated=is_generated,
        licence=licence,
    )
    return FetchedSource(path=path, record=record, was_there=was_there, state=state)


@contextlib.contextmanager
def dataset_errors(name: str) -> Iterator[None]:
    """Turn a file of a data set that cannot be read into a `DatasetError` that names the file."""
    try:
        yield
    except OSError as error:
        reason = "a link that leads to itself" if error.errno == errno.ELOOP else error.strerror or str(error)
        raise DatasetError(f"data set '{name}': {error.filename or 'a file of it'}: {reason}") from error
