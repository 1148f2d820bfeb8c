"""Unpacking archives that may be hostile: nothing leaves the folder, no links, no devices, no bombs."""

from __future__ import annotations

import gzip
import lzma
import shutil
import struct
import tarfile
import uuid
import zipfile
import zlib
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, NoReturn, Self

from mlops_core.datasets.listing import is_hidden_or_tool, placeholder_of
from mlops_core.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

SIZE_LIMIT_BYTES = 200 << 30
FILE_LIMIT = 20_000_000
RATIO_LIMIT = 200
"""Unpacked to packed size; audio, images and text stay far below, bombs far above."""
_RATIO_FREE_BYTES = 64 << 20
_HEADER_LIMIT_BYTES = 1 << 18
"""Largest header of a member of a tar archive: names and attributes, which are read into memory."""
_CHUNK = 1 << 20
_SMALL_CHUNK = 1 << 12
"""Read at once from methods whose decoder has no limit for what it returns."""
_LINK = 0o12
_ENCRYPTED = 0x1
_LOCAL_HEADER_BYTES = 30
DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, struct.error),
    *(ValueError, ArithmeticError, LookupError, TypeError, AttributeError, AssertionError, RuntimeError, MemoryError),
)
"""What the readers of archives raise for damaged ones, `NotImplementedError` and `RecursionError` included."""


def unpack(archive: Path, target: Path, *, strip: int = 0) -> None:
    """Unpack a zip or tar archive into the folder `target`, without the first `strip` path components.

    Raises:
        DatasetError: it is not an archive, is damaged or encrypted, or holds something that it should not; what was
            unpacked is below `target` still, which the caller drops.
    """
    budget = Budget(archive.name, packed_bytes=archive.stat().st_size)
    try:
        if _is_zip(archive):
            _unpack_zip(archive, target, strip=strip, budget=budget)
        else:
            _unpack_tar(archive, target, strip=strip, budget=budget)
    except DAMAGED as error:
        raise DatasetError(f"{archive.name} is damaged: {str(error) or type(error).__name__}") from error


def drop_outer_folder(folder: Path) -> None:
    """Move the content of the only folder in `folder`, if it has nothing else than that one, into its place.

    What an operating system adds to an archive, such as ``__MACOSX``, does not count; it is removed with the folder.
    """
    entries = sorted(folder.iterdir())
    kept = [entry for entry in entries if not is_hidden_or_tool(entry.name)]
    if len(kept) != 1 or kept[0].is_symlink() or not kept[0].is_dir():
        return
    outer = folder / f".{uuid.uuid4().hex}"
    kept[0].rename(outer)
    for entry in entries:
        if entry != kept[0]:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    for entry in outer.iterdir():
        entry.rename(folder / entry.name)
    outer.rmdir()


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

    def copy(self, source: IO[bytes], target: Path, *, chunk_bytes: int = _CHUNK) -> None:
        """Copy `source` to the new file `target` and count the bytes."""
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            raise DatasetError(f"{self._name} holds '{target.name}' twice; refused")
        with target.open("xb") as stream:
            while chunk := source.read(chunk_bytes):
                self.spend(len(chunk))
                stream.write(chunk)


def _is_zip(archive: Path) -> bool:
    """Return whether an archive is zip; an uncompressed tar archive may end with a zip archive as its last member."""
    with archive.open("rb") as stream:
        if stream.read(2) == b"PK" and zipfile.is_zipfile(archive):
            return True
    try:
        with open_tar(archive):
            return False
    except tarfile.TarError:
        if zipfile.is_zipfile(archive):
            return True
        what = placeholder_of(archive) or "neither a zip nor a tar archive"
        raise DatasetError(f"{archive.name} is {what}") from None


def _unpack_zip(archive: Path, target: Path, *, strip: int, budget: Budget) -> None:
    with zipfile.ZipFile(archive) as content:
        members = content.infolist()
        require_separate(
            ((member.header_offset, _LOCAL_HEADER_BYTES + member.compress_size, member.filename) for member in members),
            name=archive.name,
        )
        for member in members:
            budget.count_file()
            if member.external_attr >> 28 == _LINK:
                raise DatasetError(f"{archive.name} holds the link '{member.filename}'; refused")
            if member.flag_bits & _ENCRYPTED:
                raise DatasetError(f"{archive.name} holds '{member.filename}' encrypted; unpack it yourself")
            path = safe_path(member.filename, archive.name, strip=strip)
            if path is not None and not member.is_dir():
                is_bounded = member.compress_type in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
                with content.open(member) as source:
                    budget.copy(source, target / path, chunk_bytes=_CHUNK if is_bounded else _SMALL_CHUNK)


def require_separate(places: Iterable[tuple[int, int, str]], *, name: str) -> None:
    """Refuse members that share bytes of an archive, as only bombs do.

    Args:
        places: (offset, length, name) of each member.
        name: of the archive.

    Raises:
        DatasetError: two members overlap.
    """
    end, before = 0, ""
    for offset, length, member in sorted(places):
        if offset < end:
            raise DatasetError(f"{name} holds '{before}' and '{member}' in the same bytes (a bomb?); refused")
        end, before = offset + length, member


class _TarMember(tarfile.TarInfo):
    """A member of a tar archive; its names and attributes have a limit, because they are read into memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Return the member of a header; a damaged one is an error, where `tarfile` takes it for the archive's end."""
        try:
            return super().frombuf(buf, encoding, errors)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]
            raise tarfile.ReadError(f"a header of a member is damaged: {error}") from error

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        """Refuse what would need unlimited memory; `tarfile` calls this for each header, for subclasses to override."""
        if self.size < 0:
            raise DatasetError(f"{_name(archive)} is damaged: a member has a negative size")
        if self.type == tarfile.GNUTYPE_SPARSE:
            self._refuse_sparse()
        if self.type not in {*tarfile.REGULAR_TYPES, tarfile.DIRTYPE} and self.size > _HEADER_LIMIT_BYTES:
            raise DatasetError(
                f"{_name(archive)} has a header of {self.size:,} bytes; refused, the limit is {_HEADER_LIMIT_BYTES:,}"
            )
        return super()._proc_member(archive)  # type: ignore[misc,no-any-return]

    def _refuse_sparse(self, *_: object) -> NoReturn:
        raise DatasetError(f"the archive holds '{self.name}', a sparse member; refused")

    _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse_sparse


def _name(archive: object) -> str:
    name = getattr(archive, "name", None)
    return PurePosixPath(name).name if isinstance(name, str) else "the archive"


def open_tar(archive: Path) -> tarfile.TarFile:
    """Open a tar archive of somebody else for reading: headers are limited, and damaged ones are errors.

    Raises:
        DatasetError: a header is too long, or a member is sparse; also while members are read.
        tarfile.TarError: it is not a tar archive, or is damaged; also while members are read.

    Example:
        >>> import tarfile
        >>> with tarfile.open("a.tar", "w") as archive:
        ...     archive.addfile(tarfile.TarInfo("empty.txt"))
        >>> with open_tar(Path("a.tar")) as archive:
        ...     archive.getnames()
        ['empty.txt']
    """
    return tarfile.open(archive, tarinfo=_TarMember)


def _unpack_tar(archive: Path, target: Path, *, strip: int, budget: Budget) -> None:
    with open_tar(archive) as content:
        end = 0
        while (member := content.next()) is not None:
            vars(content)["members"] = []  # else every member stays in memory
            budget.count_file()
            budget.spend(max(0, member.offset_data - end))
            if content.offset <= end or member.size < 0 or _text_size(content.pax_headers) > _HEADER_LIMIT_BYTES:
                raise DatasetError(f"{archive.name} is damaged: its headers are too long, or lead back")
            end = content.offset
            if not (member.isfile() or member.isdir()):
                raise DatasetError(f"{archive.name} holds '{member.name}', a link or a device; refused")
            path = safe_path(member.name, archive.name, strip=strip)
            source = content.extractfile(member) if member.isfile() else None
            if source is None:
                continue
            if path is None:
                budget.spend(member.size)
            else:
                budget.copy(source, target / path)


def _text_size(headers: Mapping[str, str]) -> int:
    return sum(len(name) + len(value) for name, value in headers.items())


def safe_path(name: str, archive: str, *, strip: int) -> PurePosixPath | None:
    """Return the path of the member `name` below the target; None for what `strip` removes whole.

    Raises:
        DatasetError: the path is outside the target.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if "\0" in name:
        raise DatasetError(f"{archive} holds a member with the name {name!r}; refused")
    if path.is_absolute() or ".." in path.parts or (path.parts and ":" in path.parts[0]):
        raise DatasetError(f"{archive} holds '{name}', which would leave the folder; refused")
    parts = path.parts[strip:]
    return PurePosixPath(*parts) if parts else None
