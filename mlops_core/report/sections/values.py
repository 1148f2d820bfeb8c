"""How the values of a record are shortened for a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.quantities import short_digest

if TYPE_CHECKING:
    from mlops_core.report.evidence import Evidence

_DIGEST_LENGTH = 64
_DIGEST_CHARACTERS = frozenset("0123456789abcdef")


def as_of(evidence: Evidence) -> str:
    """Return when the state that the report shows was read, for example ``2026-05-03 14:30 UTC``."""
    return f"{evidence.as_of[:10]} {evidence.as_of[11:16]} UTC"


def is_digest(text: str) -> bool:
    """Return whether `text` is a SHA-256 digest in hexadecimal."""
    return len(text) == _DIGEST_LENGTH and _DIGEST_CHARACTERS.issuperset(text)


def shortened(text: str, *, limit: int) -> str:
    """Return the beginning of a digest, or at most `limit` characters of another text."""
    if is_digest(text):
        return short_digest(text)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
