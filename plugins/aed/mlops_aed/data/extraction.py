"""Features of many clips: on all cores, in chunks, in the order of the clips, with bounded memory.

A worker writes the patches of a chunk to a file and returns only the number of patches per clip; the caller joins the
files, which the system does without the bytes passing through Python. At most a few chunks per worker are in progress,
however many clips there are.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from mlops_aed.audio.features import clip_patches
from mlops_aed.data.clips import clip_path, of_clip
from mlops_aed.data.memory import keep_freed_memory
from mlops_core import DatasetError, StepError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from mlops_aed.config import FeatureExtraction, Preprocessing
    from mlops_aed.data.clips import Clip

CHUNK = 16
"""Clips per chunk: some 2 MB of patches, 30 ms of work."""
_AHEAD = 3
"""Chunks per worker that may be waiting, or finished but not yet taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """Settings of the extraction; `dataset` is the folder that holds the files of the clips."""

    dataset: Path
    preprocessing: Preprocessing
    features: FeatureExtraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """The patches of some clips as little-endian float32 in the file `path`, which the caller removes.

    Attributes:
        path: the file.
        clips: the clips, in order.
        outcomes: for each clip, its number of patches, or the reason why it cannot be used.
    """

    path: Path
    clips: tuple[Clip, ...]
    outcomes: tuple[int | str, ...]


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def extract(clips: Iterable[Clip], extraction: Extraction, *, spool: Path, workers: int) -> Iterator[Chunk]:
    """Yield the features of `clips`, chunk by chunk, in order.

    Args:
        clips: may be a generator; it is read a few chunks ahead.
        extraction: the settings.
        spool: existing folder for the files of the chunks.
        workers: number of processes; 1 for this process.

    Raises:
        StepError: a worker died; the message names the first clip that may be the cause.
    """
    numbered = enumerate(_batched(clips, CHUNK))
    if workers == 1:
        _begin(extraction)
        for number, members in numbered:
            path = spool / f"{number}.f32"
            yield Chunk(path=path, clips=members, outcomes=_extract_chunk([clip.name for clip in members], path))
        return
    context = multiprocessing.get_context("fork" if os.name == "posix" else "spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(extraction,)) as pool:
        under_way: deque[tuple[Path, tuple[Clip, ...], Future[tuple[int | str, ...]]]] = deque()
        try:
            for number, members in numbered:
                path = spool / f"{number}.f32"
                under_way.append((path, members, pool.submit(_extract_chunk, [clip.name for clip in members], path)))
                if len(under_way) > workers * _AHEAD:
                    yield _finished(*under_way.popleft())
            while under_way:
                yield _finished(*under_way.popleft())
        finally:
            pool.shutdown(cancel_futures=True)


def _finished(path: Path, members: tuple[Clip, ...], future: Future[tuple[int | str, ...]]) -> Chunk:
    try:
        return Chunk(path=path, clips=members, outcomes=future.result())
    except BrokenProcessPool as error:
        raise StepError(
            f"a process died while it read one of the clips from '{members[0].name}' on; "
            "was the machine's memory exhausted?"
        ) from error


_extraction: Extraction | None = None
"""The settings of a worker process, set once when it starts, so that they are not sent with each chunk."""


def _begin(extraction: Extraction) -> None:
    global _extraction  # noqa: PLW0603  a pool's initializer has no other place
    _extraction = extraction
    keep_freed_memory()


def _extract_chunk(names: Sequence[str], path: Path) -> tuple[int | str, ...]:
    """Write the patches of the clips to `path`; return for each clip its number of patches or why it has none."""
    work = _extraction
    if work is None:
        raise StepError("a worker process was not set up")
    outcomes: list[int | str] = []
    with path.open("wb") as stream:
        for name in names:
            try:
                patches = clip_patches(clip_path(work.dataset, name), work.preprocessing, work.features)
            except DatasetError as error:
                outcomes.append(of_clip(error, name))
                continue
            stream.write(patches.astype("<f4", copy=False).data)
            outcomes.append(len(patches))
    return tuple(outcomes)


def _batched(clips: Iterable[Clip], size: int) -> Iterator[tuple[Clip, ...]]:
    rest = iter(clips)
    while members := tuple(islice(rest, size)):
        yield members
