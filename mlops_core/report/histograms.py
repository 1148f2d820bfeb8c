"""A distribution as an SVG picture that stands alone: bars with their counts, readable without a style sheet."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlops_core.datasets.inspections import Distribution

_WIDTH, _BAR, _GAP, _LEFT, _TOP, _RIGHT = 640, 18, 4, 170, 44, 70


def histogram_svg(distribution: Distribution) -> str:
    """Return the picture: one bar a class, or a range of numbers."""
    labels = distribution.labels or tuple(
        f"{low:g} to {high:g}" for low, high in zip(distribution.edges, distribution.edges[1:], strict=False)
    )
    largest = max(distribution.counts, default=0) or 1
    height = _TOP + len(labels) * (_BAR + _GAP) + 12
    title = escape(distribution.title + (f" ({distribution.unit})" if distribution.unit else ""))
    bars = "\n".join(
        _bar(escape(label), count, place=_TOP + number * (_BAR + _GAP), share=count / largest)
        for number, (label, count) in enumerate(zip(labels, distribution.counts, strict=True))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'role="img" font-family="sans-serif" font-size="12">\n<title>{title}</title>\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n'
        f'<text x="12" y="24" font-size="15" fill="#111">{title}</text>\n{bars}\n</svg>\n'
    )


def _bar(label: str, count: int, *, place: int, share: float) -> str:
    length = round(share * (_WIDTH - _LEFT - _RIGHT), 1)
    middle = place + _BAR - 5
    return (
        f'<text x="{_LEFT - 8}" y="{middle}" text-anchor="end" fill="#333">{label}</text>'
        f'<rect x="{_LEFT}" y="{place}" width="{length}" height="{_BAR}" fill="#3b6ea5"/>'
        f'<text x="{_LEFT + length + 6}" y="{middle}" fill="#333">{count}</text>'
    )
