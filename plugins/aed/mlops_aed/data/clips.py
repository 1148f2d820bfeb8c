"""A labelled clip, the file in which a split is kept, and where a clip's audio is.

How labels are read is `mlops_aed.data.labels`, how clips are split `mlops_aed.data.splitting`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import mlops_core
from mlops_core import SplitRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from mlops_core import DatasetError

TRAIN, VALIDATION, TEST = "train", "validation", "test"
PARTS = (TRAIN, VALIDATION, TEST)
LABEL_SEPARATOR = "|"
"""Between the labels of a clip that has several, in files."""
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One labelled clip.

    Attributes:
        name: path below ``audio/``, or below the data set's folder where it has no such folder.
        label: class; where a clip may have several, all of them in alphabetical order with ``|`` between.
        group: source recording: what must never stand on two sides of a split.
        fold: as the data set assigns it; 0 where it assigns none.
        part: ``train``, ``validation`` or ``test``; empty before the split, unless the data set assigns it.
    """

    name: str
    label: str
    group: str
    fold: int
    part: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, one by one."""
        return split_label(self.label)


def split_label(label: str) -> tuple[str, ...]:
    """Return the labels that `join_labels` has joined."""
    return tuple(label.split(LABEL_SEPARATOR))


def join_labels(labels: Iterable[str]) -> str:
    """Return the labels as one text, which does not depend on their order."""
    return LABEL_SEPARATOR.join(sorted(labels))


def clip_path(dataset: Path, name: str) -> Path:
    """Return the audio file of the clip `name`; it need not exist."""
    path = dataset / "audio" / name
    return path if path.is_file() else dataset / name


def of_clip(error: DatasetError, name: str) -> str:
    """Return the message of an error about a file with the clip's whole name: files of two folders may be namesakes."""
    return name.removesuffix(name.rpartition("/")[2]) + str(error)


def listed(names: Sequence[str]) -> str:
    """Return the first names as a text, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def write_split(folder: Path, clips: Iterable[Clip]) -> None:
    """Write ``split.csv`` into `folder`; the fold of each clip is a column of its own.

    Raises:
        DatasetError: a clip appears twice, or its part is unknown.
    """
    mlops_core.write_split(
        folder,
        (
            SplitRow(
                sample=clip.name, group=clip.group, label=clip.label, part=clip.part, columns={"fold": str(clip.fold)}
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
        yield Clip(name=row.sample, label=row.label, group=row.group, fold=int(row.columns["fold"]), part=row.part)


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
