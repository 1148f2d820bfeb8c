"""Sizes and formats of the pictures of a data set, from their headers."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath
from statistics import median
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from mlops_core import Distribution, FactTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Header: TypeAlias = "tuple[str, tuple[int, int, str] | None]"
"""Name of a file, and its width, height and format; None if the header cannot be read."""
_MOST_FREQUENT = 10
_BARS = 20


def size_tables(headers: Sequence[Header]) -> Iterator[FactTable]:
    """Yield the range of widths and heights, the most frequent sizes, and the files by suffix and format."""
    sizes = [(header[0], header[1]) for _, header in headers if header]
    if sizes:
        measures = {
            "width": [width for width, _ in sizes],
            "height": [height for _, height in sizes],
            "shorter side": [min(size) for size in sizes],
        }
        yield FactTable(
            title="sizes in pixels",
            columns=("side", "minimum", "median", "maximum"),
            rows=tuple((name, min(values), median(values), max(values)) for name, values in measures.items()),
        )
        frequent = Counter(f"{width} x {height}" for width, height in sizes).most_common(_MOST_FREQUENT)
        yield FactTable(title="most frequent sizes", columns=("size", "pictures"), rows=tuple(frequent))
    kinds = Counter(
        (PurePosixPath(name).suffix or "no suffix", header[2] if header else "unreadable") for name, header in headers
    )
    yield FactTable(
        title="files by suffix",
        columns=("suffix", "format", "files"),
        rows=tuple((suffix, kind, count) for (suffix, kind), count in kinds.most_common()),
    )


def size_distribution(headers: Sequence[Header]) -> Iterator[Distribution]:
    """Yield the histogram of the shorter side, unless no header can be read."""
    sides = [min(header[:2]) for _, header in headers if header]
    if sides:
        counts, edges = np.histogram(sides, bins=_BARS)
        yield Distribution(
            name="size",
            title="Shorter side",
            unit="pixels",
            edges=tuple(float(edge) for edge in edges),
            counts=tuple(int(count) for count in counts),
        )
