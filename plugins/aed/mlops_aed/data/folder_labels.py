"""Labels from folders: one folder per class, below folders of folds or parts if there are any.

A folder called ``fold1``, ``train`` or ``test`` is not a class. The files of UrbanSound8K, which lie directly in ten
folders of folds, have their class and recording in their names. Files called as those of ESC-50, UrbanSound8K or Speech
Commands are grouped by their recording or speaker, wherever they lie, and the lists of Speech Commands assign parts.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_aed.data.clip_files import require_text
from mlops_aed.data.clips import TEST, TRAIN, VALIDATION, Clip, listed
from mlops_aed.data.label_tables import read_rows
from mlops_core import DatasetError, fold_of_folder, normalise_path, part_of_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_aed.data.clip_files import AudioFiles

_DEVELOPMENT = ("dev", "development")
"""Folders of data sets that are published with an evaluation set."""
_URBAN_SOUND = re.compile(r"(?P<recording>\d+)-(?P<label>\d)-\d+-\d+\.wav", re.IGNORECASE)
"""File of UrbanSound8K: recording, class, occurrence, slice."""
_RECORDINGS = (
    re.compile(r"\d-(?P<recording>\d+)-[A-Z]-\d{1,2}\.\w+"),  # ESC-50: fold, recording, take, class
    _URBAN_SOUND,
    re.compile(r"(?P<recording>[0-9a-f]{8})_nohash_\d+\.\w+"),  # Speech Commands: speaker, repetition
)
_NOISE = "_background_noise_"
"""Folder of Speech Commands that is not a class."""
_LISTS = {VALIDATION: "validation_list.txt", TEST: "testing_list.txt"}
_URBAN_CLASSES = (
    "air_conditioner",
    "car_horn",
    "children_playing",
    "dog_bark",
    "drilling",
    "engine_idling",
    "gun_shot",
    "jackhammer",
    "siren",
    "street_music",
)


@dataclass(frozen=True, slots=True)
class _File:
    """A file as a clip name, with the folders above it; `above` starts below the folder of all clips."""

    name: str
    above: tuple[str, ...]


def read_folders(dataset: Path, files: AudioFiles) -> list[Clip]:
    """Return the clips of the folders; none if no folder holds audio.

    Raises:
        DatasetError: folders of folds or parts hold no classes, or are mixed with classes; a class is mixed with
            folders of classes; or the bytes of a name are not UTF-8.
    """
    found = [file for file in _files(files) if _NOISE not in file.above]
    require_text([file.name for file in found], dataset)
    tops = sorted({file.above[0] for file in found})
    folds = {top: fold_of_folder(top) for top in tops if fold_of_folder(top) is not None}
    parts = {top: part for top in tops if (part := _part(top)) is not None}
    if tops and len(folds) == len(tops):
        return _clips_of_folds(found, folds, dataset)
    if tops and len(parts) == len(tops) and len(tops) > 1:
        return _clips_of_parts(found, parts, dataset)
    if folds or len(parts) > 1:
        mixed = listed(sorted(folds or parts))
        raise DatasetError(f"{dataset}: {mixed} are folds or parts, beside other folders; expected one kind of folders")
    return _clips_of_classes(found, dataset)


def known_folds(path: object, csv: object) -> tuple[int, ...]:
    """Return the folds in the table or the folders of a data set on this machine; otherwise those of ESC-50, 1 to 5."""
    folder = Path(normalise_path(str(path))).expanduser() if path else None
    table = folder / (str(csv) if csv else "meta/esc50.csv") if folder else None
    if folder is None or table is None or not table.is_file():
        return (fold_folders(folder) if folder and not csv else ()) or (1, 2, 3, 4, 5)
    try:
        cells = {row.get("fold", "") for _, row in read_rows(table, ())}
    except DatasetError:  # the step that reads the labels names the fault
        return (1, 2, 3, 4, 5)
    return tuple(sorted(int(fold) for fold in cells if fold.strip().isdigit()))


def fold_folders(dataset: Path) -> tuple[int, ...]:
    """Return the numbers of the folders of folds in a data set, sorted; empty if there are none."""
    for root in (dataset / "audio", dataset):
        if root.is_dir():
            folds = {fold_of_folder(path.name) for path in root.iterdir() if path.is_dir()} - {None}
            if folds:
                return tuple(sorted(fold for fold in folds if fold is not None))
    return ()


def _files(files: AudioFiles) -> list[_File]:
    """Return the audio files in folders, without ``audio/`` if all of them are below it."""
    paths = files.audio
    if paths and all(path.startswith("audio/") for path in paths):
        paths = tuple(path.removeprefix("audio/") for path in paths)
    return [_File(path, _folders_above(path)) for path in paths if "/" in path]


def _folders_above(path: str) -> tuple[str, ...]:
    """Return the folders above a file; one that repeats the name of a part, as some archives do, is left out."""
    folders = path.split("/")[:-1]
    is_repeated = len(folders) > 2 and folders[0] == folders[1] and _part(folders[0]) is not None
    return tuple(folders[1:] if is_repeated else folders)


def _part(name: str) -> str | None:
    part = name.casefold().removeprefix("fsd50k.").removesuffix("_audio")
    return TRAIN if part in _DEVELOPMENT else part_of_folder(part)


def _clips_of_folds(found: Sequence[_File], folds: dict[str, int | None], dataset: Path) -> list[Clip]:
    clips: list[Clip] = []
    urban = [_URBAN_SOUND.fullmatch(file.name.rpartition("/")[2]) for file in found]
    if all(len(file.above) == 1 for file in found) and all(urban):
        for file, match in zip(found, urban, strict=True):
            if match is not None:
                label = _URBAN_CLASSES[int(match["label"])]
                fold = folds[file.above[0]] or 0
                clips.append(Clip(name=file.name, label=label, group=match["recording"], fold=fold))
        return clips
    _require_classes(found, sorted(folds), dataset, what="folds")
    return [
        Clip(name=file.name, label=_text(file.above[1]), group=group, fold=folds[file.above[0]] or 0)
        for file, group in zip(found, _groups(found), strict=True)
    ]


def _clips_of_parts(found: Sequence[_File], parts: dict[str, str], dataset: Path) -> list[Clip]:
    _require_classes(found, sorted(parts), dataset, what="parts")
    return [
        Clip(name=file.name, label=_text(file.above[1]), group=group, fold=0, part=parts[file.above[0]])
        for file, group in zip(found, _groups(found), strict=True)
    ]


def _groups(found: Sequence[_File]) -> list[str]:
    """Return the recording or speaker of each file if the names of all tell it; otherwise the names."""
    names = [file.name.rpartition("/")[2] for file in found]
    for pattern in _RECORDINGS:
        matches = [pattern.fullmatch(name) for name in names]
        if all(matches):
            return [match["recording"] for match in matches if match]
    return [file.name for file in found]


def _listed_parts(dataset: Path) -> dict[str, str]:
    """Return clip -> part by the lists of Speech Commands; empty without both lists."""
    lists = {part: dataset / name for part, name in _LISTS.items()}
    if not all(path.is_file() for path in lists.values()):
        return {}
    try:
        lines = {part: path.read_text(encoding="utf-8-sig").split("\n") for part, path in lists.items()}
    except UnicodeDecodeError as error:
        raise DatasetError(f"{dataset}: {', '.join(_LISTS.values())}: {error}; expected lines of UTF-8") from None
    return {line.strip(): part for part, names in lines.items() for line in names if line.strip()}


def _require_classes(found: Sequence[_File], tops: Sequence[str], dataset: Path, *, what: str) -> None:
    if any(len(file.above) < 2 for file in found):
        raise DatasetError(
            f"{dataset}: the folders {listed(tops)} are {what}, not classes, and hold no folders of classes; "
            "set dataset.path to the folder that also has the table of labels, and dataset.csv to that table"
        )


def _clips_of_classes(found: Sequence[_File], dataset: Path) -> list[Clip]:
    direct = {file.above[0] for file in found if len(file.above) == 1}
    deeper = sorted({file.above[0] for file in found} - direct)
    if direct and deeper:
        raise DatasetError(
            f"{dataset}: {listed(deeper)} hold audio in folders of their own only, other folders directly; "
            "expected one folder per class"
        )
    if not direct:
        return []
    parts = _listed_parts(dataset)
    return [
        Clip(
            name=file.name,
            label=_text(file.above[0]),
            group=group,
            fold=0,
            part=parts.get(file.name, TRAIN) if parts else "",
        )
        for file, group in zip(found, _groups(found), strict=True)
    ]


def _text(name: str) -> str:
    """Return a class name in one normal form, whichever the file system keeps."""
    return unicodedata.normalize("NFC", name)
