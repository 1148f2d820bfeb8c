"""Clips and their labels: reading the ESC-50 layout, splitting it by fold, and the split file.

A source recording (``src_file``) is what must never stand on two sides of a split.
"""

from __future__ import annotations

import csv
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlops_core.datasets import SplitSample, check_no_leak
from mlops_core.errors import DatasetError, did_you_mean

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from mlops_aed.config import DatasetSection

TRAIN, VALIDATION, TEST = "train", "validation", "test"
ESC10 = "ESC-10"
_COLUMNS = ("filename", "fold", "category", "src_file")
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One labelled clip.

    Attributes:
        name: file name below ``audio/``.
        label: class.
        group: source recording.
        fold: as the data set assigns it.
        part: ``train``, ``validation`` or ``test``; empty before the split.
    """

    name: str
    label: str
    group: str
    fold: int
    part: str = ""


def read_labels(dataset: Path, settings: DatasetSection, log: logging.Logger) -> list[Clip]:
    """Return the clips that ``meta/esc50.csv`` lists and the settings choose, in the file's order.

    Raises:
        DatasetError: no such file, a column or audio file is missing, or fewer than two classes are left.
    """
    table = dataset / "meta" / "esc50.csv"
    if not table.is_file():
        raise DatasetError(f"{dataset} has no meta/esc50.csv; expected a folder in the layout of ESC-50")
    with table.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        missing = [column for column in _COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise DatasetError(f"{table} lacks the column(s) {', '.join(missing)}; it has {reader.fieldnames}")
        rows = list(reader)
    if settings.name == ESC10 and "esc10" in rows[0]:
        rows = [row for row in rows if row["esc10"].strip().lower() == "true"]
    clips = [_clip(row, table, number) for number, row in enumerate(rows, 2)]
    return _checked(_chosen(clips, settings), dataset / "audio", table, log)


def _clip(row: dict[str, str], table: Path, number: int) -> Clip:
    try:
        return Clip(
            name=row["filename"].strip(),
            label=row["category"].strip(),
            group=row["src_file"].strip(),
            fold=int(row["fold"]),
        )
    except (ValueError, AttributeError):
        raise DatasetError(f"{table}, row {number}: {row} is not filename, fold, category, src_file") from None


def _chosen(clips: list[Clip], settings: DatasetSection) -> list[Clip]:
    if settings.class_names is None:
        return clips
    known = {clip.label for clip in clips}
    for name in settings.class_names:
        if name not in known:
            raise DatasetError(f"dataset.class_names: no clip has the class '{name}'{did_you_mean(name, known)}")
    return [clip for clip in clips if clip.label in settings.class_names]


def _checked(clips: list[Clip], audio: Path, table: Path, log: logging.Logger) -> list[Clip]:
    there = {path.name for path in audio.iterdir()} if audio.is_dir() else set()
    lost = [clip.name for clip in clips if clip.name not in there]
    if lost:
        raise DatasetError(f"{len(lost)} of {len(clips)} clips in {table} have no file in {audio}: {_listed(lost)}")
    twice = [name for name, count in Counter(clip.name for clip in clips).items() if count > 1]
    if twice:
        raise DatasetError(f"{table} lists {len(twice)} clip(s) more than once: {_listed(twice)}")
    unlabelled = len(there) - len(clips)
    if unlabelled:
        log.info("%d files in %s are not used: no label, or not of the chosen classes", unlabelled, audio)
    classes = {clip.label for clip in clips}
    if len(classes) < 2:
        raise DatasetError(f"{table}: {len(classes)} class(es) left ({_listed(sorted(classes))}); 2 are needed")
    return clips


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def assign_parts(clips: Sequence[Clip], settings: DatasetSection, *, seed: int) -> list[Clip]:
    """Return the clips with their parts: a test fold, a validation part, and the rest for training.

    Without a validation fold, whole source recordings are taken out of the training folds, class by class, until
    ``validation_split`` of each class's clips are reached.

    Raises:
        DatasetError: a fold is missing, a recording stands on two sides, or a class is missing in a part.
    """
    folds = sorted({clip.fold for clip in clips})
    test_fold = folds[-1] if settings.test_fold is None else settings.test_fold
    for name, fold in (("test_fold", test_fold), ("validation_fold", settings.validation_fold)):
        if fold is not None and fold not in folds:
            raise DatasetError(f"dataset.{name}: there is no fold {fold}; folds: {', '.join(map(str, folds))}")
    if settings.validation_fold is not None:
        by_fold = {test_fold: TEST, settings.validation_fold: VALIDATION}
        parted = [replace(clip, part=by_fold.get(clip.fold, TRAIN)) for clip in clips]
    else:
        held = _held_out([clip for clip in clips if clip.fold != test_fold], settings.validation_split, seed=seed)
        parted = [
            replace(clip, part=TEST if clip.fold == test_fold else VALIDATION if clip.group in held else TRAIN)
            for clip in clips
        ]
    _check_parts(parted)
    return parted


def _held_out(clips: Iterable[Clip], share: float, *, seed: int) -> set[str]:
    by_class: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for clip in clips:
        by_class[clip.label][clip.group] += 1
    held: set[str] = set()
    draw = random.Random(seed)  # noqa: S311  a split, not a secret
    for label in sorted(by_class):
        groups = sorted(by_class[label])
        draw.shuffle(groups)
        wanted = share * sum(by_class[label].values())
        taken = 0
        for group in groups[:-1]:  # one recording at least stays for training
            if taken >= wanted:
                break
            held.add(group)
            taken += by_class[label][group]
    return held


def _check_parts(clips: Sequence[Clip]) -> None:
    parts: dict[str, list[Clip]] = {
        part: [clip for clip in clips if clip.part == part] for part in (TRAIN, VALIDATION, TEST)
    }
    check_no_leak(
        {
            part: [SplitSample(sample=clip.name, group=clip.group, label=clip.label) for clip in members]
            for part, members in parts.items()
        }
    )
    classes = {clip.label for clip in clips}
    for part, members in parts.items():
        lacking = sorted(classes - {clip.label for clip in members})
        if lacking:
            raise DatasetError(f"the {part} part has no clip of {_listed(lacking)}; each class must be in each part")


def write_split(folder: Path, clips: Iterable[Clip]) -> None:
    """Write ``split.csv`` into `folder`."""
    with (folder / "split.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("part", "label", "group", "fold", "name"))
        writer.writerows((clip.part, clip.label, clip.group, clip.fold, clip.name) for clip in clips)


def iter_split(folder: Path) -> Iterator[Clip]:
    """Yield the clips of ``split.csv`` in `folder`, in its order."""
    with (folder / "split.csv").open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            yield Clip(
                name=row["name"], label=row["label"], group=row["group"], fold=int(row["fold"]), part=row["part"]
            )


def read_split(folder: Path) -> list[Clip]:
    """Return the clips of ``split.csv`` in `folder`."""
    return list(iter_split(folder))


def read_split_classes(folder: Path) -> tuple[tuple[str, ...], int]:
    """Return the classes of ``split.csv`` in `folder`, sorted, and the number of clips."""
    classes: set[str] = set()
    count = 0
    for clip in iter_split(folder):
        classes.add(clip.label)
        count += 1
    return tuple(sorted(classes)), count
