"""Data assets: data sets with a name and versions, which runs refer to as ``asset:NAME:VERSION``.

The version of an asset is its content: registering equal content under the same name returns the version that exists.
A version has a number for people, counted from 1 within the name, and a text for engines, the beginning of its digest.
An asset is a bookmark: the files stay where they are, and their digest is compared whenever they are used.
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_core.datasets.digests import manifest_of, read_tree, tree_manifest
from mlops_core.datasets.tree_walk import tree_state
from mlops_core.errors import DatasetError, StoreError, UsageError, did_you_mean
from mlops_core.names import require_name

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from mlops_core.workspace.store import Store

ASSET_PREFIX = "asset:"
"""A ``dataset.path`` that begins with this names a data asset instead of a folder."""
FOLDER, MLTABLE = "folder", "mltable"
KINDS = (FOLDER, MLTABLE)
MLTABLE_FILE = "MLTable"
_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?\Z")
_NAME_LIMIT = 128
_DIGEST_PREFIX = 12
_MANIFEST_LIMIT = 200_000
_STATE_NOTE = "state"
_STATED = ("licence", "description")
"""Facts that a user states about the content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataAsset:
    """A version of a data asset.

    Attributes:
        name: of the asset.
        number: 1, 2, 3, ... within the name.
        digest: over relative path, size and content of each file.
        kind: ``folder``, or ``mltable`` for a folder with an ``MLTable`` file.
        path: the folder; empty where it is an artifact of the workspace, which `artifact` names.
        artifact: digest of the artifact; empty for a folder of the user's.
        files: how many.
        size_bytes: of all files together.
        licence: SPDX identifier; empty if it is not known.
        run_id: the run that made it; empty where none did.
        output: ``step.output`` of that run.
        created: ISO 8601, UTC.
        description: one sentence.

    Example:
        >>> asset = DataAsset(name="symbols", number=3, digest="ab" * 32, kind="folder", files=10, size_bytes=500)
        >>> asset.version, str(asset)
        ('abababababab', 'symbols:3')
    """

    name: str
    number: int
    digest: str
    kind: str
    files: int
    size_bytes: int
    path: str = ""
    artifact: str = ""
    licence: str = ""
    run_id: str = ""
    output: str = ""
    created: str = ""
    description: str = ""

    def __str__(self) -> str:
        """Return name and number, as a user writes them."""
        return f"{self.name}:{self.number}"

    @property
    def version(self) -> str:
        """The version for engines: the beginning of the digest, equal for equal content."""
        return self.digest[:_DIGEST_PREFIX]

    def to_json(self) -> dict[str, Any]:
        """Return the asset as JSON types only."""
        return {**asdict(self), "version": self.version}


class AssetStore:
    """The data assets of one workspace."""

    def __init__(self, store: Store) -> None:
        """Use the database of `store`."""
        self._store = store

    def register(self, asset: DataAsset) -> tuple[DataAsset, bool]:
        """Give the content the next number of its name, unless it has one; return it, and whether it is new.

        A version that is known keeps its number, its date and the run that made it first. It is read from the place
        that is registered now, unless an artifact of the workspace has its files; a licence or a description that it
        does not have yet is added.

        Args:
            asset: `asset.number` is ignored.

        Raises:
            UsageError: the name is not legal, or a known version has another licence or description.
        """
        _check_name(asset.name)
        with self._store.transaction() as db:
            known = db.execute(
                "SELECT * FROM data_assets WHERE name = ? AND digest = ?", (asset.name, asset.digest)
            ).fetchone()
            if known is not None:
                merged = self._merged(_asset(known), asset)
                db.execute(
                    "UPDATE data_assets SET artifact = ?, record = ? WHERE name = ? AND digest = ?",
                    (merged.artifact, _record(merged), merged.name, merged.digest),
                )
                return merged, False
            newest = db.execute(
                "SELECT coalesce(max(number), 0) FROM data_assets WHERE name = ?", (asset.name,)
            ).fetchone()[0]
            numbered = replace(asset, number=newest + 1)
            db.execute(
                "INSERT INTO data_assets (name, number, digest, artifact, record) VALUES (?, ?, ?, ?, ?)",
                (numbered.name, numbered.number, numbered.digest, numbered.artifact, _record(numbered)),
            )
        return numbered, True

    def _merged(self, known: DataAsset, given: DataAsset) -> DataAsset:
        """Return a known version with the place and the facts of a further registration.

        Raises:
            UsageError: it has another licence or description.
        """
        for fact in _STATED:
            old, new = getattr(known, fact), getattr(given, fact)
            if old and new and old != new:
                raise UsageError(
                    f"data asset {known}: its {fact} is {old!r}, not {new!r}, and a version keeps it; expected the "
                    f"same {fact} or none; register the files under another name to state another one"
                )
            known = replace(known, **{fact: old or new})
        if not known.run_id:
            known = replace(known, run_id=given.run_id, output=given.output)
        if given.artifact or not (known.artifact and self._store.artifacts.has(known.artifact)):
            known = replace(known, path=given.path, artifact=given.artifact)
        return known

    def register_folder(self, name: str, folder: Path, **facts: str) -> tuple[DataAsset, bool]:
        """Register the files of a folder, where they are; `facts` are further attributes of the asset.

        Raises:
            UsageError: the name is not legal, or a known version has another licence or description.
            DatasetError: the folder does not exist, is empty or cannot be read.
        """
        _check_name(name)
        path = folder.absolute()
        if not path.is_dir():
            raise DatasetError(f"no folder {path}; expected the files of the data asset '{name}'")
        try:
            unchanged = self._unchanged(name, path)
            if unchanged is not None:
                return self.register(_given(unchanged, path, facts))
            state, files = read_tree(path, cache=self._store.file_digests)
        except OSError as error:
            raise DatasetError(f"data asset '{name}': {error.filename}: {error.strerror or error}") from error
        if not files:
            raise DatasetError(f"data asset '{name}': the folder {path} is empty; expected its files")
        manifest = manifest_of(files)
        if manifest.count <= _MANIFEST_LIMIT and not self._store.manifests.has(manifest.digest):
            with contextlib.suppress(OSError):  # without it, a later change cannot be traced to a file
                self._store.manifests.save(manifest.digest, files)
        self._store.manifests.save_note(manifest.digest, _STATE_NOTE, f"{path} {state.digest}")
        asset = DataAsset(
            name=name,
            number=0,
            digest=manifest.digest,
            kind=MLTABLE if (path / MLTABLE_FILE).is_file() else FOLDER,
            files=manifest.count,
            size_bytes=manifest.size_bytes,
        )
        return self.register(_given(asset, path, facts))

    def _unchanged(self, name: str, path: Path) -> DataAsset | None:
        """Return the version whose folder has not changed since it was registered; no file is read for that."""
        with self._store.reading() as db:
            rows = db.execute("SELECT * FROM data_assets WHERE name = ? ORDER BY number DESC", (name,)).fetchall()
        notes = {row["digest"]: self._store.manifests.find_note(row["digest"], _STATE_NOTE) for row in rows}
        if not any((note or "").startswith(f"{path} ") for note in notes.values()):
            return None
        state = f"{path} {tree_state(path).digest}"
        return next((_asset(row) for row in rows if notes[row["digest"]] == state), None)

    def versions(self, name: str | None = None) -> tuple[DataAsset, ...]:
        """Return the versions of one asset, or of all, newest first.

        Raises:
            UsageError: no asset has that name.
        """
        with self._store.reading() as db:
            rows = db.execute("SELECT * FROM data_assets ORDER BY name, number DESC").fetchall()
        found = tuple(_asset(row) for row in rows)
        if name is None:
            return found
        own = tuple(asset for asset in found if asset.name == name)
        if not own:
            known = sorted({asset.name for asset in found})
            raise UsageError(
                f"no data asset '{name}' in {self._store.home}{did_you_mean(name, known) or ';'} "
                f"data assets: {', '.join(known) or 'none'}"
            )
        return own

    def find(self, reference: str) -> DataAsset:
        """Return the asset that ``NAME``, ``NAME:NUMBER`` or ``NAME:DIGEST`` refers to; the newest without a version.

        Raises:
            UsageError: there is none.
        """
        name, _, wanted = reference.removeprefix(ASSET_PREFIX).partition(":")
        versions = self.versions(name)
        if not wanted:
            return versions[0]
        for asset in versions:
            if wanted == str(asset.number) or (len(wanted) >= 6 and asset.digest.startswith(wanted)):
                return asset
        shown = ", ".join(f"{asset.number} ({asset.version})" for asset in versions[:10])
        raise UsageError(f"no version '{wanted}' of data asset '{name}'; versions: {shown}")

    def folder(self, asset: DataAsset) -> Path:
        """Return the folder of an asset, whether or not it exists."""
        return self._store.artifacts.path(asset.artifact) if asset.artifact else Path(asset.path)

    def check(self, asset: DataAsset, *, digest: str = "") -> Path:
        """Return the folder of an asset whose files are those that were registered.

        Args:
            asset: the asset.
            digest: of the files now, where it is known.

        Raises:
            DatasetError: the folder is gone, or its files have changed.
        """
        folder = self.folder(asset)
        if not folder.is_dir():
            raise DatasetError(
                f"data asset {asset}: its folder {folder} is gone; expected its {asset.files} files there; register "
                f"the folder that has them now: mlops datasets register {asset.name} FOLDER"
            )
        now = digest or tree_manifest(folder, cache=self._store.file_digests).digest
        if now != asset.digest:
            raise DatasetError(
                f"data asset {asset}: the files in {folder} have changed (digest {now[:12]}, registered "
                f"{asset.version}); restore them, or register them as a new version: "
                f"mlops datasets register {asset.name} {folder}"
            )
        return folder

    def artifacts(self) -> frozenset[str]:
        """Return the artifacts of the workspace that assets refer to, which housekeeping keeps."""
        with self._store.reading() as db:
            rows = db.execute("SELECT DISTINCT artifact FROM data_assets WHERE artifact != ''").fetchall()
        return frozenset(str(row[0]) for row in rows)


def _given(asset: DataAsset, path: Path, facts: Mapping[str, str]) -> DataAsset:
    """Return content with the place and the facts of one registration, and no others."""
    return DataAsset(
        name=asset.name,
        number=0,
        digest=asset.digest,
        kind=asset.kind,
        files=asset.files,
        size_bytes=asset.size_bytes,
        path="" if "artifact" in facts else str(path),
        **facts,
    )


def _record(asset: DataAsset) -> str:
    """Return the column ``record``: what has no column of its own."""
    return json.dumps({key: value for key, value in asdict(asset).items() if key not in ("name", "number", "digest")})


def _check_name(name: str) -> None:
    if not _NAME.match(name) or len(name) > _NAME_LIMIT:
        raise UsageError(
            f"data asset {name!r}: expected lower-case letters, digits, '.', '_' and '-', a letter or digit first and "
            f"last, at most {_NAME_LIMIT} characters"
        )
    require_name(name, what="data asset", error=UsageError)


def _asset(row: sqlite3.Row) -> DataAsset:
    try:
        return read_asset(row)
    except (ValueError, TypeError) as error:
        raise StoreError(
            f"data asset {row['name']}:{row['number']}: its row in mlops.db is damaged; see what can be mended with: "
            "mlops doctor"
        ) from error


def read_asset(row: sqlite3.Row) -> DataAsset:
    """Return the data asset in a row of ``data_assets``.

    Raises:
        ValueError, TypeError: the row is damaged.
    """
    if not isinstance(row["number"], int):
        raise TypeError("its number is none")
    return DataAsset(name=row["name"], number=row["number"], digest=row["digest"], **json.loads(row["record"]))
