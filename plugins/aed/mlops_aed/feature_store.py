"""The features of all clips in one file that is mapped, not loaded: ``patches.f32`` with ``patches.csv`` beside it."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from mlops_aed.clips import Clip


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchRow:
    """Where one patch comes from: `index` is its place in the file, `patch` its place in the clip."""

    index: int
    part: str
    label: str
    group: str
    clip: str
    patch: int


def write_features(folder: Path, clips: Iterable[tuple[Clip, NDArray[np.float32]]], classes: tuple[str, ...]) -> None:
    """Write the patches of each clip as they come; each has the shape (patches, n_mels, patch_length)."""
    shape: tuple[int, ...] = ()
    count = 0
    with (
        (folder / "patches.f32").open("wb") as data,
        (folder / "patches.csv").open("w", newline="", encoding="utf-8") as rows,
    ):
        writer = csv.writer(rows, lineterminator="\n")
        writer.writerow(("part", "label", "group", "clip", "patch"))
        for clip, found in clips:
            data.write(np.ascontiguousarray(found, dtype="<f4").tobytes())
            writer.writerows((clip.part, clip.label, clip.group, clip.name, patch) for patch in range(len(found)))
            count += len(found)
            shape = found.shape[1:]
    header = {"patches": count, "shape": shape, "classes": classes}
    (folder / "features.json").write_text(json.dumps(header) + "\n", encoding="utf-8")


def read_rows(folder: Path, *parts: str) -> list[PatchRow]:
    """Return the patches of the given parts, in the file's order."""
    with (folder / "patches.csv").open(newline="", encoding="utf-8") as stream:
        return [
            PatchRow(
                index=index,
                part=row["part"],
                label=row["label"],
                group=row["group"],
                clip=row["clip"],
                patch=int(row["patch"]),
            )
            for index, row in enumerate(csv.DictReader(stream))
            if row["part"] in parts
        ]


def read_classes(folder: Path) -> tuple[str, ...]:
    """Return the class names in the order of the model's outputs."""
    return tuple(json.loads((folder / "features.json").read_text(encoding="utf-8"))["classes"])


def open_features(folder: Path) -> NDArray[np.float32]:
    """Return all patches, mapped from the file, shape (patches, n_mels, patch_length)."""
    header = json.loads((folder / "features.json").read_text(encoding="utf-8"))
    shape = (header["patches"], *header["shape"])
    return np.memmap(folder / "patches.f32", dtype="<f4", mode="r", shape=shape)
