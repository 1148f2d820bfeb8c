"""The tables of clips in the section ``dataset``: which of them a run uses, and for what.

The zoo's scores come from the test table, else from the validation table, else from a share of the training table; its
quantizer is calibrated with the quantization table, else with the training table. A table that a run cannot use is
refused or ignored by name, never replaced by other data.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_aed.data.label_tables import read_rows
from mlops_aed.stm32.layouts import Layout
from mlops_core import DatasetError

if TYPE_CHECKING:
    from mlops_aed.stm32.draft import Draft

PARTS = ("training", "validation", "test", "quantization")
_KINDS = ("csv", "audio")
_ABSOLUTE = re.compile(r"/|[A-Za-z]:/")
_REPORTED = "the zoo reports them, so they become the test clips"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Use:
    """The use of one table.

    Attributes:
        table: part of the data set in the file, one of `PARTS`.
        target: prefix of the keys of this use case: ``""``, ``validation_``, ``test_`` or ``calibration_``.
        note: what the table is used for, if this is not its name.
    """

    table: str
    target: str
    note: str = ""


def has_tables(draft: Draft) -> bool:
    """Return whether the file names any table or folder of clips."""
    return any(draft.value(_key(part, kind)) for part in PARTS for kind in _KINDS)


def set_tables(draft: Draft, *, mode: str, is_trained: bool, is_quantized: bool) -> None:
    """Set the common folder of all used tables and their files, and the path of each below it."""
    tables = {part: files for part in PARTS if (files := _table(draft, part))}
    uses = _uses(draft, tables, mode=mode, is_trained=is_trained, is_quantized=is_quantized)
    paths = [path for use in uses for path in tables[use.table]]
    if len({_ABSOLUTE.match(path) is not None for path in paths}) > 1:
        draft.refuse(_key(uses[0].table, "csv"), "and the other paths must be all absolute, or all relative")
        return
    if not paths:
        return
    root = os.path.commonpath(paths) or "."
    draft.set("dataset.path", root)
    for use in uses:
        for kind, path in zip(_KINDS, tables[use.table], strict=True):
            below = os.path.relpath(path, root).replace("\\", "/")
            note = f"below {root}" + (f"; {use.note}" if use.note else "")
            draft.set(f"dataset.{use.target}{kind}", below, _key(use.table, kind), note=note)


def _uses(
    draft: Draft, tables: dict[str, tuple[str, str]], *, mode: str, is_trained: bool, is_quantized: bool
) -> list[_Use]:
    if is_trained:
        return _uses_of_training(draft, tables, mode)
    if is_quantized:
        return _uses_of_quantization(draft, tables, mode)
    return _uses_of_evaluation(draft, tables, mode)


def _uses_of_training(draft: Draft, tables: dict[str, tuple[str, str]], mode: str) -> list[_Use]:
    if "quantization" in tables and tables["quantization"] not in {tables.get("training"), None}:
        draft.refuse(
            _key("quantization", "csv"), f"cannot be used by operation_mode {mode}: training clips calibrate; clear it"
        )
    _ignore(draft, "quantization", note="calibration uses training patches only")
    if "training" not in tables:
        if tables:
            draft.refuse(_key("training", "csv"), f"is required by operation_mode {mode}; legal: a path")
        return []
    uses = [_Use(table="training", target="")]
    if "test" in tables:
        uses += [_Use(table=part, target=f"{part}_") for part in ("validation", "test") if part in tables]
    elif "validation" in tables:
        note = f"{_REPORTED}, and other clips validate"
        uses.append(_Use(table="validation", target="test_", note=note))
    return uses


def _uses_of_evaluation(draft: Draft, tables: dict[str, tuple[str, str]], mode: str) -> list[_Use]:
    _ignore(draft, "quantization", note=f"operation_mode {mode} quantizes nothing")
    scored = _scored(tables)
    if scored is not None:
        unused = [part for part in ("training", "validation") if part != scored.table]
        _ignore(
            draft, *unused, note=f"operation_mode {mode} scores the clips of {draft.key(_key(scored.table, 'csv'))}"
        )
        return [scored]
    if "training" in tables:
        return [_Use(table="training", target="", note="its test part is scored")]
    if tables:
        draft.refuse(_key("test", "csv"), f"is required by operation_mode {mode}; legal: a path")
    return []


def _uses_of_quantization(draft: Draft, tables: dict[str, tuple[str, str]], mode: str) -> list[_Use]:
    scored = _scored(tables)
    if scored is not None and scored.table == "test":
        _ignore(draft, "validation", note=f"the clips of {draft.key(_key('test', 'csv'))} are scored")
    if "quantization" not in tables:
        if "training" in tables:
            return [_Use(table="training", target=""), *([scored] if scored else [])]
        if tables:
            draft.refuse(_key("quantization", "csv"), f"is required by operation_mode {mode}: its clips calibrate")
        return []
    calibrating = _Use(table="quantization", target="calibration_", note="its clips calibrate")
    if scored is not None and tables[scored.table] != tables["quantization"]:
        _ignore(draft, "training", note=f"{draft.key(_key('quantization', 'csv'))} calibrates")
        return [calibrating, scored]
    if scored is None and tables.get("training", tables["quantization"]) != tables["quantization"]:
        note = f"is required together with {draft.key(_key('quantization', 'csv'))}: which clips are scored?"
        draft.refuse(_key("test", "csv"), note)
        return []
    same = [part for part in tables if tables[part] == tables["quantization"] and part != "quantization"]
    _ignore(draft, *same, note=f"is the table of {draft.key(_key('quantization', 'csv'))}")
    note = "its test part is scored, the other clips calibrate"
    return [_Use(table="quantization", target="calibration_", note=note)]


def _scored(tables: dict[str, tuple[str, str]]) -> _Use | None:
    """Return the use of the table that the zoo scores; None if it scores a share of another one."""
    if "test" in tables:
        return _Use(table="test", target="test_")
    return _Use(table="validation", target="test_", note=_REPORTED) if "validation" in tables else None


def _ignore(draft: Draft, *parts: str, note: str) -> None:
    draft.ignore(*(_key(part, kind) for part in parts for kind in _KINDS if draft.value(_key(part, kind))), note=note)


def _table(draft: Draft, part: str) -> tuple[str, str] | None:
    """Return the table and the folder of its files; None if they are not set.

    In v1 all tables list files of one folder, and one table alone names it.
    """
    paths = {kind: draft.value(_key(part, kind)) for kind in _KINDS}
    if draft.layout is Layout.V1 and part != "training" and paths["csv"]:
        if not str(paths["csv"]).lower().endswith(".csv"):
            draft.refuse(_key(part, "csv"), f"is {paths['csv']}; legal: a table (.csv) of files in dataset.audio_path")
            return None
        paths["audio"] = draft.value(_key("training", "audio"))
    for kind, other in zip(_KINDS, reversed(_KINDS), strict=True):
        if not paths[kind] and paths[other]:
            missing = _key("training", kind) if draft.layout is Layout.V1 else _key(part, kind)
            if draft.layout is Layout.V1 and part == "training" and _lists_elsewhere(draft):
                return None
            note = f"is required together with {draft.key(_key(part, other))}; legal: a path"
            draft.refuse(missing, note)
    return (str(paths["csv"]), str(paths["audio"])) if all(paths.values()) else None


def _lists_elsewhere(draft: Draft) -> bool:
    """Return whether a table besides that of the training clips lists files of the common folder."""
    return any(draft.value(_key(part, "csv")) for part in ("validation", "test"))


def _key(part: str, kind: str) -> str:
    return f"dataset.{part}_{kind}_path"


def folds_of(draft: Draft) -> tuple[str, ...] | None:
    """Return the folds in the training table, sorted; None if it is not on this machine or cannot be read."""
    path = draft.value(_key("training", "csv")) or draft.value(_key("quantization", "csv"))
    if path is None:
        return None
    try:
        cells = {row.get("fold", "").strip() for _, row in read_rows(Path(str(path)).expanduser(), ())}
    except (OSError, RuntimeError, DatasetError):
        return None
    return tuple(sorted(filter(str.isdigit, cells), key=int))
