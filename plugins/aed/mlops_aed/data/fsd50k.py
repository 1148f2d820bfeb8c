"""FSD50K: its ground truth, and one label per clip by AudioSet's ontology.

The ground truth gives each clip its classes and all their ancestors (``Bark, Dog, Domestic_animals, Animal``).
A clip holds one sound if all its labels are ancestors of one of them; that one is its label, or, among chosen classes,
its nearest chosen ancestor. The layout is that of the archives: ``FSD50K.ground_truth/{dev,eval}.csv`` with the
columns fname, labels, mids (and split, in dev), audio in ``FSD50K.dev_audio`` and ``FSD50K.eval_audio``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mlops_aed.data.clips import TEST, TRAIN, VALIDATION, Clip, join_labels
from mlops_aed.data.label_tables import read_rows
from mlops_core import DatasetError

if TYPE_CHECKING:
    import logging
    from collections.abc import Mapping
    from pathlib import Path

    from mlops_aed.config import DatasetSection

_ONTOLOGY_LIMIT_BYTES = 64 << 20
GROUND_TRUTH = "FSD50K.ground_truth"
ONTOLOGY_FILE = "ontology.json"
_AUDIO = {"dev": "FSD50K.dev_audio", "eval": "FSD50K.eval_audio"}
_FOLDS = {TRAIN: 1, VALIDATION: 2, TEST: 3}


def is_layout(dataset: Path) -> bool:
    """Return whether the folder has the layout of FSD50K."""
    return (dataset / GROUND_TRUTH / "dev.csv").is_file()


def read_clips(dataset: Path, settings: DatasetSection, log: logging.Logger) -> list[Clip]:
    """Return the clips: dev's training and validation parts, and eval as the test part.

    With ``multi_label`` each clip has all its chosen labels. Otherwise it has one, and clips of several
    sounds are left out.

    Raises:
        DatasetError: a file or a column is missing, or the ontology lacks a class.
    """
    rows = [(name, row) for name in ("dev", "eval") for row in _rows(dataset / GROUND_TRUTH / f"{name}.csv")]
    if settings.multi_label:
        return [_clip(name, row, join_labels(_labels(row))) for name, row in rows]
    parents = read_parents(_ontology_path(dataset, settings))
    clips, several = [], 0
    for name, row in rows:
        label = single_label(_labels_by_mid(row), parents, chosen=settings.class_names)
        if label is None:
            several += 1
        else:
            clips.append(_clip(name, row, label))
    log.info("%d of %d clips hold several sounds and are left out", several, len(rows))
    return clips


def single_label(
    labels: Mapping[str, str], parents: Mapping[str, frozenset[str]], *, chosen: tuple[str, ...] | None = None
) -> str | None:
    """Return the label of a clip that holds one sound, or None.

    Args:
        labels: the ontology's identifiers of the clip's classes -> their names.
        parents: identifier -> identifiers of its parents.
        chosen: names of classes; the label is the nearest of them, or the sound's own class if there is none.

    Raises:
        DatasetError: the ontology lacks one of the identifiers.
    """
    leaves = _lowest(set(labels), parents)
    if len(leaves) != 1:
        return None
    sound = leaves.pop()
    if chosen is None:
        return labels[sound]
    chosen_mids = {mid for mid in labels if labels[mid] in chosen}
    nearest = _lowest(chosen_mids, parents)
    if len(nearest) > 1:  # two chosen ancestors, neither above the other: ambiguous
        return None
    return labels[nearest.pop() if nearest else sound]


def _lowest(mids: set[str], parents: Mapping[str, frozenset[str]]) -> set[str]:
    """Return the identifiers that are not ancestors of any other."""
    above: set[str] = set()
    for mid in mids:
        above |= _ancestors(mid, parents)
    return mids - above


def _ancestors(mid: str, parents: Mapping[str, frozenset[str]]) -> set[str]:
    ancestors: set[str] = set()
    waiting = [mid]
    while waiting:
        current = waiting.pop()
        if current not in parents:
            raise DatasetError(f"the ontology has no class {current}; expected AudioSet's ontology.json")
        waiting.extend(parents[current] - ancestors)
        ancestors |= parents[current]
    return ancestors


def _ontology_text(path: Path) -> str:
    if path.exists() and (not path.is_file() or path.stat().st_size > _ONTOLOGY_LIMIT_BYTES):
        raise OSError("it is not a regular file, or too large")
    return path.read_text(encoding="utf-8")


def read_parents(path: Path) -> dict[str, frozenset[str]]:
    """Return identifier -> identifiers of its parents, from AudioSet's ``ontology.json``.

    Raises:
        DatasetError: it is missing or not an ontology; the message says where to get it.
    """
    try:
        entries = json.loads(_ontology_text(path))
        above: dict[str, set[str]] = {entry["id"]: set() for entry in entries}
        for entry in entries:
            for child in entry["child_ids"]:
                above.setdefault(child, set()).add(entry["id"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DatasetError(
            f"{path} cannot be read as AudioSet's ontology ({error}); get ontology.json from "
            "https://github.com/audioset/ontology and set dataset.ontology, or set dataset.multi_label: true"
        ) from error
    return {mid: frozenset(parents) for mid, parents in above.items()}


def _ontology_path(dataset: Path, settings: DatasetSection) -> Path:
    return dataset / (settings.ontology or ONTOLOGY_FILE)


def _rows(table: Path) -> list[dict[str, str]]:
    return [row for _, row in read_rows(table, ("fname", "labels", "mids"))]


def _labels(row: Mapping[str, str]) -> list[str]:
    return [label.strip() for label in row["labels"].split(",")]


def _labels_by_mid(row: Mapping[str, str]) -> dict[str, str]:
    names, mids = _labels(row), [mid.strip() for mid in row["mids"].split(",")]
    if len(names) != len(mids):
        raise DatasetError(f"FSD50K clip {row['fname']}: {len(names)} labels, but {len(mids)} mids")
    return dict(zip(mids, names, strict=True))


def _clip(name: str, row: Mapping[str, str], label: str) -> Clip:
    part = TEST if name == "eval" else VALIDATION if row.get("split") == "val" else TRAIN
    return Clip(
        name=f"{_AUDIO[name]}/{row['fname']}.wav", label=label, group=row["fname"], fold=_FOLDS[part], part=part
    )
