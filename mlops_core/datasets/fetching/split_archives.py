"""Unpacking a zip archive split into several files (``.z01``, ``.z02``, ..., ``.zip``), as written by ``zip -s``.

The standard library refuses such archives, and the ``zip`` program would first write the whole of it again in one
file. Here the directory is read from the last file, and each member from where it lies, over the ends of files. A
member that is there whole is not unpacked again. Format: PKWARE's APPNOTE 6.3.9, sections 4.3 to 4.5 and 8.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from dataclasses import dataclass
from itertools import accumulate
from typing import IO, TYPE_CHECKING, Self

from mlops_core.datasets.fetching.archives import DAMAGED, Budget, require_separate, safe_path
from mlops_core.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s4B4H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
_LONGEST_COMMENT = 0xFFFF
_ENCRYPTED = 1
_WIDE, _UNICODE_NAME = 0x0001, 0x7075
_STORED, _DEFLATED = 0, 8
_LINK = 0o12
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    """A file in the archive; `disk` and `offset` are the position of its local header."""

    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    disk: int
    offset: int
    kind: int


def unpack_split(
    parts: Sequence[Path], target: Path, *, strip: int = 0, progress: Callable[[int, int], None] | None = None
) -> None:
    """Unpack the archive whose files are `parts`, in their order, into the folder `target`.

    A second call after an interruption resumes: members that exist with the right size are not extracted again.

    Args:
        parts: ``.z01``, ``.z02``, ... and last ``.zip``.
        target: a folder that exists.
        strip: leading path components that are dropped.
        progress: called with (files extracted, files in total).

    Raises:
        DatasetError: it is not a split archive, a part is missing or damaged, or a member is not allowed.
    """
    name = parts[-1].name
    with _Joined(parts) as joined:
        try:
            members = sorted(_directory(joined, name), key=lambda member: (member.disk, member.offset))
            require_separate(
                ((joined.place(m.offset, disk=m.disk), _LOCAL.size + m.packed, m.name) for m in members), name=name
            )
            budget = Budget(name, packed_bytes=joined.size)
            for done, member in enumerate(members, 1):
                _unpack_member(joined, member, target, strip=strip, budget=budget)
                if progress:
                    progress(done, len(members))
        except DAMAGED as error:
            raise DatasetError(f"{name} is damaged: {str(error) or type(error).__name__}") from error


class _Joined:
    """Several files as one, to be read from any place."""

    def __init__(self, parts: Sequence[Path]) -> None:
        self._stack = contextlib.ExitStack()
        self._files: list[IO[bytes]] = [self._stack.enter_context(part.open("rb")) for part in parts]
        ends = list(accumulate(part.stat().st_size for part in parts))
        self._starts = [0, *ends[:-1]]
        self.size = ends[-1]
        self._place = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def seek(self, offset: int, *, disk: int = 0) -> None:
        self._place = self.place(offset, disk=disk)

    def place(self, offset: int, *, disk: int) -> int:
        """Return the place of byte `offset` of a file in all files together."""
        if disk >= len(self._starts):
            raise EOFError(f"it points to file {disk + 1} of {len(self._starts)}: is one missing?")
        return self._starts[disk] + offset

    def read(self, size: int) -> bytes:
        """Return exactly `size` bytes."""
        found = b""
        while len(found) < size:
            part = max(index for index, start in enumerate(self._starts) if start <= self._place)
            self._files[part].seek(self._place - self._starts[part])
            chunk = self._files[part].read(size - len(found))
            if not chunk:
                raise EOFError("it ends too early")
            self._place += len(chunk)
            found += chunk
        return found

    def chunks(self, size: int) -> Iterator[bytes]:
        while size:
            chunk = self.read(min(size, _CHUNK))
            size -= len(chunk)
            yield chunk


def _directory(joined: _Joined, name: str) -> Iterator[_Member]:
    """Yield the members, from the directory at the archive's end."""
    length = min(joined.size, _LONGEST_COMMENT + _END.size + _LOCATOR64.size)
    joined.seek(joined.size - length)
    tail = joined.read(length)
    place = tail.rfind(b"PK\5\6")
    if place < 0:
        raise DatasetError(f"{name} is not the last file of a zip archive: it has no central directory")
    _, _, disk, _, count, _, offset, _ = _END.unpack_from(tail, place)
    if place >= _LOCATOR64.size and tail.startswith(b"PK\6\7", place - _LOCATOR64.size):
        _, end_disk, end_offset, _ = _LOCATOR64.unpack_from(tail, place - _LOCATOR64.size)
        joined.seek(end_offset, disk=end_disk)
        _, _, _, _, _, disk, _, count, _, offset = _END64.unpack(joined.read(_END64.size))
    joined.seek(offset, disk=disk)
    for _ in range(count):
        yield _entry(joined)


def _entry(joined: _Joined) -> _Member:
    fields = _ENTRY.unpack(joined.read(_ENTRY.size))
    if fields[0] != b"PK\1\2":
        raise EOFError("its directory is broken: is a file missing, or not in its place?")
    flags, method, crc, packed, size = fields[5], fields[6], *fields[9:12]
    name_length, extra_length, comment_length, disk = fields[12:16]
    attributes, offset = fields[17:]
    name = joined.read(name_length)
    extra = _extra_fields(joined.read(extra_length))
    joined.read(comment_length)
    wide = _Wide(extra.get(_WIDE, b""))
    return _Member(
        name=_decoded(name, extra.get(_UNICODE_NAME, b"")),
        flags=flags,
        method=method,
        crc=crc,
        size=wide.take("<Q") if size == _FULL32 else size,
        packed=wide.take("<Q") if packed == _FULL32 else packed,
        offset=wide.take("<Q") if offset == _FULL32 else offset,
        disk=wide.take("<L") if disk == _FULL16 else disk,
        kind=attributes >> 28,
    )


def _decoded(name: bytes, unicode_name: bytes) -> str:
    """Return a name: UTF-8 where it is, as the zip program writes on Unix without saying so; else code page 437."""
    if unicode_name[:5] == struct.pack("<BL", 1, zlib.crc32(name)):
        return unicode_name[5:].decode("utf-8")
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("cp437")


class _Wide:
    """The numbers of an entry that need more than their usual bytes, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def take(self, layout: str) -> int:
        (value,) = struct.unpack_from(layout, self._data)
        self._data = self._data[struct.calcsize(layout) :]
        return int(value)


def _extra_fields(extra: bytes) -> dict[int, bytes]:
    found = {}
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<2H", extra)
        found[kind] = extra[4 : 4 + size]
        extra = extra[4 + size :]
    return found


def _unpack_member(joined: _Joined, member: _Member, target: Path, *, strip: int, budget: Budget) -> None:
    if member.kind == _LINK:
        raise DatasetError(f"the archive holds the link '{member.name}'; refused")
    path = safe_path(member.name, "the archive", strip=strip)
    if path is None or member.name.endswith("/"):
        return
    budget.count_file()
    budget.spend(member.size)
    place = target / path
    if place.is_file() and place.stat().st_size == member.size:
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f"{place.name}.unpacking")
    crc = size = 0
    with partial.open("wb") as stream:
        for chunk in _content(joined, member):
            crc = zlib.crc32(chunk, crc)
            size += len(chunk)
            if size > member.size:
                break
            stream.write(chunk)
    if crc != member.crc or size != member.size:
        partial.unlink()
        raise DatasetError(f"the archive is damaged: '{member.name}' does not match its entry in the central directory")
    partial.replace(place)


def _content(joined: _Joined, member: _Member) -> Iterator[bytes]:
    """Yield the unpacked bytes, some MiB at once at most."""
    if member.flags & _ENCRYPTED or member.method not in {_STORED, _DEFLATED}:
        how = "encrypted" if member.flags & _ENCRYPTED else f"packed by method {member.method}"
        raise DatasetError(f"the archive holds '{member.name}' {how}; only stored and deflated members can be read")
    joined.seek(member.offset, disk=member.disk)
    local = _LOCAL.unpack(joined.read(_LOCAL.size))
    if local[0] != b"PK\3\4":
        raise EOFError(f"'{member.name}' is not where the central directory says: a file is missing or out of order")
    joined.read(local[9] + local[10])
    if member.method == _STORED:
        yield from joined.chunks(member.packed)
        return
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    for chunk in joined.chunks(member.packed):
        data = chunk
        while data:
            yield inflate.decompress(data, _CHUNK)
            data = inflate.unconsumed_tail
    yield inflate.flush()
