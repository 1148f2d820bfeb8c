"""Human-readable formats: durations, sizes, numbers, digests."""

from __future__ import annotations

import math

_SHORT_DIGEST = 12


def format_duration(seconds: float) -> str:
    """Return a duration as text: ``0.8 s``, ``42 s``, ``3 min 05 s``, ``2 h 04 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def format_size(size: float) -> str:
    """Return a number of bytes with a binary unit, for example ``1.5 MiB``."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def counted(number: int, noun: str, *, one: str = "", more: str = "") -> str:
    """Return a number with its noun and what follows it.

    Args:
        number: how many.
        noun: in the singular.
        one: what follows for one, such as a verb.
        more: what follows for another number; empty for the same.

    Example:
        >>> counted(1, "file", one="is empty", more="are empty"), counted(3, "file", one="is empty", more="are empty")
        ('1 file is empty', '3 files are empty')
    """
    return f"{number} {noun} {one}".rstrip() if number == 1 else f"{number} {noun}s {more or one}".rstrip()


def format_number(value: float | None) -> str:
    """Return a number with four significant digits; a dash for None."""
    if value is None:
        return "-"
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "infinity" if value > 0 else "-infinity"
    return f"{value + 0.0:.4g}"  # 0, not -0


def format_change(change: float) -> str:
    """Return a difference with its sign and four significant digits."""
    return "0" if change == 0 else f"{change:+.4g}"


def short_digest(digest: str) -> str:
    """Return the first twelve characters of a digest."""
    return digest[:_SHORT_DIGEST]
