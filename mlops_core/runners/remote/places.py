"""Prefixes in object stores: `Place`."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mlops_core.errors import DatasetError


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A prefix in an object store.

    Attributes:
        scheme: URL scheme of the store.
        bucket: name of the bucket or container.
        prefix: of all keys, without a slash at its end.
        address: as the engine writes it, without a slash at its end; empty for ``scheme://bucket/prefix``.
    """

    scheme: str
    bucket: str
    prefix: str
    address: str = ""

    @classmethod
    def parse(cls, text: str) -> Place:
        """Parse an address of the form ``scheme://bucket/prefix/``.

        Raises:
            DatasetError: it is not an address of an object store, or the prefix is empty.
        """
        scheme, separator, rest = text.partition("://")
        bucket, _, prefix = rest.partition("/")
        prefix = prefix.strip("/")
        if not separator or not scheme.isalnum() or not bucket or not prefix or "//" in prefix:
            raise DatasetError(f"{text!r} is not a valid address for a data set; expected SCHEME://BUCKET/PREFIX/")
        return cls(scheme=scheme, bucket=bucket, prefix=prefix)

    def key(self, path: str) -> str:
        """Return the key of a file of the data set."""
        return f"{self.prefix}/{path}"

    def below(self, folder: str) -> Place:
        """Return the prefix of a folder."""
        address = f"{self.address}/{folder}" if self.address else ""
        return replace(self, prefix=f"{self.prefix}/{folder}", address=address)

    def __str__(self) -> str:
        """Return the address of the prefix."""
        return f"{self.address or f'{self.scheme}://{self.bucket}/{self.prefix}'}/"


__all__ = ["Place"]
