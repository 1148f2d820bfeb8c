"""Exporting a data asset: as a folder, as one that other programs read as a table, and the file that names versions."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.datasets.digests import iter_tree
from mlops_core.datasets.earlier_splits import dataset_version_text
from mlops_core.errors import DatasetError
from mlops_core.reading import bounded_lines, replace_text
from mlops_core.workspace.assets.store import MLTABLE_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_core.datasets.digests import StatCache
    from mlops_core.workspace.assets.store import DataAsset

ANNOTATIONS = "annotations.jsonl"
_FOLDER_MODE, _FILE_MODE = 0o755, 0o644
_NAME_PART = 40
"""Number of characters of the target's name in that of the folder in which it is made."""
_TABLE = """\
paths:
  - file: ./{name}
transformations:
  - read_json_lines:
      encoding: utf8
      invalid_lines: error
      include_path_column: false
  - convert_column_types:
      - columns: image_url
        column_type: stream_info
"""


def export_folder(
    asset: DataAsset, folder: Path, target: Path, *, as_table: bool, cache: StatCache | None = None
) -> None:
    """Copy the files of an asset to `target`, which appears complete or not at all.

    The files are those that the asset's digest covers: no empty folders, and no link to a folder that holds it.

    Args:
        asset: what is exported.
        folder: its files.
        target: the new folder.
        as_table: add an ``MLTable`` file where there is none; the asset must hold one file of JSON lines then.
        cache: digests of files that were read before.

    Raises:
        DatasetError: `target` exists, there is no or more than one file of lines, or a line is not a JSON object with
            an ``image_url``.
    """
    if target.exists():
        raise DatasetError(f"{target} exists; expected the name of a new folder")
    lines = None
    if as_table and not (folder / MLTABLE_FILE).is_file():
        lines = _annotations(asset, folder)
    partial = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name[:_NAME_PART]}.", suffix=".partial", dir=target.parent))
        _copy_tree(folder, partial, cache=cache)
        if lines is not None:
            (partial / MLTABLE_FILE).write_text(_TABLE.format(name=lines.name), encoding="utf-8")
        partial.rename(target)
    except OSError as error:
        raise DatasetError(f"data asset {asset} cannot be exported to {target}: {error}") from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)


def _copy_tree(folder: Path, target: Path, *, cache: StatCache | None) -> None:
    """Copy the files that the digest of `folder` covers, and nothing else; links become what they lead to."""
    target.chmod(_FOLDER_MODE)
    for file in iter_tree(folder, cache=cache):
        path = target / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / file.path, path)
        path.chmod(_FILE_MODE)
    for path in target.rglob("*/"):
        path.chmod(_FOLDER_MODE)


def _annotations(asset: DataAsset, folder: Path) -> Path:
    found = sorted(path for path in folder.glob("*.jsonl") if path.is_file())
    preferred = [path for path in found if path.name == ANNOTATIONS] or found
    if len(preferred) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise DatasetError(
            f"data asset {asset}: a table needs one file of JSON lines, {ANNOTATIONS}; files of lines: {names}"
        )
    path = preferred[0]
    for number, line in enumerate(bounded_lines(path), 1):
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise DatasetError(f"{path}: not JSON: {error} (line {number})") from error
        if not isinstance(entry, dict) or not isinstance(entry.get("image_url"), str):
            raise DatasetError(f"{path}: expected an object with a text image_url (line {number})")
    return path


def write_dataset_version(path: Path, parts: Mapping[str, DataAsset], *, scheme: str = "") -> None:
    """Write the file that names the version of each part, ``train``, ``val`` and ``test``, which a run can use again.

    Raises:
        DatasetError: it cannot be written.
    """
    try:
        references = {part: f"{asset.name}:{asset.version}" for part, asset in parts.items()}
        replace_text(path, dataset_version_text(references, scheme=scheme))
    except OSError as error:
        raise DatasetError(f"{path} cannot be written: {error.strerror or error}") from error
