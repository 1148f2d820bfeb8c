"""The sections ``dataset`` and ``dataset_specific``: clips and classes."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from mlops_aed.stm32.layouts import Layout
from mlops_aed.stm32.tables import folds_of, has_tables, set_tables

if TYPE_CHECKING:
    from mlops_aed.stm32.draft import Draft

_NAMES = {"esc10": "ESC-10", "fsd50k": "FSD50K", "custom": "custom"}
_FSD50K = "dataset_specific.fsd50k"
_FOLDERS = {
    "csv_folder": "FSD50K.ground_truth",
    "dev_audio_folder": "FSD50K.dev_audio",
    "eval_audio_folder": "FSD50K.eval_audio",
}
_COPIED = ("class_names", "multi_label", "use_garbage_class")
_VALIDATION_SPLITS = {Layout.V1: 0.1, Layout.V2: 0.2, Layout.V4: 0.2}
"""Share of the training clips that validates, if a file does not say."""


def set_dataset(draft: Draft, *, mode: str, is_trained: bool, is_quantized: bool) -> None:
    """Set the location of the clips, and which of them are used.

    Args:
        draft: the file.
        mode: its operation mode, for messages.
        is_trained: whether the run trains a model.
        is_quantized: whether the run quantizes a model.
    """
    name = draft.value("dataset.name")
    has_folders = name == "fsd50k" and any(draft.value(f"{_FSD50K}.{key}") for key in _FOLDERS)
    own_parts = ("test", "validation", *(("quantization",) if is_quantized else ()))
    is_scored = not is_trained and any(draft.value(f"dataset.{part}_csv_path") for part in own_parts)
    has_data = has_tables(draft)
    if name == "fsd50k" and (not has_data or (has_folders and not is_scored)):
        _set_fsd50k(draft)
    else:
        set_tables(draft, mode=mode, is_trained=is_trained, is_quantized=is_quantized)
        unused = "the tables of dataset are used" if name == "fsd50k" else "dataset.name is not fsd50k"
        draft.ignore(*draft.names(_FSD50K), note=unused)
    if name is not None:
        _set_name(draft, name, has_data=has_data or has_folders)
    extension = draft.value("dataset.file_extension")
    if extension:
        text = extension if extension.startswith(".") else f".{extension}"
        draft.set("dataset.file_extension", text, "dataset.file_extension")
    _set_garbage_class(draft)
    _set_classes_of_file(draft)
    for key in _COPIED:
        if draft.value(f"dataset.{key}") is not None:
            draft.set(f"dataset.{key}", draft.value(f"dataset.{key}"), f"dataset.{key}")
    _set_test_split(draft, has_folders=has_folders)
    _set_validation_split(draft, has_folders=has_folders, is_trained=is_trained)


def _set_name(draft: Draft, name: str, *, has_data: bool) -> None:
    """Set the name of the data set; without any path the catalogue's data set of this name is used, if there is one."""
    if not has_data and name == "custom":
        key = draft.key("dataset.training_csv_path")
        draft.refuse(
            "dataset.name", f"is custom, and no path of its clips is set; set {key} and the folder of the files"
        )
        return
    note = "" if has_data else f"no path of clips is set: {_NAMES[name]} of the catalogue is used"
    draft.set("dataset.name", _NAMES[name], "dataset.name", note=note)


def _set_test_split(draft: Draft, *, has_folders: bool) -> None:
    """Set the share of test clips if it has an effect; else say what determines the test clips."""
    key = "dataset.test_split"
    share = draft.value(key)
    if share is None:
        return
    folds = folds_of(draft)
    if draft.is_set("dataset.test_csv"):
        draft.ignore(key, note="has no effect: the test clips have a table of their own")
    elif has_folders or (draft.value("dataset.name") == "fsd50k" and not has_tables(draft)):
        draft.ignore(key, note="has no effect: FSD50K's eval clips are the test clips")
    elif folds or not has_tables(draft):
        which = f"fold {folds[-1]}" if folds else "the last fold"
        draft.ignore(
            key, note=f"has no effect: {which} is the test part; dataset.strategy group or random would use it"
        )
    else:
        note = "has no effect if the table has a column fold" if folds is None else ""
        draft.set(key, share, key, note=note)


def _set_validation_split(draft: Draft, *, has_folders: bool, is_trained: bool) -> None:
    """Set the share of the training clips that validates, in a run that trains."""
    key = "dataset.validation_split"
    share = draft.value(key)
    if not is_trained:
        draft.ignore(key, note="has no effect: nothing is trained")
    elif draft.is_set("dataset.validation_csv"):
        draft.ignore(key, note="has no effect: the validation clips have a table of their own")
    elif has_folders:
        draft.ignore(key, note="has no effect: FSD50K's own validation clips are used")
    else:
        draft.set(key, _VALIDATION_SPLITS[draft.layout] if share is None else share, key)


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
    switch = draft.key("dataset.use_garbage_class")
    if not draft.value("dataset.use_garbage_class"):
        draft.ignore(count, note=f"{switch} is off")
        return
    draft.set(count, draft.value(count), count)
    if (draft.value(threshold) or 0) > 0:
        draft.refuse(threshold, f"and {switch} exclude each other; set it to 0")


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
