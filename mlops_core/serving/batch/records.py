"""Requests that are made of a file, and the file that is made of their answers, as batch jobs of engines do it.

A file is one request, or its lines are: each alone, or as many as fit. Line breaks are line feeds; a last line needs
none. Lines in one request are separated and ended by line feeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.errors import DatasetError
from mlops_core.quantities import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1 << 20
_NEWLINE = b"\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRules:
    """How a file becomes requests, and their answers a file.

    Attributes:
        by_line: the lines of a file are its records; else the file is one.
        is_multi: a request holds as many lines as fit, and its answer must have as many lines.
        ends_lines: the answer to each request ends with a line break.
        limit_bytes: size of a request at most; None for no limit.

    Example:
        >>> RecordRules(by_line=True, is_multi=True, limit_bytes=6 * MIB).ends_lines
        False
    """

    by_line: bool = False
    is_multi: bool = False
    ends_lines: bool = False
    limit_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """The body of a request.

    Attributes:
        body: its content.
        lines: number of lines that it holds; None if it is a whole file.
    """

    body: bytes
    lines: int | None = None


def payloads(path: Path, rules: RecordRules, *, name: str) -> Iterator[Payload]:
    """Yield the requests for a file, in order.

    Args:
        path: the file.
        rules: how it is split.
        name: of the file, for messages.

    Raises:
        DatasetError: the file is empty, or it or one of its lines is larger than a request may be.
        OSError: it cannot be read.

    Example:
        >>> _ = Path("clip.wav").write_bytes(b"sound")
        >>> [payload.body for payload in payloads(Path("clip.wav"), RecordRules(), name="clip.wav")]
        [b'sound']
    """
    size = path.stat().st_size
    if not size:
        raise DatasetError(f"{name} is empty; remove it, or write what is to be predicted")
    if not rules.by_line:
        _require_size(size, rules, what=name)
        yield Payload(body=path.read_bytes())
        return
    yield from _grouped(path, rules, name=name)


def _grouped(path: Path, rules: RecordRules, *, name: str) -> Iterator[Payload]:
    lines: list[bytes] = []
    size = 0
    with path.open("rb") as stream:
        longest = -1 if rules.limit_bytes is None else rules.limit_bytes + 1
        for number, line in enumerate(iter(lambda: stream.readline(longest), b""), start=1):
            complete = line if line.endswith(_NEWLINE) else line + _NEWLINE
            if len(line) == longest:  # it may go on
                _require_size(len(line), rules, what=f"line {number} of {name}")
            is_full = rules.limit_bytes is not None and size + len(complete) > rules.limit_bytes
            if lines and (not rules.is_multi or is_full):
                yield Payload(body=b"".join(lines), lines=len(lines))
                lines, size = [], 0
            lines.append(complete)
            size += len(complete)
    if lines:
        yield Payload(body=b"".join(lines), lines=len(lines))


def _require_size(size: int, rules: RecordRules, *, what: str) -> None:
    if rules.limit_bytes is not None and size > rules.limit_bytes:
        raise DatasetError(
            f"{what} has {'at least ' if what.startswith('line') else ''}{size} bytes, more than the "
            f"{format_size(rules.limit_bytes)} of a request; raise the limit or split it"
        )


def assembled(answer: bytes, payload: Payload, rules: RecordRules, *, name: str) -> bytes:
    """Return an answer as it becomes part of the file.

    Args:
        answer: the body of the answer.
        payload: the request.
        rules: how answers are joined.
        name: of the file, for messages.

    Raises:
        DatasetError: a request of n lines was answered by another number of lines.
    """
    if rules.is_multi and payload.lines is not None:
        count = answer.count(_NEWLINE) + (not answer.endswith(_NEWLINE) and bool(answer))
        if count != payload.lines:
            raise DatasetError(
                f"{name}: a request of {payload.lines} lines was answered by {count} lines; ask for an answer with one "
                "line per sample, such as text/csv or application/jsonlines"
            )
    if rules.ends_lines and not answer.endswith(_NEWLINE):
        return answer + _NEWLINE
    return answer
