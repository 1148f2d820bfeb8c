"""What arrived: one version of one object, whatever it was that noticed it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One version of an object that is complete where it was put.

    Attributes:
        bucket: name of the bucket, or of the folder that is watched.
        key: of the object: its path, with forward slashes.
        version: of the content: a version id, or the digest that the store computed.
        sequencer: orders the versions of one key; empty where the store gives none.
        size_bytes: of the object.
        at: when it arrived, in seconds since 1970.
        is_restored: it was there before, and can be read again.

    Example:
        >>> Arrival(bucket="data", key="in/a.zip", version="1f", at=0.0).identity == Arrival(
        ...     bucket="data", key="in/a.zip", version="1f", at=9.0
        ... ).identity
        True
    """

    bucket: str
    key: str
    version: str
    at: float
    sequencer: str = ""
    size_bytes: int = 0
    is_restored: bool = False

    @property
    def identity(self) -> str:
        """What two reports of the same arrival have in common."""
        parts = "\0".join((self.bucket, self.key, self.version, "restored" if self.is_restored else ""))
        return hashlib.sha256(parts.encode(errors="surrogatepass")).hexdigest()
