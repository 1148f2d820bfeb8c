"""Data sets on this machine: each is fetched whole or not at all.

A data set is fetched into a partial folder beside its destination, checked, marked complete and renamed into place,
so a folder that exists is complete. How bytes arrive is in `mlops_core.datasets.fetching`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
from typing import TYPE_CHECKING

from mlops_core.datasets.addresses import is_below
from mlops_core.datasets.digests import tree_manifest
from mlops_core.datasets.fetching.staging import fetch_sources
from mlops_core.datasets.fetching.trees import check_tree
from mlops_core.datasets.tree_walk import MARKER
from mlops_core.errors import DatasetError
from mlops_core.redaction import redact_urls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mlops_core.datasets.catalogue import Dataset, Progress


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
        progress: receives the progress.
        is_offline: refuse to use the network.
        populate: called first, with the partial folder; True means that the folder is complete.

    Raises:
        DatasetError: it cannot be fetched; the message gives the data set, the source, the reason and what to do.
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
    """Return whether `destination` contains the complete `dataset`; only a finished fetch writes its marker."""
    try:
        marker = json.loads((destination / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(marker.get("name") == dataset.name and marker.get("sources") == redact_urls(repr(dataset.sources)))


def recorded_digest(destination: Path) -> str:
    """Return the digest that a complete data set had when it was fetched."""
    return str(json.loads((destination / MARKER).read_text(encoding="utf-8"))["digest"])


def _complete(dataset: Dataset, files: Path, *, seed: int) -> None:
    check_tree(files, name=dataset.name)
    for pattern in dataset.required:
        if not pattern or not is_below(pattern):
            raise DatasetError(f"data set '{dataset.name}' requires {pattern!r}, which is not a path below it")
        if next(files.glob(pattern), None) is None:
            raise DatasetError(f"data set '{dataset.name}' was fetched, but has no {pattern}; expected one")
    manifest = tree_manifest(files)
    marker = {
        "name": dataset.name,
        "licence": dataset.licence,
        "homepage": dataset.homepage,
        "is_generated": dataset.is_generated,
        "seed": seed if dataset.is_generated else None,
        "sources": redact_urls(repr(dataset.sources)),
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
