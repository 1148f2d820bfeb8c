"""Parallel coordinates: one vertical axis for each quantity, and a line across all of them for each item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.quantities import format_number
from mlops_core.report.kit.markup import Markup, element, group
from mlops_core.report.kit.svg import inline_svg

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_GAP, _MARGIN, _HEIGHT, _TOP, _BOTTOM = 130, 70, 260, 34, 26
_NAME = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CoordinateLine:
    """A line of the chart.

    Attributes:
        name: of the item, which the pointer shows.
        values: axis -> number or text; the line has gaps where an axis is not in it.
        is_marked: draw it in front of the others, in the colour of the accent.
    """

    name: str
    values: Mapping[str, float | str]
    is_marked: bool = False


def parallel_chart(axes: Sequence[str], lines: Sequence[CoordinateLine], *, label: str) -> Markup:
    """Return a chart with an axis for each name in `axes`, and each item as a line across them.

    An axis of numbers runs from the smallest to the largest one; other values have places of their own, in the order
    of their texts.
    """
    scales = {axis: _Places([line.values[axis] for line in lines if axis in line.values]) for axis in axes}
    x = {axis: _MARGIN + _GAP * number for number, axis in enumerate(axes)}
    ordered = sorted(lines, key=lambda line: line.is_marked)
    width = 2 * _MARGIN + _GAP * (len(axes) - 1)
    return inline_svg(
        *(_axis(axis, x[axis], scales[axis]) for axis in axes),
        *(_line(line, axes, x, scales) for line in ordered),
        label=label,
        class_="parallel-chart",
        viewBox=f"0 0 {width} {_HEIGHT}",
    )


class _Places:
    """Where the values of an axis are, 0 (bottom) to 1 (top)."""

    def __init__(self, values: Sequence[float | str]) -> None:
        self.is_numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        self._known = sorted(set(values), key=float if self.is_numeric else str)

    def place(self, value: float | str) -> float:
        if len(self._known) < 2:
            return 0.5
        if self.is_numeric:
            low, high = float(self._known[0]), float(self._known[-1])
            return (float(value) - low) / (high - low)
        return self._known.index(value) / (len(self._known) - 1)

    def ticks(self) -> Iterator[tuple[str, float]]:
        shown = [self._known[0], self._known[-1]] if self.is_numeric and self._known else self._known
        for value in dict.fromkeys(shown):
            text = format_number(float(value)) if self.is_numeric else str(value)
            yield text[:_NAME], self.place(value)


def _y(place: float) -> float:
    return _HEIGHT - _BOTTOM - place * (_HEIGHT - _TOP - _BOTTOM)


def _axis(name: str, x: float, places: _Places) -> Markup:
    return group(
        element("text", name[:_NAME], x=x, y=_TOP - 18, text_anchor="middle", class_="axis-name"),
        element("line", class_="grid", x1=x, x2=x, y1=_y(0), y2=_y(1)),
        *(element("text", text, x=x - 6, y=_y(place) + 4, text_anchor="end") for text, place in places.ticks()),
    )


def _line(line: CoordinateLine, axes: Sequence[str], x: Mapping[str, float], scales: Mapping[str, _Places]) -> Markup:
    points = [f"{x[axis]:.1f},{_y(scales[axis].place(line.values[axis])):.1f}" for axis in axes if axis in line.values]
    class_ = "curve marked" if line.is_marked else "curve"
    return element("polyline", element("title", line.name), class_=class_, points=" ".join(points))
