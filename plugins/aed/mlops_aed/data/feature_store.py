"""The features of all clips in one memory-mapped file, ``patches.f32``, with one row per patch in ``patches.csv``.

``features.json`` holds the number of patches, their shape, the classes, and the clips that were left out.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Self

import numpy as np

from mlops_aed.data.clips import TEST, iter_split

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

    from mlops_aed.data.clips import Clip
    from mlops_aed.data.extraction import Chunk

DATA_FILE, ROWS_FILE, HEADER_FILE = "patches.f32", "patches.csv", "features.json"
_COLUMNS = ("part", "label", "group", "clip", "patch")
_VALUE_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchRow:
    """Origin of one patch: `index` is its position in the file, `patch` its position in the clip."""

    index: int
    part: str
    label: str
    group: str
    clip: str
    patch: int


class FeatureWriter:
    """Writes features chunk by chunk; nothing is kept in memory.

    Attributes:
        left_out: reasons why clips have no patches, in the order of the clips.
        clips: number of clips that have patches.
        patches: number of patches.
    """

    def __init__(self, folder: Path, *, classes: Sequence[str], shape: tuple[int, int]) -> None:
        """Start in the empty folder `folder`; `shape` is (n_mels, patch_length) of a patch."""
        self._folder = folder
        self._classes = tuple(classes)
        self._shape = shape
        self._data = (folder / DATA_FILE).open("wb")
        self._text = (folder / ROWS_FILE).open("w", newline="", encoding="utf-8")
        self._rows = csv.writer(self._text, lineterminator="\n")
        self._rows.writerow(_COLUMNS)
        self.left_out: list[str] = []
        self.clips = 0
        self.patches = 0

    @property
    def patch_bytes(self) -> int:
        """Size of one patch in the file."""
        return self._shape[0] * self._shape[1] * _VALUE_BYTES

    def add_chunk(self, chunk: Chunk) -> None:
        """Append the patches of a chunk, and remove its file."""
        with chunk.path.open("rb") as source:
            _copy(source, self._data, chunk.path.stat().st_size)
        chunk.path.unlink()
        for clip, outcome in zip(chunk.clips, chunk.outcomes, strict=True):
            if isinstance(outcome, str):
                self.left_out.append(outcome)
            else:
                self._add_rows(clip, outcome)

    def copy_clip(self, clip: Clip, count: int, source: IO[bytes]) -> None:
        """Append the next `count` patches of the file `source` as those of `clip`."""
        _copy(source, self._data, count * self.patch_bytes)
        self._add_rows(clip, count)

    def _add_rows(self, clip: Clip, count: int) -> None:
        self._rows.writerows((clip.part, clip.label, clip.group, clip.name, patch) for patch in range(count))
        self.clips += 1
        self.patches += count

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files; write the header unless an error occurred."""
        self._data.close()
        self._text.close()
        if kind is None:
            header = {
                "patches": self.patches,
                "shape": self._shape,
                "classes": self._classes,
                "left_out": self.left_out,
            }
            (self._folder / HEADER_FILE).write_text(json.dumps(header) + "\n", encoding="utf-8")


def _copy(source: IO[bytes], target: IO[bytes], size: int) -> None:
    """Append `size` bytes from the position of `source`; within the kernel if possible."""
    target.flush()
    while size and hasattr(os, "copy_file_range"):
        try:
            copied = os.copy_file_range(source.fileno(), target.fileno(), size)
        except OSError:  # between file systems, or not supported
            break
        if not copied:
            raise OSError(f"{source.name} ends {size} bytes too early")
        size -= copied
    if size:
        shutil.copyfileobj(_Limited(source, size), target, 1 << 20)


class _Limited:
    """The next `size` bytes of an unbuffered file, as a readable object."""

    def __init__(self, source: IO[bytes], size: int) -> None:
        self._source = source
        self._left = size

    def read(self, size: int = -1) -> bytes:
        content = os.read(self._source.fileno(), min(size if size >= 0 else self._left, self._left))
        if not content and self._left:
            raise OSError(f"{self._source.name} ends {self._left} bytes too early")
        self._left -= len(content)
        return content


def iter_rows(folder: Path) -> Iterator[PatchRow]:
    """Yield every patch in the order of the file."""
    with (folder / ROWS_FILE).open(newline="", encoding="utf-8") as stream:
        for index, row in enumerate(csv.DictReader(stream)):
            yield PatchRow(
                index=index,
                part=row["part"],
                label=row["label"],
                group=row["group"],
                clip=row["clip"],
                patch=int(row["patch"]),
            )


def read_rows(folder: Path, *parts: str, split: Path | None = None) -> list[PatchRow]:
    """Return the patches of the given parts, in the order of the file.

    Args:
        folder: folder of the features.
        parts: names of the parts.
        split: folder of the split that assigns clips to parts; None for the split that was used when
            the features were made. One set of features can serve many splits.
    """
    if split is None:
        return [row for row in iter_rows(folder) if row.part in parts]
    part_of = {clip.name: clip.part for clip in iter_split(split)}
    rows = (replace(row, part=part_of.get(row.clip, "")) for row in iter_rows(folder))
    return [row for row in rows if row.part in parts]


def unscored(split: Path, scored: Iterable[str], *, features: Path | None = None) -> dict[str, str]:
    """Return test clip -> why it has no prediction, for each test clip of a split that is not in `scored`."""
    reasons = read_left_out(features) if features is not None else ()
    names = set(scored)
    return {
        clip.name: next(
            (reason for reason in reasons if reason.startswith(clip.name)),
            "its audio cannot be used; see the log of the step preprocess",
        )
        for clip in iter_split(split)
        if clip.part == TEST and clip.name not in names
    }


def read_classes(folder: Path) -> tuple[str, ...]:
    """Return the class names in the order of the model's outputs."""
    return tuple(json.loads((folder / HEADER_FILE).read_text(encoding="utf-8"))["classes"])


def read_left_out(folder: Path) -> tuple[str, ...]:
    """Return the reasons why clips have no patches."""
    return tuple(json.loads((folder / HEADER_FILE).read_text(encoding="utf-8"))["left_out"])


def open_features(folder: Path) -> NDArray[np.float32]:
    """Return all patches, mapped from the file, shape (patches, n_mels, patch_length)."""
    header = json.loads((folder / HEADER_FILE).read_text(encoding="utf-8"))
    shape = (header["patches"], *header["shape"])
    if not header["patches"]:
        return np.zeros(shape, dtype="<f4")  # an empty file cannot be mapped
    return np.memmap(folder / DATA_FILE, dtype="<f4", mode="r", shape=shape)
