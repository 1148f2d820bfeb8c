"""How the values of a record are shortened for a table."""

from __future__ import annotations

from mlops_core.quantities import short_digest

_DIGEST_LENGTH = 64
_DIGEST_CHARACTERS = frozenset("0123456789abcdef")


def is_digest(text: str) -> bool:
    """Return whether `text` is a SHA-256 digest in hexadecimal."""
    return len(text) == _DIGEST_LENGTH and _DIGEST_CHARACTERS.issuperset(text)


def shortened(text: str, *, limit: int) -> str:
    """Return the beginning of a digest, or at most `limit` characters of another text."""
    if is_digest(text):
        return short_digest(text)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
