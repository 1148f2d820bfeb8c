"""Input of the training: patches read from the mapped file, and batches prepared ahead of the network.

Nothing here imports TensorFlow. A patch is read when a batch needs it, so the features may be larger than the memory;
a thread prepares the next batches while the network computes, so that it does not wait.
"""

from __future__ import annotations

import math
import queue
import threading
from typing import TYPE_CHECKING, Generic, TypeVar, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

T = TypeVar("T")
_BLOCK = 1024
"""Patches per block when all are read: 25 MB."""


class MappedPatches:
    """Some patches of a feature file, normalised when they are read; supports ``len()`` and ``[index]`` like an array.

    Attributes:
        shape: (patches, n_mels, frames).
    """

    def __init__(self, features: Floats, rows: Sequence[int], *, mean: float = 0.0, deviation: float = 1.0) -> None:
        """Select the patches `rows` of the mapped array `features` without copying it."""
        self._features = features
        self._rows = np.asarray(rows, dtype=np.int64)
        self._mean = np.float32(mean)
        self._scale = np.float32(1.0 / deviation)
        self.shape: tuple[int, ...] = (len(self._rows), *features.shape[1:])

    def __len__(self) -> int:
        """Return the number of patches."""
        return len(self._rows)

    def __getitem__(self, index: int | slice | NDArray[np.int64]) -> Floats:
        """Return one patch, shape (n_mels, frames), or several, shape (patches, n_mels, frames)."""
        patches = np.asarray(self._features[self._rows[index]])
        return cast("Floats", (patches - self._mean) * self._scale)

    def normalised(self) -> MappedPatches:
        """Return the same patches with mean 0 and standard deviation 1 over all their values."""
        mean, deviation = self.moments()
        return MappedPatches(self._features, self._rows.tolist(), mean=mean, deviation=deviation)

    def moments(self) -> tuple[float, float]:
        """Return mean and standard deviation of all values before normalisation, read block by block.

        The deviation of constant values is 1, so that it can be used as a divisor.
        """
        count, total, squares = 0, 0.0, 0.0
        for start in range(0, len(self), _BLOCK):
            values = np.asarray(self._features[self._rows[start : start + _BLOCK]], dtype=np.float64)
            count += values.size
            total += float(values.sum())
            squares += float(np.square(values).sum())
        if not count:
            return 0.0, 1.0
        mean = total / count
        return mean, math.sqrt(max(0.0, squares / count - mean * mean)) or 1.0


class Ahead(Generic[T]):
    """Takes items from an iterator in a thread, a few ahead, in order.

    Use it in a ``with`` statement, whose end stops the thread. An error of the iterator is raised by the call of
    ``next`` for that item.
    """

    def __init__(self, items: Iterator[T], *, depth: int = 4) -> None:
        """Start at once; at most `depth` items wait."""
        self._items = items
        self._ready: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(maxsize=depth)
        self._is_stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="ahead", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            for item in self._items:
                self._ready.put((item, None))
                if self._is_stopped.is_set():
                    return
            self._ready.put((None, StopIteration()))
        except BaseException as error:  # noqa: BLE001  raised again by `__next__`
            self._ready.put((None, error))

    def __iter__(self) -> Iterator[T]:
        """Return itself."""
        return self

    def __next__(self) -> T:
        """Return the next item."""
        item, error = self._ready.get()
        if error is not None:
            self._ready.put((None, error))  # repeated calls end, too
            raise error
        return cast("T", item)

    def __enter__(self) -> Ahead[T]:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the thread; drop the items it prepared."""
        self._is_stopped.set()
        while self._thread.is_alive():
            try:
                self._ready.get(timeout=0.05)
            except queue.Empty:
                continue
