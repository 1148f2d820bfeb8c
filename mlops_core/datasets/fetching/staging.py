"""Bringing the sources of a data set together, source by source, so that an interrupted fetch goes on where it was.

Each source has a folder of its own below the partial folder: its downloads, and ``files``, what they unpack to. A
source that is finished is marked; when all are, their files are put into one tree.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from mlops_core.datasets.addresses import file_fault, is_below, name_in_address, public_address, repository_fault
from mlops_core.errors import DatasetError
from mlops_core.redaction import redact_urls

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_core.datasets.catalogue import AnySource, Dataset, Progress, Source, SplitSource

_DONE = "done"
_DOWNLOADS = "downloads"


def fetch_sources(
    dataset: Dataset, partial: Path, files: Path, *, seed: int, progress: Progress, is_offline: bool
) -> None:
    """Fetch what is missing of `dataset` into the folder `partial`, then put everything into the folder `files`.

    Raises:
        DatasetError: a source cannot be fetched or is damaged, two sources contain the same file, or an address or a
            path of the catalogue entry is refused; nothing is fetched then.
    """
    for source in dataset.sources:
        if fault := _fault(source):
            raise DatasetError(f"data set '{dataset.name}': {fault}; correct it where the data set is defined")
    stages = [partial / f"source-{number}" for number, _ in enumerate(dataset.sources)]
    for source, stage in zip(dataset.sources, stages, strict=True):
        mark = stage / _DONE
        identity = redact_urls(repr(source))
        if mark.is_file() and mark.read_text(encoding="utf-8") == identity:
            continue
        stage.mkdir(parents=True, exist_ok=True)
        try:
            _fetch(dataset, source, stage, seed=seed, progress=progress, is_offline=is_offline)
        except DatasetError:
            if not any((stage / _DOWNLOADS).glob("*.part")):  # nothing that could be continued
                shutil.rmtree(stage)
            raise
        mark.write_text(identity, encoding="utf-8")
    for source, stage in zip(dataset.sources, stages, strict=True):
        _merge(stage / "files", files / getattr(source, "to", ""), name=dataset.name)
        shutil.rmtree(stage)


def _fault(source: AnySource) -> str:
    """Return why a source is not fetched; empty if it may be."""
    from mlops_core.datasets.catalogue import CommandSource, GeneratedSource, GitSource, SplitSource, StoredSource

    if isinstance(source, GeneratedSource):
        return ""
    if isinstance(source, CommandSource | StoredSource):
        return f"{source} is for data sets of a configuration only"
    if isinstance(source, GitSource):
        fault = repository_fault(source.url)
        return fault and f"git repository {public_address(source.url)} {fault}"
    if not is_below(source.to):
        return f"to {source.to!r} is not a path below the data set"
    parts = source.parts if isinstance(source, SplitSource) else (source,)
    for part in parts:
        if fault := file_fault(part.url):
            return f"source {public_address(part.url)} {fault}"
    names = [name_in_address(part.url) for part in parts]
    repeated = sorted({name for name in names if names.count(name) > 1})
    return f"two parts of an archive have the name {repeated[0]!r}" if repeated else ""


def _fetch(
    dataset: Dataset, source: AnySource, stage: Path, *, seed: int, progress: Progress, is_offline: bool
) -> None:
    from mlops_core.datasets.catalogue import GeneratedSource, GitSource, Source, SplitSource

    target = stage / "files"
    is_resumable = isinstance(source, SplitSource)
    if not is_resumable:
        shutil.rmtree(target, ignore_errors=True)
    target.mkdir(exist_ok=is_resumable)
    if isinstance(source, GeneratedSource):
        from mlops_core.code_references import load_function

        load_function(source.run, what=f"data set '{dataset.name}'")(target, seed=seed, progress=progress)
        return
    if is_offline:
        raise DatasetError(
            f"data set '{dataset.name}' is not on this machine and may not be fetched (offline); "
            "set dataset.path to a folder that holds it"
        )
    if isinstance(source, GitSource):
        from mlops_core.datasets.fetching.git import clone

        clone(source.url, source.revision, target, name=dataset.name)
    elif isinstance(source, SplitSource):
        _fetch_split(dataset, source, stage, progress=progress)
    elif isinstance(source, Source):
        _fetch_file(dataset, source, stage, progress=progress)


def _fetch_file(dataset: Dataset, source: Source, stage: Path, *, progress: Progress) -> None:
    from mlops_core.datasets.fetching.archives import unpack
    from mlops_core.datasets.fetching.http import download

    archive = download(source, _downloads(stage), name=dataset.name, progress=progress)
    if source.unpack:
        unpack(archive, stage / "files", strip=source.strip)
        archive.unlink()
    else:
        archive.rename(stage / "files" / archive.name)


def _fetch_split(dataset: Dataset, source: SplitSource, stage: Path, *, progress: Progress) -> None:
    from mlops_core.datasets.fetching.http import download
    from mlops_core.datasets.fetching.split_archives import unpack_split

    folder = _downloads(stage)
    parts = [download(part, folder, name=dataset.name, progress=progress) for part in source.parts]
    label = f"{parts[-1].name}: file"
    unpack_split(parts, stage / "files", strip=source.strip, progress=lambda done, total: progress(label, done, total))
    for part in parts:
        part.unlink()


def _downloads(stage: Path) -> Path:
    """Return the folder for downloads, whose names somebody else chose."""
    folder = stage / _DOWNLOADS
    folder.mkdir(exist_ok=True)
    return folder


def _merge(source: Path, target: Path, *, name: str) -> None:
    """Move everything below `source` to `target`."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        place = target / path.name
        if _is_folder(path) and _is_folder(place):
            _merge(path, place, name=name)
        elif place.exists() or place.is_symlink():
            raise DatasetError(f"data set '{name}': two of its sources hold '{path.name}'; refused")
        else:
            path.rename(place)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
