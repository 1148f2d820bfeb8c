"""The tar archive of a bundle: one spelling for one content, written whole or not at all, read strictly in one pass.

Members are regular files with sorted names, mode 0644, and neither times nor owners. A reader accepts exactly the bytes
that the writer would have written: any other header, a link, a folder, padding that is not zero or bytes after the end
are refused before anything of the member is used. No name is ever used as a path.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.errors import StoreError, UsageError
from mlops_core.trust.bundles.envelopes import EvidenceFaultError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import BinaryIO

ATTESTATIONS = "attestations.intoto.jsonl"
"""The first member: the envelopes, one per line."""
MODEL_SIGNATURE = "model.sig"
CONFIG, RUN, EVALUATION, VERDICT, MODEL, APPROVALS = (
    f"documents/{name}"
    for name in ("config.yaml", "run.json", "evaluation.json", "verdict.json", "model.json", "approvals.json")
)
MEMBER_NAME = re.compile(
    r"attestations\.intoto\.jsonl|model\.sig|documents/[a-z0-9][a-z0-9._-]{0,60}|objects/[0-9a-f]{64}"
)
_BLOCK = 512
_CHUNK = 1 << 20
_END = bytes(2 * _BLOCK)
_LARGEST = (1 << 33) - 1
"""The largest size that a plain header holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A file of a bundle.

    Attributes:
        name: in the archive.
        size: in bytes.
        sha256: of the content.
    """

    name: str
    size: int
    sha256: str


def archive_size(members: Sequence[tuple[str, int]]) -> int:
    """Return the size of an archive of members with these sizes."""
    return sum(_BLOCK + size + _padding(size) for _, size in members) + len(_END)


def write_archive(path: Path, members: Sequence[tuple[Member, bytes | Path]]) -> None:
    """Write an archive under a hidden name and rename it, so that `path` is never a part of one.

    Args:
        path: the archive; an existing file is replaced.
        members: with the content, or the file that holds it.

    Raises:
        UsageError: it cannot be written.
        StoreError: a file is no longer what its member says.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder; expected the name of the bundle's file, for example bundle.tar")
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with os.fdopen(descriptor, "wb") as stream:
            for member, source in sorted(members, key=lambda pair: pair[0].name):
                _write_member(stream, member, source)
            stream.write(_END)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _write_member(stream: BinaryIO, member: Member, source: bytes | Path) -> None:
    if member.size > _LARGEST:
        raise StoreError(f"{member.name} has {member.size:,} bytes; a file of a bundle has at most {_LARGEST:,}")
    stream.write(_header(member.name, member.size))
    digest, size = hashlib.sha256(), 0
    for chunk in (source,) if isinstance(source, bytes) else _chunks(source):
        digest.update(chunk)
        size += len(chunk)
        stream.write(chunk)
    if (size, digest.hexdigest()) != (member.size, member.sha256):
        raise StoreError(f"{source if isinstance(source, Path) else member.name} was changed while it was read")
    stream.write(bytes(_padding(size)))


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk


class ArchiveReader:
    """Reads an archive from its beginning to its end."""

    def __init__(self, stream: BinaryIO, *, size: int, observe: Callable[[memoryview], object] | None = None) -> None:
        """Read a file that is open without a buffer.

        Args:
            stream: the file.
            size: its size.
            observe: receives all bytes, in order.
        """
        self._stream = stream
        self._size = size
        self._observe = observe
        self._buffer = bytearray(_CHUNK)

    def first(self, *, limit: int) -> bytes:
        """Return the content of the first member, which holds the envelopes.

        Raises:
            EvidenceFaultError: the file is not a bundle.
        """
        header = self._block()
        size = _size_in(header)
        if size is None or bytes(header) != _header(ATTESTATIONS, size):
            raise EvidenceFaultError(f"the file is not a bundle: it does not begin with {ATTESTATIONS}")
        if size > limit or size > self._size:
            raise EvidenceFaultError(
                f"{ATTESTATIONS} has a declared size of {size:,} bytes; at most {limit:,} are read"
            )
        content = bytearray()
        self._content(size, content.extend)
        return bytes(content)

    def require_size(self, members: Sequence[tuple[str, int]]) -> None:
        """Refuse a file that is not exactly as long as an archive of these members.

        Raises:
            EvidenceFaultError: it is shorter or longer.
        """
        expected = archive_size(members)
        if self._size != expected:
            state = "cut off" if self._size < expected else "followed by other bytes, or has further members"
            raise EvidenceFaultError(
                f"the archive is {state}: {self._size:,} bytes, and its statements say {expected:,}"
            )

    def member(self, member: Member, take: Callable[[memoryview], object] | None = None) -> None:
        """Read the next member and compare it with what the statements say about it.

        Args:
            member: as the statements say.
            take: receives the content, piece by piece, before its digest is known.

        Raises:
            EvidenceFaultError: it is another one.
        """
        if bytes(self._block()) != _header(member.name, member.size):
            raise EvidenceFaultError(f"{member.name}: another member, size or kind of member is in its place")
        digest = hashlib.sha256()

        def observe(chunk: memoryview) -> None:
            digest.update(chunk)
            if take is not None:
                take(chunk)

        self._content(member.size, observe)
        if digest.hexdigest() != member.sha256:
            raise EvidenceFaultError(
                f"{member.name}: its SHA-256 is {digest.hexdigest()[:12]}..., and the statements say "
                f"{member.sha256[:12]}..."
            )

    def end(self) -> None:
        """Read the end of the archive.

        Raises:
            EvidenceFaultError: there is anything else.
        """
        for _ in range(2):
            if any(self._block()):
                raise EvidenceFaultError("the archive does not end after its last member")
        if self._stream.read(1):
            raise EvidenceFaultError("the archive is followed by other bytes")

    def _content(self, size: int, take: Callable[[memoryview], object]) -> None:
        left = size
        while left:
            chunk = self._read(min(left, _CHUNK))
            take(chunk)
            left -= len(chunk)
        if any(self._read(_padding(size))):
            raise EvidenceFaultError("the archive holds bytes between its members")

    def _block(self) -> memoryview:
        return self._read(_BLOCK)

    def _read(self, size: int) -> memoryview:
        view = memoryview(self._buffer)[:size]
        count = 0
        while count < size:
            number = self._stream.readinto(view[count:])  # type: ignore[attr-defined]  # a raw file has it
            if not number:
                raise EvidenceFaultError("the archive is cut off")
            count += number
        if self._observe is not None:
            self._observe(view)
        return view


def _header(name: str, size: int) -> bytes:
    """Return the header of a member."""
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o644
    return info.tobuf(tarfile.USTAR_FORMAT)


def _size_in(header: memoryview) -> int | None:
    """Return the size in a header; None if it is not a number of eleven octal digits."""
    text = bytes(header[124:136])
    return int(text[:11], 8) if re.fullmatch(rb"[0-7]{11}\0", text) else None


def _padding(size: int) -> int:
    return -size % _BLOCK
