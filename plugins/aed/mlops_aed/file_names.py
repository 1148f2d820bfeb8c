"""Names of files for messages: their bytes need not be text."""

from __future__ import annotations


def printable(name: str) -> str:
    """Return the name of a file as text that can be printed; bytes that are not UTF-8 are written as an escape each."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
