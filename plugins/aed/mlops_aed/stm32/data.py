"""The sections ``dataset`` and ``dataset_specific``: clips and classes."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlops_aed.stm32.draft import Draft

_NAMES = {"esc10": "ESC-10", "fsd50k": "FSD50K", "custom": "custom"}
_FSD50K = "dataset_specific.fsd50k"
_FOLDERS = {
    "csv_folder": "FSD50K.ground_truth",
    "dev_audio_folder": "FSD50K.dev_audio",
    "eval_audio_folder": "FSD50K.eval_audio",
}
_KINDS = ("csv", "audio")
_ABSOLUTE = re.compile(r"/|[A-Za-z]:/")
_COPIED = ("class_names", "multi_label", "use_garbage_class", "validation_split", "test_split")


def set_dataset(draft: Draft) -> None:
    """Set the location of the clips, and which of them are used."""
    name = draft.value("dataset.name")
    if name is not None:
        draft.set("dataset.name", _NAMES[name], "dataset.name")
    if name == "fsd50k":
        _set_fsd50k(draft)
    else:
        _set_tables(draft)
        draft.ignore(*draft.names(_FSD50K), note="dataset.name is not fsd50k")
    extension = draft.value("dataset.file_extension")
    if extension:
        text = extension if extension.startswith(".") else f".{extension}"
        draft.set("dataset.file_extension", text, "dataset.file_extension")
    _set_garbage_class(draft)
    _set_classes_of_file(draft)
    for key in _COPIED:
        if draft.value(f"dataset.{key}") is not None:
            draft.set(f"dataset.{key}", draft.value(f"dataset.{key}"), f"dataset.{key}")


def _set_classes_of_file(draft: Draft) -> None:
    """Set the class names from a text file with one name per line."""
    key = "dataset.classes_file_path"
    path = draft.value(key)
    if path is None:
        return
    if draft.value("dataset.class_names"):
        draft.refuse(key, "and dataset.class_names exclude each other; keep one of them")
        return
    try:
        lines = Path(path).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        draft.refuse(key, f"is {path}, which cannot be read ({type(error).__name__}); legal: text, one class per line")
        return
    draft.set("dataset.class_names", tuple(filter(None, map(str.strip, lines))), key)


def _set_garbage_class(draft: Draft) -> None:
    count, threshold = "dataset.n_samples_per_garbage_class", "deployment.unknown_class_threshold"
    if not draft.value("dataset.use_garbage_class"):
        draft.ignore(count, note="dataset.use_garbage_class is off")
        return
    draft.set(count, draft.value(count), count)
    if (draft.value(threshold) or 0) > 0:
        draft.refuse(threshold, "and dataset.use_garbage_class exclude each other; set it to 0")


def _set_fsd50k(draft: Draft) -> None:
    paths = []
    for key, expected in _FOLDERS.items():
        path = draft.value(f"{_FSD50K}.{key}")
        if path and PurePosixPath(path).name != expected:
            draft.refuse(f"{_FSD50K}.{key}", f"is {path}; legal: the publisher's folder, which is called {expected}")
        elif path:
            paths.append(str(PurePosixPath(path).parent))
    if len(set(paths)) == 1:
        draft.set("dataset.path", paths[0] or ".", *(f"{_FSD50K}.{key}" for key in _FOLDERS), note="the folder above")
    elif paths:
        draft.refuse(f"{_FSD50K}.csv_folder", f"and the audio folders must be in one folder, not in {', '.join(paths)}")
    for key, target in (("audioset_ontology_path", "ontology"), ("only_keep_monolabel", "only_keep_monolabel")):
        value = draft.value(f"{_FSD50K}.{key}")
        if value is not None:
            draft.set(f"dataset.{target}", value, f"{_FSD50K}.{key}")
    unused = [name for name in draft.names("dataset.") if name.endswith(("_audio_path", "_csv_path"))]
    draft.ignore(*unused, note=f"dataset.name is fsd50k: {_FSD50K} sets the location of the clips")


def _set_tables(draft: Draft) -> None:
    """Set the common folder of all tables and their files, and the path of each below it."""
    tables = {part: _table(draft, part) for part in ("training", "validation", "test")}
    paths = [path for files in tables.values() for path in files]
    if len({_ABSOLUTE.match(path) is not None for path in paths}) > 1:
        draft.refuse(_key("training", "csv"), "and the other paths must be all absolute, or all relative")
        return
    if not tables["training"]:
        return
    root = os.path.commonpath(paths) or "."
    draft.set("dataset.path", root)
    note = ""
    if tables["validation"] and not tables["test"]:
        note = "; the zoo reports them, so they become the test clips, and other clips validate"
        tables["test"], tables["validation"] = tables["validation"], ()
    for part, files in tables.items():
        source = "validation" if note and part == "test" else part
        for kind, path in zip(_KINDS, files, strict=False):
            target = kind if part == "training" else f"{part}_{kind}"
            below = os.path.relpath(path, root).replace("\\", "/")
            place = f"below {root}{note if part == 'test' else ''}"
            draft.set(f"dataset.{target}", below, _key(source, kind), note=place)


def _table(draft: Draft, part: str) -> tuple[str, ...]:
    """Return the table and the folder of its files; empty if they are not set."""
    paths = {kind: draft.value(_key(part, kind)) for kind in _KINDS}
    for kind, other in zip(_KINDS, reversed(_KINDS), strict=True):
        if not paths[kind] and paths[other]:
            draft.refuse(_key(part, kind), f"is required together with {_key(part, other)}; legal: a path")
    return tuple(str(path) for path in paths.values()) if all(paths.values()) else ()


def _key(part: str, kind: str) -> str:
    return f"dataset.{part}_{kind}_path"
