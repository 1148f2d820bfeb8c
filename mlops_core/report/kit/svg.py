"""SVG drawings and the scales that they are drawn on.

An inline drawing takes its colours from the page's style sheet and follows its light and dark mode; a standalone one is
a file that any viewer shows without a style sheet.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.report.kit.markup import Attribute, Markup, Node, element

if TYPE_CHECKING:
    from collections.abc import Iterable

DIVISIONS = 4
"""Number of intervals between the ticks of an axis."""
_STEP_FACTORS = (1, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10, 15, 20)
_NOT_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Scale:
    """A range of numbers on an axis.

    Attributes:
        low: its start.
        high: its end, above `low`.
    """

    low: float
    high: float

    def place(self, value: float) -> float:
        """Return the position of `value` on the axis, 0 to 1; values outside the range are moved to its ends."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    def ticks(self) -> list[float]:
        """Return evenly spaced values from `low` to `high`."""
        return [self.low + (self.high - self.low) * number / DIVISIONS for number in range(DIVISIONS + 1)]


def nice_scale(values: Iterable[float]) -> Scale:
    """Return a scale with round ticks that contains every finite value; 0 to 1 when there is none."""
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    if high - low <= abs(high) * 1e-9:
        low, high = low - (abs(low) * 0.1 or 1.0), high + (abs(high) * 0.1 or 1.0)
    step = (high - low) / DIVISIONS
    magnitude = 10 ** math.floor(math.log10(step))
    for factor in _STEP_FACTORS:
        width = factor * magnitude
        start = math.floor(low / width + 1e-9) * width
        end = start + DIVISIONS * width
        if end >= high - 1e-9 * abs(high):
            # Fractions end at 1: a longer axis would suggest that larger values are possible.
            if low >= 0 and high <= 1 < end:
                return Scale(max(0.0, start - (end - 1)), 1.0)
            return Scale(start, end)
    return Scale(low, high)


def percent(share: float) -> str:
    """Return a share, 0 to 1, as a length in SVG; values outside are moved to the ends."""
    return f"{round(100 * min(1.0, max(0.0, share)), 3):g}%"


def inline_svg(*shapes: Node, label: str, class_: str, role: str = "img", **attributes: Attribute) -> Markup:
    """Return a drawing for a page.

    Args:
        shapes: its elements.
        label: the text alternative, which says what the drawing shows.
        class_: its class in the style sheet.
        role: ``group`` for a drawing with links in it.
        attributes: its size (``width`` and ``height``, or ``viewBox``) and others.
    """
    return element("svg", *shapes, class_=class_, role=role, aria_label=label, **attributes)


def standalone_svg(*shapes: Node, title: str, width: int, height: int) -> str:
    """Return a drawing as the content of an ``.svg`` file, on a white background.

    Characters that XML forbids are replaced.

    Args:
        shapes: its elements, with colours of their own.
        title: its name, which viewers show and screen readers read.
        width: in pixels.
        height: in pixels.
    """
    drawing = element(
        "svg",
        element("title", title),
        element("rect", width="100%", height="100%", fill="#fff"),
        *shapes,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
        font_family="sans-serif",
        font_size=12,
    )
    return _NOT_XML.sub("\ufffd", f"{drawing.html}\n")
