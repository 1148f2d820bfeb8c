"""A quantity against another one, or against names: one dot for each item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.quantities import format_number
from mlops_core.report.kit.markup import Markup, element, group
from mlops_core.report.kit.svg import Scale, inline_svg, nice_scale

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH, _HEIGHT = 620, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 24, 16, 46
_NAME = 16
_MOST_NAMES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ScatterPoint:
    """A dot.

    Attributes:
        name: of the item, which the pointer shows and a screen reader reads.
        x: number, or text with a place of its own.
        y: finite.
        href: where the dot leads; empty for nowhere.
    """

    name: str
    x: float | str
    y: float
    href: str = ""


def scatter_chart(points: Sequence[ScatterPoint], *, x_label: str, y_label: str, label: str) -> Markup:
    """Return a chart with at least one point; texts on the x axis have places of their own, in alphabetical order."""
    ys = nice_scale([point.y for point in points])
    places, ticks = _places(points)
    dots = (_dot(point, _LEFT + places[point.x] * (_WIDTH - _LEFT - _RIGHT), _y(ys, point.y)) for point in points)
    marks = [
        element(
            "text", text, x=_LEFT + place * (_WIDTH - _LEFT - _RIGHT), y=_HEIGHT - _BOTTOM + 18, text_anchor="middle"
        )
        for text, place in ticks
    ]
    return inline_svg(
        *_grid(ys),
        *marks,
        element("text", x_label[:60], x=(_LEFT + _WIDTH - _RIGHT) / 2, y=_HEIGHT - 6, text_anchor="middle"),
        element("text", y_label[:60], x=4, y=_TOP - 4, text_anchor="start"),
        *dots,
        label=label,
        class_="scatter-chart",
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="group",
    )


def _places(points: Sequence[ScatterPoint]) -> tuple[dict[float | str, float], list[tuple[str, float]]]:
    """Return where each x is, 0 to 1, and the texts below the axis."""
    numbers = [point.x for point in points if isinstance(point.x, int | float)]
    if len(numbers) == len(points):
        xs = nice_scale(numbers)
        return {x: xs.place(x) for x in numbers}, [(format_number(tick), xs.place(tick)) for tick in xs.ticks()]
    names = sorted({str(point.x) for point in points})
    spots = {name: (number + 0.5) / len(names) for number, name in enumerate(names)}
    step = -(-len(names) // _MOST_NAMES)
    shown = [(name[:_NAME], spots[name]) for name in names[::step]]
    return {point.x: spots[str(point.x)] for point in points}, shown


def _grid(ys: Scale) -> list[Markup]:
    return [
        group(
            element("line", class_="grid", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=_y(ys, tick), y2=_y(ys, tick)),
            element("text", format_number(tick), x=_LEFT - 6, y=_y(ys, tick) + 4, text_anchor="end"),
        )
        for tick in ys.ticks()
    ]


def _dot(point: ScatterPoint, x: float, y: float) -> Markup:
    circle = element("circle", element("title", point.name), class_="dot", cx=x, cy=y, r=6)
    return element("a", circle, href=point.href, aria_label=point.name) if point.href else circle


def _y(scale: Scale, value: float) -> float:
    return _HEIGHT - _BOTTOM - scale.place(value) * (_HEIGHT - _TOP - _BOTTOM)
