"""Hashing of inputs, against SHA-256 on all cores; and the memory of a run's driver.

900 MB in files of 440 KB lie in the disk cache. The limit is what as many processes as there are cores need for the
same bytes, each reading its files whole and hashing them, with nothing else to do.

Usage: ``python benchmarks/hashing.py``
"""

from __future__ import annotations

import functools
import hashlib
import multiprocessing
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from measuring import Ratio, medians, report

from mlops_core.datasets.digests import tree_manifest
from mlops_core.workspace.store import Store

FILES, SIZE = 2000, 450_000


def hash_share(paths: list[str]) -> int:
    """Hash some files; the limit of one core."""
    buffer = bytearray(SIZE)
    for path in paths:
        with Path(path).open("rb", buffering=0) as stream:
            stream.readinto(buffer)
        hashlib.sha256(buffer).digest()
    return len(paths)


def limit(pool: ProcessPoolExecutor, paths: list[str]) -> float:
    """Return the time that all cores together need at least."""
    cores = os.cpu_count() or 1
    began = time.perf_counter()
    list(pool.map(hash_share, [paths[index::cores] for index in range(cores)]))
    return time.perf_counter() - began


def ours(folder: Path, cache: Store | None = None) -> float:
    """Return the time of a manifest of the folder."""
    began = time.perf_counter()
    if cache is None:
        tree_manifest(folder)
    else:
        with cache.transaction():
            tree_manifest(folder, cache=cache.file_digests)
    return time.perf_counter() - began


def main() -> int:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="mlops-bench-") as place:
        folder = Path(place) / "data"
        folder.mkdir()
        for index in range(FILES):
            (folder / f"{index:04d}").write_bytes(os.urandom(SIZE))
        paths = sorted(map(str, folder.iterdir()))
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool, Store(Path(place) / "workspace") as store:
            limit(pool, paths)
            time.sleep(0.1)
            ours(folder, store)
            cold, known, floor = medians(
                [
                    functools.partial(ours, folder),
                    functools.partial(ours, folder, store),
                    functools.partial(limit, pool, paths),
                ],
                repetitions=5,
            )
    return report(
        [
            Ratio(name="hashing 900 MB", ours_s=cold, peer="SHA-256 on all cores", peer_s=floor, target=1.25),
            Ratio(name="900 MB that have not changed", ours_s=known, peer="hashing them", peer_s=cold, target=0.1),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
