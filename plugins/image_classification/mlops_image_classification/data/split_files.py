"""The files of the split: ``split.csv``, and tables of copies, conflicting labels and pictures that are left out."""

from __future__ import annotations

import csv
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from mlops_core import DatasetError, SplitRow, file_digest, read_split, write_split
from mlops_image_classification.data.splitting import Sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from mlops_image_classification.data.fingerprints import Pair
    from mlops_image_classification.data.labelled import Picture
    from mlops_image_classification.data.splitting import Split

COPIES_FILE = "duplicates.csv"
CONFLICTS_FILE = "conflicts.csv"
LEFT_OUT_FILE = "left_out.csv"
_PAIR_COLUMNS = (
    *("kind", "similarity", "bits"),
    *("first", "first_label", "first_part"),
    *("second", "second_label", "second_part"),
)
_NUMBER = "number"
"""Column of ``split.csv`` with the number of a picture's record."""


def write_split_tables(folder: Path, split: Split, pictures: Sequence[Picture], *, dataset: Path) -> None:
    """Write ``split.csv`` and one table each of copies, conflicts and pictures that are not used into `folder`.

    Raises:
        DatasetError: a file of a picture cannot be read for its digest.
    """
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        digests = pool.map(_digest, (dataset / item.name for item in split.samples))
        write_split(
            folder,
            (
                SplitRow(
                    sample=item.name,
                    group=item.group,
                    label=item.label,
                    part=item.part,
                    digest=digest,
                    columns={_NUMBER: str(item.number)},
                )
                for item, digest in zip(split.samples, digests, strict=True)
            ),
        )
    for name, pairs in ((COPIES_FILE, split.copies), (CONFLICTS_FILE, split.conflicts)):
        _write_table(
            folder / name,
            _PAIR_COLUMNS,
            (_pair_row(pair, pictures) for pair in pairs),
        )
    _write_table(folder / LEFT_OUT_FILE, ("name", "reason"), ((item.name, item.reason) for item in split.left_out))


def _digest(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error


def _pair_row(pair: Pair, pictures: Sequence[Picture]) -> tuple[str, ...]:
    first, second = pictures[pair.first], pictures[pair.second]
    kind = "exact" if pair.is_exact else "near"
    return (
        kind,
        f"{pair.similarity:.3f}",
        str(pair.bits),
        *(first.name, first.label, first.part),
        *(second.name, second.label, second.part),
    )


def _write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def read_samples(folder: Path, *parts: str) -> list[Sample]:
    """Return the samples of the split in `folder` that belong to `parts` (default: all), ordered by number.

    Raises:
        DatasetError: the file is missing or damaged.
    """
    return [
        Sample(number=int(row.columns[_NUMBER]), name=row.sample, label=row.label, group=row.group, part=row.part)
        for row in read_split(folder, *parts)
    ]
