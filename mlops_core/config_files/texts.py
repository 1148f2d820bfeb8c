"""The texts of a configuration, and the files whose digest it notes, such as weights: their content is part of it."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SHA256 = re.compile(r"[0-9a-f]{64}")


def noted_files(section: Mapping[str, object]) -> Iterator[str]:
    """Yield the whole paths in sections of a configuration that hold a SHA-256, too.

    Example:
        >>> list(noted_files({"model": {"weights": "/data/w.h5", "sha256": "0" * 64}, "log": "/var/log"}))
        ['/data/w.h5']
    """
    texts = [value for value in section.values() if isinstance(value, str)]
    if any(map(_SHA256.fullmatch, texts)):
        for text in texts:
            if os.path.isabs(path := os.path.expanduser(text)):  # noqa: PTH111, PTH117  most texts are no paths
                yield os.path.normpath(path)
    for inner in section.values():
        if isinstance(inner, dict):
            yield from noted_files(inner)


def texts_in(value: object) -> Iterator[str]:
    """Yield each text in the values of a configuration, at any depth.

    Example:
        >>> list(texts_in({"model": {"weights": "w.h5", "filters": [8]}, "names": ["a", "b"]}))
        ['w.h5', 'a', 'b']
    """
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from texts_in(inner)
