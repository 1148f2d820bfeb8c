"""The pictures of a data set and their labels, in one of these layouts.

* GTSRB with its tables, as published or as often copied, see `mlops_image_classification.data.gtsrb`;
* class folders within one folder per part, such as ``train``/``test`` or ``seg_train``/``seg_test``, with or without a
  validation folder; some archives have them one level deeper under the same name;
* class folders alone, without parts. Folders of folds are not classes and are refused.

Names of classes that differ in their Unicode normal form only are one class. No file is decoded here.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlops_core import ConfigError, DataFiles, DatasetError, did_you_mean, fold_of_folder, part_of_folder
from mlops_image_classification.data.files import SUFFIXES, folders_in, list_images
from mlops_image_classification.data.gtsrb import (
    gtsrb_pictures,
    gtsrb_root,
    has_path_tables,
    pictures_by_path,
    without_tables,
)
from mlops_image_classification.data.labelled import TEST, TRAIN, Picture, group_of, listed
from mlops_image_classification.data.tracks import fit_of_tracks, joined_tracks, track_in

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from mlops_image_classification.config import DatasetSection
    from mlops_image_classification.data.files import ImageFiles
    from mlops_image_classification.data.tracks import TrackFit


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureSet:
    """The labelled pictures of a data set, and what else its folder holds.

    Attributes:
        pictures: in the order of their names.
        files: all files of the folder.
        unlabelled: images outside of the class folders, or in no table.
        beside: images in folders that are neither part nor class, such as the unlabelled ``seg_pred``.
        fit: how well the group pattern fits; None without one.
    """

    pictures: tuple[Picture, ...]
    files: ImageFiles
    unlabelled: tuple[str, ...]
    beside: tuple[str, ...]
    fit: TrackFit | None

    def warnings(self) -> Iterator[str]:
        """Yield one line per fact that may change what a model learns: tracks not found, files not used."""
        if self.fit and self.fit.matched < self.fit.total:
            yield self.fit.summary
        yield from self.similar_classes
        for names, what in (
            (self._beside_with_classes(), "image(s) of the same classes are in folders that are not parts, not used"),
            (self.unlabelled, "image(s) outside of the class folders are not used"),
            (self.files.others, "file(s) that are not images are not used"),
        ):
            if names:
                yield f"{len(names)} {what}: {listed(names)}"

    @property
    def similar_classes(self) -> tuple[str, ...]:
        """Return one line per pair of classes that differ in capital letters or blanks only."""
        by_letters: dict[str, str] = {}
        lines = []
        for name in sorted({picture.label for picture in self.pictures}):
            other = by_letters.setdefault(" ".join(name.casefold().split()), name)
            if other != name:
                lines.append(f"the classes '{other}' and '{name}' differ in capital letters or blanks only")
        return tuple(lines)

    def _beside_with_classes(self) -> tuple[str, ...]:
        classes = {picture.label for picture in self.pictures}
        return tuple(path for path in self.beside if classes & set(path.split("/")[1:-1]))

    @property
    def broken_links(self) -> tuple[str, ...]:
        """Return one line per link that leads to nothing; such a picture cannot be used."""
        return tuple(f"{path} is a link to nothing or to its own folder" for path in self.files.broken)

    def check(self) -> None:
        """Refuse a data set that cannot be split by its tracks.

        Raises:
            DatasetError: the group pattern groups nothing, or all pictures of a class.
        """
        if self.fit and self.fit.problem:
            raise DatasetError(self.fit.problem)


def read_pictures(dataset: Path, settings: DatasetSection, log: logging.Logger) -> PictureSet:
    """Return what `read_picture_set` returns, for a run: log its numbers, and refuse what cannot be split.

    Raises:
        ConfigError: as for `read_picture_set`.
        DatasetError: as for `read_picture_set`, and if the data set cannot be split by its tracks.
    """
    result = read_picture_set(dataset, settings)
    result.check()
    classes = {picture.label for picture in result.pictures}
    counts = Counter(picture.part or "not assigned" for picture in result.pictures)
    log.info("%d pictures of %d classes; parts of the data set: %s", len(result.pictures), len(classes), dict(counts))
    if result.fit:
        log.info("%s", result.fit.summary)
    if result.files.skipped:
        log.info("%s", DataFiles(skipped=result.files.skipped).skipped_text())
    return result


def read_picture_set(dataset: Path, settings: DatasetSection) -> PictureSet:
    """Return the labelled pictures of a data set and what else its folder holds.

    Raises:
        ConfigError: ``dataset.class_names`` has a class without pictures.
        DatasetError: the layout is unknown, a class folder is empty, a file that a table lists is missing, or fewer
            than two classes are left; folder or file are named.
    """
    files = list_images(dataset)
    labelled = list(_labelled(dataset, files, settings))
    names = {picture.name for picture in labelled}
    used_folders = {name.partition("/")[0] for name in names}
    unlabelled = [path for path in files.images if path not in names]
    beside = [path for path in unlabelled if "/" in path and path.partition("/")[0] not in used_folders]
    pictures = joined_tracks(_chosen(sorted(labelled, key=lambda picture: picture.name), settings))
    classes = {picture.label for picture in pictures}
    if len(classes) < 2:
        raise DatasetError(f"{dataset}: {len(classes)} class(es) ({listed(sorted(classes))}); expected at least 2")
    return PictureSet(
        pictures=tuple(replace(picture, number=number) for number, picture in enumerate(pictures)),
        files=replace(files, others=without_tables(dataset, files.others)),
        unlabelled=tuple(path for path in unlabelled if path not in set(beside)),
        beside=tuple(beside),
        fit=fit_of_tracks(pictures, settings.group_pattern) if settings.group_pattern else None,
    )


def _labelled(dataset: Path, files: ImageFiles, settings: DatasetSection) -> Iterator[Picture]:
    gtsrb = gtsrb_root(dataset)
    if gtsrb is not None:
        return gtsrb_pictures(dataset, gtsrb, files, pattern=settings.group_pattern)
    if has_path_tables(dataset):
        return pictures_by_path(dataset, files, pattern=settings.group_pattern)
    parts = _part_folders(dataset)
    if TRAIN in parts or TEST in parts:
        return _in_parts(dataset, parts, files, pattern=settings.group_pattern)
    return _class_folders(dataset, dataset, files, part="", pattern=settings.group_pattern)


def _chosen(pictures: list[Picture], settings: DatasetSection) -> list[Picture]:
    if settings.class_names is None:
        return pictures
    classes = {picture.label for picture in pictures}
    chosen = {unicodedata.normalize("NFC", name) for name in settings.class_names}
    for name in sorted(chosen - classes):
        raise ConfigError(f"dataset.class_names: no picture has the class '{name}'{did_you_mean(name, classes)}")
    return [picture for picture in pictures if picture.label in chosen]


def _part_folders(dataset: Path) -> dict[str, Path]:
    folders: dict[str, Path] = {}
    for path in folders_in(dataset):
        part = part_of_folder(path.name)
        if part is None:
            continue
        if part in folders:
            raise DatasetError(f"{dataset} has two folders for {part}: {folders[part].name} and {path.name}")
        inner = path / path.name  # some archives repeat the name
        folders[part] = inner if inner.is_dir() else path
    return folders


def _in_parts(dataset: Path, parts: dict[str, Path], files: ImageFiles, *, pattern: str | None) -> Iterator[Picture]:
    if TRAIN not in parts:
        raise DatasetError(f"{dataset} has {parts[TEST].name}, but no folder for training; expected one called train")
    for part, folder in parts.items():
        yield from _class_folders(dataset, folder, files, part=part, pattern=pattern)


def _class_folders(
    dataset: Path, folder: Path, files: ImageFiles, *, part: str, pattern: str | None
) -> Iterator[Picture]:
    classes = folders_in(folder)
    if not classes:
        raise DatasetError(
            f"{folder} has no class folders; expected one folder of images per class, or the layout of GTSRB"
        )
    folds = [path.name for path in classes if fold_of_folder(path.name) is not None]
    if len(folds) == len(classes):
        raise DatasetError(
            f"{folder}: {listed(folds)} are folds, not classes; join them to one folder per class, or to train and test"
        )
    place = folder.relative_to(dataset).as_posix() if folder != dataset else ""
    by_folder = _by_class_folder(files.below(place).images, place)
    for path in classes:
        if path.name not in by_folder:
            raise DatasetError(f"the class folder {path} is empty; expected images ({', '.join(sorted(SUFFIXES))})")
        _refuse_parts(path, [below for _, below in by_folder[path.name]])
        label = unicodedata.normalize("NFC", path.name)
        for name, below in by_folder[path.name]:
            track = None if pattern is None else track_in(below, pattern) or ""
            yield Picture(name=name, label=label, group=group_of(name, label, track), track=track, part=part)


def _refuse_parts(folder: Path, below: Iterable[str]) -> None:
    """Refuse a class folder that holds nothing but parts: it is a data set, or the part of a picture would be lost."""
    inner = {path.partition("/")[0] if "/" in path else "" for path in below}
    if all(part_of_folder(name) is not None for name in inner):
        raise DatasetError(
            f"{folder} is no class folder: it holds the parts {listed(sorted(inner))}; set dataset.path to it, "
            "or move the parts above the classes"
        )


def _by_class_folder(images: Iterable[str], place: str) -> dict[str, list[tuple[str, str]]]:
    """Return class folder -> (name of a picture, its path below the class folder)."""
    start = len(place) + 1 if place else 0
    folders: dict[str, list[tuple[str, str]]] = {}
    for name in images:
        folder, separator, below = name[start:].partition("/")
        if separator:
            folders.setdefault(folder, []).append((name, below))
    return folders
