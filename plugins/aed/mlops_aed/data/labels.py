"""Labels of a data set: the layout of ESC-50, that of FSD50K, a table for any folder, or one folder per class.

Whatever the layout, the result is a list of clips of the chosen classes, each with an existing file.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_aed.data.clip_files import find_files, list_files
from mlops_aed.data.clips import LABEL_SEPARATOR, TEST, TRAIN, VALIDATION, Clip, join_labels, listed
from mlops_aed.data.folder_labels import read_folders
from mlops_aed.data.label_tables import read_rows
from mlops_core import DatasetError, did_you_mean, fold_of_folder, is_hidden_or_tool

if TYPE_CHECKING:
    import logging
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mlops_aed.config import DatasetSection
    from mlops_aed.data.clip_files import AudioFiles

ESC10 = "ESC-10"
OTHER = "other"
"""Class of the clips that belong to none of the chosen classes."""
_ESC_TABLE = "meta/esc50.csv"
_NEARBY = 20
"""Number of folders in a folder that are looked into for a hint."""
_ESC_COLUMNS = ("filename", "fold", "category", "src_file")


def read_labels(dataset: Path, settings: DatasetSection, log: logging.Logger, *, seed: int = 0) -> list[Clip]:
    """Return the clips that the data set lists and the settings choose, in the order of the data set.

    Args:
        dataset: its folder.
        settings: layout and choice.
        log: receives what is left out.
        seed: seed of the choice of clips for the class ``other``.

    Raises:
        DatasetError: no known layout, a column or audio file is missing, or fewer than two classes are left.
    """
    files = list_files(dataset)
    clips, source = _read(dataset, settings, files, log)
    _check_classes(clips, settings)
    chosen = _chosen(clips, settings, seed=seed)
    clips = find_files(chosen, files, extension=settings.file_extension, dataset=dataset, source=source, log=log)
    _check(clips, source)
    _report(clips, files, dataset, log)
    return clips


def _read(dataset: Path, settings: DatasetSection, files: AudioFiles, log: logging.Logger) -> tuple[list[Clip], Path]:
    from mlops_aed.data import fsd50k

    table = settings.csv or settings.calibration_csv or settings.test_csv
    if table is not None:
        return _read_tables(dataset, settings), dataset / table
    if (dataset / _ESC_TABLE).is_file():
        return _read_esc(dataset / _ESC_TABLE, settings), dataset / _ESC_TABLE
    if fsd50k.is_layout(dataset):
        return fsd50k.read_clips(dataset, settings, log), dataset / fsd50k.GROUND_TRUTH
    clips = read_folders(dataset, files)
    if not clips:
        raise DatasetError(
            f"{dataset} has no meta/esc50.csv, no {fsd50k.GROUND_TRUTH} and no audio in one folder per class; "
            f"set dataset.csv to a table with the columns filename and category{_nearby(dataset)}"
        )
    return clips, dataset


def _nearby(dataset: Path) -> str:
    """Return the folder that was probably meant, as the end of a sentence; empty if none is known."""
    from mlops_aed.data import fsd50k

    children = [path for path in sorted(dataset.iterdir()) if path.is_dir() and not is_hidden_or_tool(path.name)]
    inner = (path for child in children[:_NEARBY] for path in (child, *sorted(child.glob("*/"))[:_NEARBY]))
    for place in (dataset.parent, *inner):
        if (place / _ESC_TABLE).is_file() or fsd50k.is_layout(place):
            return f"; {place} has its table of labels: set dataset.path to that folder"
    if fold_of_folder(dataset.name) is not None:
        return "; it is called as a fold: set dataset.path to the folder above"
    if len(children) == 1:
        return f"; its only folder is {children[0].name}: set dataset.path to that if it holds the data"
    return ""


def _read_esc(table: Path, settings: DatasetSection) -> list[Clip]:
    rows = read_rows(table, _ESC_COLUMNS)
    return [_esc_clip(row, table, number) for number, row in rows if settings.name != ESC10 or _is_esc10(row)]


def _is_esc10(row: dict[str, str]) -> bool:
    """Return whether a row of a table like that of ESC-50 belongs to ESC-10; a table without the column is ESC-10's."""
    return row.get("esc10", "true").strip().lower() == "true"


def _esc_clip(row: dict[str, str], table: Path, number: int) -> Clip:
    name, category, source = (row[column].strip() for column in ("filename", "category", "src_file"))
    if not name or not category or not source:
        raise DatasetError(f"{table}, row {number}: filename, category or src_file is empty")
    try:
        return Clip(name=name, label=_normal(category), group=source, fold=int(row["fold"]))
    except ValueError:
        raise DatasetError(
            f"{table}, row {number}: {row} is invalid; expected filename, fold, category, src_file"
        ) from None


def _read_tables(dataset: Path, settings: DatasetSection) -> list[Clip]:
    """Read one table, whose clips are split later, or one table per part; clips that calibrate are training clips."""
    tables: tuple[tuple[str | None, str | None, str], ...] = (
        (settings.csv, settings.audio, TRAIN),
        (settings.calibration_csv, settings.calibration_audio, TRAIN),
        (settings.validation_csv, settings.validation_audio, VALIDATION),
        (settings.test_csv, settings.test_audio, TEST),
    )
    if settings.validation_csv is None and settings.test_csv is None:
        tables = tuple((name, audio, "") for name, audio, _ in tables[:2])
    clips: list[Clip] = []
    for name, audio, part in tables:
        if name is not None:
            read = _table_clips(dataset, name, audio, settings)
            clips += [replace(clip, part=part) for clip in read] if part else read
    return clips


def _table_clips(dataset: Path, name: str, audio: str | None, settings: DatasetSection) -> list[Clip]:
    """Read any table with the columns filename and category; fold, src_file and split are optional."""
    table = dataset / name
    folder = audio if audio is not None else ("audio" if (dataset / "audio").is_dir() else "")
    prefix = "" if folder in {"", ".", "audio"} else folder.replace("\\", "/").strip("/") + "/"
    is_subset = settings.name == ESC10 and not settings.use_garbage_class
    clips = []
    rows = read_rows(table, ("filename", "category"))
    if settings.strategy == "fold":
        _check_folds(rows, table)
    for number, row in rows:
        file, category = row["filename"].strip(), row["category"].strip()
        if not file or not category:
            raise DatasetError(f"{table}, row {number}: filename or category is empty")
        if is_subset and not _is_esc10(row):
            continue
        clips.append(
            Clip(
                name=prefix + file,
                label=_label(category, settings, where=f"{table}, row {number}"),
                group=row.get("src_file", "").strip() or prefix + file,
                fold=_whole(row.get("fold"), where=f"{table}, row {number}: fold"),
                part=_part(row.get("split"), where=f"{table}, row {number}"),
            )
        )
    return clips


def _check_folds(rows: Sequence[tuple[int, Mapping[str, str]]], table: Path) -> None:
    """Refuse a row that has neither a fold nor a part, where others have a fold: it would be one more fold."""
    empty = [number for number, row in rows if not f"{row.get('fold') or ''}{row.get('split') or ''}".strip()]
    if empty and any((row.get("fold") or "").strip() for _, row in rows):
        raise DatasetError(f"{table}, row {empty[0]}: fold is empty, which other rows have; expected a whole number")


def _normal(text: str) -> str:
    """Return a class name in one normal form of its letters."""
    return unicodedata.normalize("NFC", text)


def _label(category: str, settings: DatasetSection, *, where: str) -> str:
    category = _normal(category)
    if settings.multi_label:
        return join_labels({label.strip() for label in category.split(",") if label.strip()})
    if LABEL_SEPARATOR in category:
        raise DatasetError(f"{where}: the category {category!r} holds '{LABEL_SEPARATOR}', which separates labels")
    return category


def _whole(text: str | None, *, where: str) -> int:
    """Return a whole number, which programs may have written with a decimal place; 0 for an empty cell."""
    try:
        return int(re.sub(r"\.0+\s*\Z", "", text)) if text and text.strip() else 0
    except ValueError:
        raise DatasetError(f"{where}: {text!r} is not a whole number") from None


def _part(text: str | None, *, where: str) -> str:
    parts = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
    if not text or not text.strip():
        return ""
    if text.strip().lower() not in parts:
        raise DatasetError(f"{where}: unknown split {text!r}; expected {', '.join(parts)}")
    return parts[text.strip().lower()]


def _check_classes(clips: Sequence[Clip], settings: DatasetSection) -> None:
    classes = {label for clip in clips for label in clip.labels}
    for name in settings.class_names or ():
        if name not in classes:
            raise DatasetError(f"dataset.class_names: no clip has the class '{name}'{did_you_mean(name, classes)}")


def _chosen(clips: list[Clip], settings: DatasetSection, *, seed: int) -> list[Clip]:
    if settings.class_names is None:
        return clips
    names = set(settings.class_names)
    chosen = [
        replace(clip, label=join_labels(names.intersection(clip.labels)))
        for clip in clips
        if names.intersection(clip.labels)
    ]
    if not settings.use_garbage_class:
        return chosen
    if OTHER in names:
        raise DatasetError(f"dataset.class_names holds '{OTHER}', which use_garbage_class adds; remove one of the two")
    others = _others([clip for clip in clips if clip.label not in names], settings, len(chosen), seed=seed)
    order = {clip.name: position for position, clip in enumerate(clips)}
    return sorted([*chosen, *others], key=lambda clip: order[clip.name])


def _others(clips: Sequence[Clip], settings: DatasetSection, chosen: int, *, seed: int) -> list[Clip]:
    """Draw clips of each class that is not chosen; by default, in total about as many as a chosen class has."""
    by_class: defaultdict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        by_class[clip.label].append(clip)
    if not by_class:
        raise DatasetError("dataset.use_garbage_class: all classes are chosen; no class is left for 'other'")
    mean = chosen / len(settings.class_names or ("",))
    count = settings.n_samples_per_garbage_class or max(1, round(mean / len(by_class)))
    draw = random.Random(seed)  # noqa: S311  a choice of clips, not a secret
    return [
        replace(clip, label=OTHER)
        for label in sorted(by_class)
        for clip in draw.sample(by_class[label], min(count, len(by_class[label])))
    ]


def _check(clips: Sequence[Clip], source: Path) -> None:
    twice = [name for name, count in Counter(clip.name for clip in clips).items() if count > 1]
    if twice:
        raise DatasetError(f"{source} lists {len(twice)} clip(s) more than once: {listed(twice)}")
    classes = {label for clip in clips for label in clip.labels}
    if len(classes) < 2:
        raise DatasetError(f"{source}: {len(classes)} class(es) left ({listed(sorted(classes))}); 2 are needed")


def _report(clips: Sequence[Clip], files: AudioFiles, dataset: Path, log: logging.Logger) -> None:
    """Log what is left out."""
    unlabelled = len(files.audio) - len(clips)
    if unlabelled > 0:
        log.info("%d files in %s are not used: without a label, or not of the chosen classes", unlabelled, dataset)
    if files.listing.skipped:
        log.info("%s: %s", dataset, files.listing.skipped_text())
    if files.listing.broken:
        log.warning("%s: %d broken link(s): %s", dataset, len(files.listing.broken), listed(files.listing.broken))
    if files.unreadable:
        log.warning("%s: files that cannot be decoded and are not used: %s", dataset, files.unreadable)
