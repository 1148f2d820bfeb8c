"""Hashing of inputs, against SHA-256 on all cores.

900 MB in files of 440 KB are in the disk cache. The limit is the time in which one process per core reads and hashes
the same bytes, and does nothing else.

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

from measuring import Ratio, Timing, medians, report, timed

from mlops_core.datasets.digests import tree_manifest
from mlops_core.workspace.store import Store

FILES, SIZE = 2000, 450_000


def hash_share(paths: list[str]) -> float:
    """Hash some files, and return the processor time in seconds: the limit of one core."""
    spent = time.process_time()
    buffer = bytearray(SIZE)
    for path in paths:
        with Path(path).open("rb", buffering=0) as stream:
            stream.readinto(buffer)
        hashlib.sha256(buffer).digest()
    return time.process_time() - spent


def limit(pool: ProcessPoolExecutor, paths: list[str]) -> Timing:
    """Return the time that all cores together need."""
    cores = os.cpu_count() or 1
    began = time.perf_counter()
    processor_s = sum(pool.map(hash_share, [paths[index::cores] for index in range(cores)]))
    return Timing(wall_s=time.perf_counter() - began, processor_s=processor_s)


def ours(folder: Path, cache: Store | None = None) -> Timing:
    """Return the time of a manifest of the folder."""
    if cache is None:
        return timed(lambda: tree_manifest(folder))
    with cache.transaction():
        return timed(lambda: tree_manifest(folder, cache=cache.file_digests))


def main() -> int:
    """Measure, and print the table."""
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
            cold, unchanged, floor = medians(
                [
                    functools.partial(ours, folder),
                    functools.partial(ours, folder, store),
                    functools.partial(limit, pool, paths),
                ],
                repetitions=5,
            )
    return report(
        [
            Ratio(name="hashing 900 MB", ours=cold, peer="SHA-256 on all cores", peer_time=floor, target=1.25),
            Ratio(name="900 MB that have not changed", ours=unchanged, peer="hashing them", peer_time=cold, target=0.1),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
