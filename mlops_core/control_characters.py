r"""Control characters in text that leaves the program: terminals obey them, so they are shown, not sent.

A file name, a class name, a log line or an exception's message may hold an escape sequence that clears the screen,
repaints a verdict or sets a title, a carriage return that overwrites the line, a bidirectional override that reorders
it, or half a surrogate pair that cannot be encoded. Every output of every command passes through `escape_controls`
(`mlops_core.cli.streams`); a text that must stay on one line passes through `escape_line`.

The forms are those of Python's string literals and of JSON at once (``\u009b``, not ``\x9b``), so that an escaped JSON
document is still the same document. Only the controls below U+0020, which no JSON text holds, have the short form.
"""

from __future__ import annotations

import functools
import re

_C0 = r"\x00-\x08\x0b-\x1f"
_OTHER = (
    r"\x7f-\x9f"  # DEL and C1, where U+009B is another way to write ESC [
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # the controls of the bidirectional algorithm (UAX #9)
    r"\u2028\u2029\u206a-\u206f\ufeff\ufff9-\ufffb"  # line separators and invisible formatting
    r"\ud800-\udfff"  # half of a surrogate pair: a byte of a file name that is not UTF-8
    r"\U000e0000-\U000e007f"  # invisible copies of ASCII
)
_ASCII = re.compile(rf"[{_C0}\x7f]")
_ASCII_LINE = re.compile(r"[\x00-\x1f\x7f]")
_NAMED = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}


def escape_controls(text: str) -> str:
    r"""Return `text` with each control character but line feed and tab replaced by its escape.

    Example:
        >>> print(escape_controls("clip\x1b[2J.wav"))
        clip\x1b[2J.wav
    """
    return _ASCII.sub(_escape, text) if text.isascii() else _any(_C0).sub(_escape, text)


def escape_line(text: str) -> str:
    r"""Return `text` as one line: line feed and tab are escaped too.

    Example:
        >>> print(escape_line("clip\nmlops: error: forged"))
        clip\nmlops: error: forged
    """
    return _ASCII_LINE.sub(_escape, text) if text.isascii() else _any(r"\x00-\x1f").sub(_escape, text)


@functools.cache
def _any(first: str) -> re.Pattern[str]:
    """Return the pattern of all control characters; few outputs need it, and it takes longer to compile."""
    return re.compile(f"[{first}{_OTHER}]")


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    if character in _NAMED:
        return _NAMED[character]
    if code < 0x20:
        return f"\\x{code:02x}"
    if code <= 0xFFFF:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
