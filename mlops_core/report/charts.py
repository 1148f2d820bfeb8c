"""The drawings of the page, as SVG with a text for those who do not see them; colours are the style sheet's."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.quantities import format_number
from mlops_core.report.markup import Markup, element, group

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mlops_core.report.histories import Series

_WIDTH, _HEIGHT = 360, 226
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 10, 30
_DIVISIONS = 4


@dataclass(frozen=True, slots=True)
class Scale:
    """A stretch of numbers that is drawn; `low` is below `high`."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """Return where `value` is, 0 to 1; what lies outside is put to the end."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    def ticks(self) -> list[float]:
        """Return evenly spread values from end to end."""
        return [self.low + (self.high - self.low) * at / _DIVISIONS for at in range(_DIVISIONS + 1)]


def nice_scale(values: Iterable[float]) -> Scale:
    """Return a scale with round ticks that holds every value."""
    found = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(found), max(found)
    if high - low <= abs(high) * 1e-9:
        low, high = low - (abs(low) * 0.1 or 1.0), high + (abs(high) * 0.1 or 1.0)
    step = (high - low) / _DIVISIONS
    magnitude = 10 ** math.floor(math.log10(step))
    for factor in (1, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10, 15, 20):
        width = factor * magnitude
        start = math.floor(low / width + 1e-9) * width
        end = start + _DIVISIONS * width
        if end >= high - 1e-9 * abs(high):
            # Fractions end at 1: an axis that goes beyond would promise what cannot be.
            if low >= 0 and high <= 1 < end:
                return Scale(max(0.0, start - (end - 1)), 1.0)
            return Scale(start, end)
    return Scale(low, high)


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalMark:
    """A value on a scale, with what it is compared with.

    Attributes:
        value: None, or not finite, where there is none.
        low: of its interval; not finite where there is none.
        high: likewise.
        thresholds: of the gate.
        previous: of the run that is compared with.
        is_good: True or False where a gate judges it.
    """

    value: float | None
    low: float
    high: float
    thresholds: tuple[float, ...] = ()
    previous: float | None = None
    is_good: bool | None = None


def interval_chart(mark: IntervalMark, scale: Scale, *, label: str) -> Markup:
    """Return a value as a dot on its scale, with its interval as a band and each threshold as a line."""
    middle = 13
    parts = [element("rect", class_="track", x=0, y=middle - 2, width="100%", height=4, rx=2)]
    if math.isfinite(mark.low) and math.isfinite(mark.high):
        start, end = scale.place(mark.low), scale.place(mark.high)
        width = _percent(max(end - start, 0.004))
        parts.append(element("rect", class_="interval", x=_percent(start), y=middle - 6, width=width, height=12, rx=3))
    for threshold in mark.thresholds:
        x = _percent(scale.place(threshold))
        parts.append(element("line", class_="threshold", x1=x, x2=x, y1=1, y2=25))
    if mark.previous is not None and math.isfinite(mark.previous):
        parts.append(element("circle", class_="previous", cx=_percent(scale.place(mark.previous)), cy=middle, r=5))
    if mark.value is not None and math.isfinite(mark.value):
        parts.append(element("circle", class_="value", cx=_percent(scale.place(mark.value)), cy=middle, r=5))
    state = {None: "", True: " good", False: " bad"}[mark.is_good]
    ends = [
        element("text", format_number(scale.low), x=0, y=40, text_anchor="start"),
        element("text", format_number(scale.high), x="100%", y=40, text_anchor="end"),
    ]
    return element(
        "svg", *parts, *ends, class_=f"interval-chart{state}", width="100%", height=44, role="img", aria_label=label
    )


def curve_chart(curves: Sequence[Series], *, x_label: str, label: str) -> Markup:
    """Return curves over one x axis; a pointer or the arrow keys read their values (``page.js``)."""
    xs = Scale(*_ends([x for series in curves for x, _ in series.points]))
    ys = nice_scale([y for series in curves for _, y in series.points])
    data = {
        "x": x_label,
        "range": [xs.low, xs.high],
        "plot": [_LEFT, _WIDTH - _RIGHT],
        "series": [{"name": series.name, "points": series.points} for series in curves],
    }
    return element(
        "svg",
        _grid(xs, ys, x_label),
        *(_curve(series, xs, ys) for series in curves),
        element("line", class_="cursor", x1=_LEFT, x2=_LEFT, y1=_TOP, y2=_HEIGHT - _BOTTOM, visibility="hidden"),
        class_="curve-chart",
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        tabindex=0,
        aria_label=label,
        data_curves=json.dumps(data, separators=(",", ":")),
    )


def _ends(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _grid(xs: Scale, ys: Scale, x_label: str) -> Markup:
    parts = []
    for tick in ys.ticks():
        y = _y(ys, tick)
        parts.append(element("line", class_="grid", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y))
        parts.append(element("text", format_number(tick), x=_LEFT - 6, y=y + 4, text_anchor="end"))
    base = _HEIGHT - _BOTTOM + 18
    parts.append(element("text", format_number(xs.low), x=_LEFT, y=base, text_anchor="start"))
    parts.append(element("text", x_label[:30], x=(_LEFT + _WIDTH - _RIGHT) / 2, y=base, text_anchor="middle"))
    parts.append(element("text", format_number(xs.high), x=_WIDTH - _RIGHT, y=base, text_anchor="end"))
    return group(*parts)


def _curve(series: Series, xs: Scale, ys: Scale) -> Markup:
    kind = "held-out" if series.is_held_out else "training"
    places = [(_x(xs, x), _y(ys, y)) for x, y in series.points]
    if len(places) == 1:
        return element("circle", class_=f"curve point {kind}", cx=places[0][0], cy=places[0][1], r=3)
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return element("polyline", class_=f"curve {kind}", points=path)


def _x(scale: Scale, value: float) -> float:
    return _LEFT + scale.place(value) * (_WIDTH - _LEFT - _RIGHT)


def _y(scale: Scale, value: float) -> float:
    return _HEIGHT - _BOTTOM - scale.place(value) * (_HEIGHT - _TOP - _BOTTOM)


def bar_chart(*, start: float, length: float, kind: str, label: str) -> Markup:
    """Return one bar of a timeline; `start` and `length` are shares of its width."""
    grid = [
        element("line", class_="grid", x1=_percent(at / _DIVISIONS), x2=_percent(at / _DIVISIONS), y1=0, y2=24)
        for at in range(_DIVISIONS + 1)
    ]
    # One that is too short to be seen is drawn two pixels wide, inside the chart.
    bar = element(
        "rect",
        class_=f"bar {kind}",
        x=_percent(min(start, 0.995)),
        y=4,
        width=_percent(max(length, 0.005)),
        height=16,
        rx=3,
    )
    return element("svg", *grid, bar, class_="bar-chart", width="100%", height=24, role="img", aria_label=label)


def share_bar(share: float, *, kind: str, label: str) -> Markup:
    """Return a horizontal bar of `share`, 0 to 1."""
    return element(
        "svg",
        element("rect", class_="track", x=0, y=0, width="100%", height=8, rx=4),
        element("rect", class_=f"share {kind}", x=0, y=0, width=_percent(share), height=8, rx=4),
        class_="share-bar",
        width="100%",
        height=8,
        role="img",
        aria_label=label,
    )


def _percent(share: float) -> str:
    return f"{round(100 * min(1.0, max(0.0, share)), 3):g}%"
