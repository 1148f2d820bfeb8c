"""Captured samples in the order of their time, sorted in a temporary database on disk, so that memory stays bounded."""

from __future__ import annotations

import hashlib
import sqlite3
from array import array
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mlops_core.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_TABLES = """
CREATE TABLE requests (identity BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE samples (number INTEGER PRIMARY KEY, time REAL NOT NULL, vector BLOB NOT NULL);
"""


class CapturedSamples:
    """Samples that are iterated in the order of their time, and what was left out.

    Samples of equal times keep the order in which they were added.

    Attributes:
        requests: number of requests that were read.
        duplicates: requests that were read before: the same id, time and features.
        unreadable: lines that are torn or damaged.
        undescribed: requests on which the plugin failed.
        first_failure: what it said about the first one.
        late: requests that follow a later one in their file.
        without_model: requests that do not say which registered version answered.
        beyond: samples left out because their request has more than `MOST_OBSERVED`, as a server leaves them out.
    """

    def __init__(self) -> None:
        """Begin without samples."""
        self.requests = self.duplicates = self.late = self.without_model = self.beyond = 0
        self.unreadable = self.undescribed = 0
        self.first_failure = ""
        self._count = 0
        self._database = sqlite3.connect("", isolation_level=None)  # SQLite removes the file itself
        self._database.executescript(_TABLES)
        self._database.execute("BEGIN")

    def add(self, request: str, time: float, vectors: Sequence[array[float]]) -> bool:
        """Add the samples of a request.

        Args:
            request: its id; a request without one is never a duplicate.
            time: in seconds since 1970.
            vectors: features of each sample; NaN for a missing number.

        Returns:
            whether they were added: False for a request that was added before.

        Raises:
            StoreError: the disk for temporary files is full.
        """
        with _on_disk():
            if request:
                digest = hashlib.blake2b(repr((request, time)).encode(errors="surrogateescape"), digest_size=16)
                for vector in vectors:
                    digest.update(vector.tobytes())
                insert = "INSERT OR IGNORE INTO requests VALUES (?)"
                if not self._database.execute(insert, (digest.digest(),)).rowcount:
                    return False
            rows = ((time, vector.tobytes()) for vector in vectors)
            self._database.executemany("INSERT INTO samples (time, vector) VALUES (?, ?)", rows)
        self._count += len(vectors)
        return True

    def leave_out(self, reason: str) -> None:
        """Count a line that is left out.

        Args:
            reason: what the plugin said about it; empty for a line that cannot be read.
        """
        if not reason:
            self.unreadable += 1
            return
        self.undescribed += 1
        self.first_failure = self.first_failure or reason

    def __len__(self) -> int:
        """Return the number of samples."""
        return self._count

    def __iter__(self) -> Iterator[tuple[float, array[float]]]:
        """Yield time and features of each sample, in the order of time.

        Raises:
            StoreError: the disk for temporary files is full.
        """
        with _on_disk():
            for time, raw in self._database.execute("SELECT time, vector FROM samples ORDER BY time, number"):
                yield time, array("d", raw)

    def counts(self) -> dict[str, int]:
        """Return the numbers by name."""
        return {
            "requests": self.requests,
            "samples": self._count,
            "duplicates": self.duplicates,
            "unreadable_lines": self.unreadable,
            "undescribed_requests": self.undescribed,
            "late_requests": self.late,
            "requests_without_model": self.without_model,
            "samples_beyond_the_limit": self.beyond,
        }

    @property
    def hours(self) -> float:
        """Time from the first to the last sample."""
        first, last = self._database.execute("SELECT min(time), max(time) FROM samples").fetchone()
        return 0.0 if first is None else (last - first) / 3600


@contextmanager
def _on_disk() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StoreError(
            f"drift: captured samples cannot be sorted: {error}; free the disk of temporary files, or name a folder on "
            "another one in SQLITE_TMPDIR"
        ) from error
