"""Labelled clips, their rows in ``split.csv``, and the location of their audio.

Labels are read by `mlops_aed.data.labels`, clips are split by `mlops_aed.data.splitting`.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import mlops_core
from mlops_core import DatasetError, SplitRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

TRAIN, VALIDATION, TEST = "train", "validation", "test"
PARTS = (TRAIN, VALIDATION, TEST)
LABEL_SEPARATOR = "|"
"""Separator in files between the labels of a clip that has several."""
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One labelled clip.

    Attributes:
        name: path below ``audio/``, or below the data set's folder if it has no such folder.
        label: class; if a clip may have several, all of them in alphabetical order with ``|`` between.
        group: source recording; all clips of a group belong to one part of a split.
        fold: assigned by the data set; 0 for none.
        part: ``train``, ``validation`` or ``test``; empty before the split, unless assigned by the data set.
        digest: SHA-256 of the file; empty until it is read for the split.
        file: path of the file below the data set; empty until it is read for the split.
    """

    name: str
    label: str
    group: str
    fold: int
    part: str = ""
    digest: str = ""
    file: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """The single labels."""
        return split_label(self.label)


def split_label(label: str) -> tuple[str, ...]:
    """Return the labels that `join_labels` joined."""
    return tuple(label.split(LABEL_SEPARATOR))


def join_labels(labels: Iterable[str]) -> str:
    """Return the labels as one text that does not depend on their order."""
    return LABEL_SEPARATOR.join(sorted(labels))


def clip_path(dataset: Path, name: str) -> Path:
    """Return the audio file of the clip `name`; it need not exist."""
    path = dataset / "audio" / name
    return path if path.is_file() else dataset / name


def with_digests(clips: Sequence[Clip], dataset: Path) -> list[Clip]:
    """Return the clips with path and digest of their files, which are read.

    Raises:
        DatasetError: a file cannot be read.
    """

    def read(clip: Clip) -> Clip:
        path = clip_path(dataset, clip.name)
        try:
            digest = mlops_core.file_digest(path)
        except OSError as error:
            raise DatasetError(f"{path} cannot be read: {error.strerror}") from error
        return replace(clip, digest=digest, file=path.relative_to(dataset).as_posix())

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return list(pool.map(read, clips))


def of_clip(error: DatasetError, name: str) -> str:
    """Return an error's message with the clip's whole name: files in different folders may have the same name."""
    return name.removesuffix(name.rpartition("/")[2]) + str(error)


def listed(names: Sequence[str]) -> str:
    """Return the first names as text, with the number of the others."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def write_split(folder: Path, clips: Iterable[Clip]) -> None:
    """Write ``split.csv`` into `folder`; the fold and the file of each clip are columns of their own.

    Raises:
        DatasetError: a clip appears twice, or its part is unknown.
    """
    mlops_core.write_split(
        folder,
        (
            SplitRow(
                sample=clip.name,
                group=clip.group,
                label=clip.label,
                part=clip.part,
                digest=clip.digest,
                columns={"fold": str(clip.fold), "file": clip.file},
            )
            for clip in clips
        ),
    )


def iter_split(folder: Path) -> Iterator[Clip]:
    """Yield the clips of ``split.csv`` in `folder`, in its order.

    Raises:
        DatasetError: the file is missing or damaged; file, row and what was expected are named.
    """
    for row in mlops_core.read_split(folder):
        yield Clip(
            name=row.sample,
            label=row.label,
            group=row.group,
            fold=int(row.columns["fold"]),
            part=row.part,
            digest=row.digest,
            file=row.columns.get("file", ""),
        )


def read_split(folder: Path) -> list[Clip]:
    """Return the clips of ``split.csv`` in `folder`."""
    return list(iter_split(folder))


def read_split_classes(folder: Path) -> tuple[tuple[str, ...], int]:
    """Return the classes of ``split.csv`` in `folder`, sorted, and the number of clips."""
    classes: set[str] = set()
    count = 0
    for clip in iter_split(folder):
        classes.update(clip.labels)
        count += 1
    return tuple(sorted(classes)), count
