"""Unpacking archives that may be hostile: nothing leaves the folder, no links, no devices, no bombs."""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING

from mlops_core.errors import DatasetError

if TYPE_CHECKING:
    from pathlib import Path

SIZE_LIMIT_BYTES = 200 << 30
FILE_LIMIT = 20_000_000
RATIO_LIMIT = 200
"""Unpacked to packed size; audio, images and text stay far below, bombs far above."""
_RATIO_FREE_BYTES = 64 << 20


def unpack(archive: Path, target: Path, *, strip: int = 0) -> None:
    """Unpack a zip or tar archive into the folder `target`, without the first `strip` path components.

    Raises:
        DatasetError: it is no archive, is damaged, or holds something that it should not; what was unpacked is
            below `target` still, which the caller drops.
    """
    budget = Budget(archive.name, packed_bytes=archive.stat().st_size)
    try:
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, target, strip=strip, budget=budget)
        elif tarfile.is_tarfile(archive):
            _unpack_tar(archive, target, strip=strip, budget=budget)
        else:
            raise DatasetError(f"{archive.name} is neither a zip nor a tar archive")
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DatasetError(f"{archive.name} is damaged: {error}") from error


class Budget:
    """Counts what comes out of an archive, against what went in."""

    def __init__(self, name: str, *, packed_bytes: int) -> None:
        """Begin to count for the archive `name` of `packed_bytes`."""
        self._name = name
        self._left = min(SIZE_LIMIT_BYTES, max(_RATIO_FREE_BYTES, packed_bytes * RATIO_LIMIT))
        self._files = FILE_LIMIT

    def count_file(self) -> None:
        """Count one file.

        Raises:
            DatasetError: there are too many.
        """
        self._files -= 1
        if self._files < 0:
            raise DatasetError(f"{self._name} holds more than {FILE_LIMIT:,} files; refused")

    def spend(self, size: int) -> None:
        """Count `size` unpacked bytes.

        Raises:
            DatasetError: there are too many members.
        """
        self._left -= size
        if self._left < 0:
            raise DatasetError(f"{self._name} unpacks to far more than its size (a bomb?); refused")

    def copy(self, source: IO[bytes], target: Path) -> None:
        """Copy `source` to the new file `target` and count the bytes."""
        self.count_file()
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            raise DatasetError(f"{self._name} holds '{target.name}' twice; refused")
        with target.open("xb") as stream:
            while chunk := source.read(1 << 20):
                self.spend(len(chunk))
                stream.write(chunk)


def _unpack_zip(archive: Path, target: Path, *, strip: int, budget: Budget) -> None:
    with zipfile.ZipFile(archive) as content:
        for member in content.infolist():
            kind = member.external_attr >> 28
            if kind == 0o12:
                raise DatasetError(f"{archive.name} holds the link '{member.filename}'; refused")
            path = safe_path(member.filename, archive.name, strip=strip)
            if path is not None and not member.is_dir():
                with content.open(member) as source:
                    budget.copy(source, target / path)


def _unpack_tar(archive: Path, target: Path, *, strip: int, budget: Budget) -> None:
    with tarfile.open(archive) as content:
        for member in content:
            if not (member.isfile() or member.isdir()):
                raise DatasetError(f"{archive.name} holds '{member.name}', a link or a device; refused")
            path = safe_path(member.name, archive.name, strip=strip)
            source = content.extractfile(member) if member.isfile() else None
            if path is not None and source is not None:
                budget.copy(source, target / path)


def safe_path(name: str, archive: str, *, strip: int) -> PurePosixPath | None:
    """Return the path of the member `name` below the target; None for what `strip` removes whole.

    Raises:
        DatasetError: the path is outside the target.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or (path.parts and ":" in path.parts[0]):
        raise DatasetError(f"{archive} holds '{name}', which would leave the folder; refused")
    parts = path.parts[strip:]
    return PurePosixPath(*parts) if parts else None
