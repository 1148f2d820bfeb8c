"""Data assets: registering many files, against hashing them; registering them again unchanged, against a second.

The limit of the first is the time in which one process per core lists, reads and hashes the same files.

Usage: ``python benchmarks/assets.py [--files 100000] [--folder FOLDER]``; the folder decides on the file system.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from measuring import Ratio, Timing, medians, report, timed_command

COMMAND = [sys.executable, "-c", "import sys; from mlops_core.cli import main; sys.exit(main())"]
BYTES = 4096
# One process per core reads and hashes its share, and does nothing else, as in hashing.py.
HASHED = """
import hashlib, os, sys
def share(paths):
    for path in paths:
        file = os.open(path, os.O_RDONLY)
        hashlib.sha256(os.read(file, 1 << 20)).hexdigest()
        os.close(file)
paths = [entry.path for shelf in os.scandir(sys.argv[1]) for entry in os.scandir(shelf.path)]
cores = os.cpu_count()
children = []
for index in range(cores):
    if (child := os.fork()) == 0:
        share(paths[index::cores])
        os._exit(0)
    children.append(child)
sys.exit(any(os.waitpid(child, 0)[1] for child in children))
"""


def make(folder: Path, files: int) -> None:
    """Write files of different content, 1,000 in a folder."""

    def shelf(number: int) -> None:
        place = folder / f"{number:04d}"
        place.mkdir(parents=True)
        for index in range(min(1000, files - number * 1000)):
            seed = hashlib.sha256(f"{number}/{index}".encode()).digest()
            (place / f"{index:04d}.bin").write_bytes(seed * (BYTES // len(seed)))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(shelf, range((files + 999) // 1000)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="Where to write the files (default: the temporary folder).")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
        data, numbers = Path(place) / "data", iter(range(100))
        make(data, arguments.files)

        def register(home: str) -> Timing:
            command = [*COMMAND, "datasets", "register", "many", str(data)]
            return timed_command(command, extra={"MLOPS_HOME": str(Path(place) / home)})

        hashed, first = medians(
            [
                lambda: timed_command([sys.executable, "-c", HASHED, str(data)]),
                lambda: register(f"home-{next(numbers)}"),
            ],
            repetitions=3,
        )
        (again,) = medians([lambda: register("home-0")], repetitions=3)
    return report(
        [
            Ratio(
                name=f"register {arguments.files:,} files",
                ours=first,
                peer="SHA-256 on all cores",
                peer_time=hashed,
                target=1.5,
            ),
            Ratio(name="the same, unchanged", ours=again, peer="limit", peer_time=1.0, target=1.0),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
