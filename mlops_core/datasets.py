"""Data sets: catalogue entries, bringing one to this machine whole or not at all, digests, and the leak check.

A data set is a folder. It is fetched into a partial folder beside its destination, checked, marked complete and
renamed into place, so a folder that is there is complete. How bytes arrive is in `mlops_core.fetching`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from mlops_core.errors import DatasetError, PipelineError
from mlops_core.fetching.staging import fetch_sources
from mlops_core.file_digests import MARKER, tree_manifest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

Progress: TypeAlias = Callable[[str, int, int], None]
"""Is told (label, done, total)."""
_CHUNK = 1 << 20
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file at a public address.

    Attributes:
        url: http(s) address.
        sha256: checksum in hexadecimal; empty when the publisher gives none.
        md5: likewise, for publishers that give only this one.
        size: of the file in bytes; None when it is not known.
        unpack: unpack the archive (zip, tar, tar.gz, ...) instead of keeping it.
        strip: leading path components that are dropped when unpacking.
        to: sub-folder of the data set; empty for its top.
    """

    url: str
    sha256: str = ""
    md5: str = ""
    size: int | None = None
    unpack: bool = True
    strip: int = 0
    to: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitSource:
    """A commit of a git repository; the commit's id is the checksum of all its files."""

    url: str
    revision: str

    def __post_init__(self) -> None:
        """Refuse anything that could mean another content tomorrow."""
        if len(self.revision) != 40 or not set(self.revision) <= set("0123456789abcdef"):
            raise PipelineError(f"git source {self.url}: revision {self.revision!r} is not a full commit id")


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedSource:
    """Data made by code: ``"package.module:function"``, called as ``function(folder, seed=, progress=)``."""

    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSource:
    """One zip archive in several files, as ``zip -s`` writes it.

    Attributes:
        parts: ``.z01``, ``.z02``, ... and last ``.zip``, each with its checksum.
        strip: leading path components that are dropped when unpacking.
        to: sub-folder of the data set; empty for its top.
    """

    parts: tuple[Source, ...]
    strip: int = 0
    to: str = ""


AnySource: TypeAlias = Source | SplitSource | GitSource | GeneratedSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A catalogue entry.

    Attributes:
        name: by which a configuration asks for it.
        title: one line for people.
        licence: of the data.
        homepage: where its publisher describes it; empty for generated data.
        description: what it holds.
        size_bytes: of the download; 0 for generated data.
        sources: what is fetched, in this order.
        required: relative paths or globs without which it is not complete.
    """

    name: str
    title: str
    licence: str
    homepage: str = ""
    description: str = ""
    size_bytes: int = 0
    sources: tuple[AnySource, ...]
    required: tuple[str, ...] = ()

    @property
    def is_generated(self) -> bool:
        """Made by code, not recorded from the world."""
        return any(isinstance(source, GeneratedSource) for source in self.sources)


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSample:
    """A sample as a split sees it; `group` is what must not be on two sides."""

    sample: str
    group: str
    label: str


def fetch(
    dataset: Dataset,
    destination: Path,
    *,
    seed: int = 0,
    progress: Progress | None = None,
    is_offline: bool = False,
    populate: Callable[[Path], bool] | None = None,
) -> Path:
    """Bring `dataset` to the folder `destination`, unless it is complete there already.

    What has arrived stays in ``<destination>.partial`` when the fetch is cut off, and the next call goes on. Of two
    processes that fetch the same data set, one waits for the other.

    Args:
        dataset: the catalogue entry.
        destination: a folder that does not exist, or is complete.
        seed: of generated data.
        progress: is told how far it is.
        is_offline: refuse to use the network.
        populate: tried first, with the partial folder; True means that it did all.

    Raises:
        DatasetError: it cannot be had; one line says which, from where, why and what to do.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    with _locked(destination.with_name(f"{destination.name}.lock")):
        if is_complete(dataset, destination):
            return destination
        partial = destination.with_name(f"{destination.name}.partial")
        files = partial / "files"
        shutil.rmtree(files, ignore_errors=True)
        try:
            files.mkdir(parents=True)
            if not (populate and populate(files)):
                told = progress or (lambda _label, _done, _total: None)
                fetch_sources(dataset, partial, files, seed=seed, progress=told, is_offline=is_offline)
            _complete(dataset, files, seed=seed)
            shutil.rmtree(destination, ignore_errors=True)
            files.rename(destination)
        except OSError as error:
            raise DatasetError(f"data set '{dataset.name}': {error.strerror or error} ({destination})") from error
        finally:
            shutil.rmtree(files, ignore_errors=True)
            with contextlib.suppress(OSError):  # what has arrived stays, to be continued
                partial.rmdir()
    return destination


def is_complete(dataset: Dataset, destination: Path) -> bool:
    """Tell whether `destination` holds all of `dataset`: only a finished fetch writes its marker."""
    try:
        marker = json.loads((destination / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(marker.get("name") == dataset.name and marker.get("sources") == repr(dataset.sources))


def recorded_digest(destination: Path) -> str:
    """Return the digest that a complete data set had when it was fetched."""
    return str(json.loads((destination / MARKER).read_text(encoding="utf-8"))["digest"])


def _complete(dataset: Dataset, files: Path, *, seed: int) -> None:
    for pattern in dataset.required:
        if next(files.glob(pattern), None) is None:
            raise DatasetError(f"data set '{dataset.name}' was fetched, but has no {pattern}; expected one")
    manifest = tree_manifest(files)
    marker = {
        "name": dataset.name,
        "licence": dataset.licence,
        "homepage": dataset.homepage,
        "is_generated": dataset.is_generated,
        "seed": seed if dataset.is_generated else None,
        "sources": repr(dataset.sources),
        "digest": manifest.digest,
        "files": manifest.count,
        "size_bytes": manifest.size_bytes,
    }
    (files / MARKER).write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on the file `path`; the system releases it when the process dies."""
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def check_no_leak(split: Mapping[str, Iterable[SplitSample]]) -> None:
    """Refuse a split in which one group stands on two sides.

    Args:
        split: part (``train``, ``validation``, ``test``) -> its samples.

    Raises:
        DatasetError: a group or a sample is in two parts; the first few are named.
    """
    parts_of: defaultdict[str, set[str]] = defaultdict(set)
    for part, samples in split.items():
        for sample in samples:
            parts_of[sample.group].add(part)
    leaks = sorted((group, sorted(parts)) for group, parts in parts_of.items() if len(parts) > 1)
    if leaks:
        shown = ", ".join(f"'{group}' ({' and '.join(parts)})" for group, parts in leaks[:_SHOWN])
        more = f" and {len(leaks) - _SHOWN} more" if len(leaks) > _SHOWN else ""
        raise DatasetError(f"split leaks: {len(leaks)} group(s) stand on two sides: {shown}{more}; split by group")
