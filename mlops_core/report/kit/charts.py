"""The charts of the pages. Colours are the style sheet's; each chart has a text alternative."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from mlops_core.quantities import format_number
from mlops_core.report.kit.markup import Markup, element, group
from mlops_core.report.kit.svg import DIVISIONS, Scale, inline_svg, nice_scale, percent, standalone_svg

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlops_core.datasets.inspections import Distribution
    from mlops_core.report.kit.blocks import BadgeKind

CurveKind: TypeAlias = Literal[
    "training",
    "held-out",
    "tone-1",
    "tone-2",
    "tone-3",
    "tone-4",
    "tone-5",
    "tone-6",
    "tone-7",
    "tone-8",
    "tone-9",
    "tone-10",
    "tone-11",
    "tone-12",
    "tone-13",
    "tone-14",
    "tone-15",
    "tone-16",
    "tone-17",
    "tone-18",
    "tone-19",
    "tone-20",
]
"""The look of a line. The pages of `mlops ui` have 20 tones, reports the first six."""
TONES: tuple[CurveKind, ...] = get_args(CurveKind)[2:]
"""The tones, in order."""
_WIDTH, _HEIGHT = 360, 226
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 10, 30
_HISTOGRAM_WIDTH, _LABELS_WIDTH, _COUNTS_WIDTH = 640, 170, 70
_TITLE_HEIGHT, _BAR_HEIGHT, _BAR_GAP = 44, 18, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalMark:
    """A value with its confidence interval and what it is compared with.

    Attributes:
        value: None or not finite when there is none.
        low: lower end of the interval; not finite when there is none.
        high: upper end of the interval; not finite when there is none.
        thresholds: of the gate.
        previous: value of the previous run.
        is_good: the verdict of the gate; None when no gate judges the value.
    """

    value: float | None
    low: float
    high: float
    thresholds: tuple[float, ...] = ()
    previous: float | None = None
    is_good: bool | None = None


def interval_chart(mark: IntervalMark, scale: Scale, *, label: str) -> Markup:
    """Return a value as a dot on its scale, its interval as a band and each threshold as a line."""
    state = {None: "", True: " good", False: " bad"}[mark.is_good]
    ends = [
        element("text", format_number(scale.low), x=0, y=40, text_anchor="start"),
        element("text", format_number(scale.high), x="100%", y=40, text_anchor="end"),
    ]
    return inline_svg(
        *_interval_shapes(mark, scale), *ends, label=label, class_=f"interval-chart{state}", width="100%", height=44
    )


def _interval_shapes(mark: IntervalMark, scale: Scale) -> Iterator[Markup]:
    middle = 13
    yield element("rect", class_="track", x=0, y=middle - 2, width="100%", height=4, rx=2)
    if math.isfinite(mark.low) and math.isfinite(mark.high):
        start, end = scale.place(mark.low), scale.place(mark.high)
        width = percent(max(end - start, 0.004))
        yield element("rect", class_="interval", x=percent(start), y=middle - 6, width=width, height=12, rx=3)
    for threshold in mark.thresholds:
        x = percent(scale.place(threshold))
        yield element("line", class_="threshold", x1=x, x2=x, y1=1, y2=25)
    for class_, value in (("previous", mark.previous), ("value", mark.value)):
        if value is not None and math.isfinite(value):
            yield element("circle", class_=class_, cx=percent(scale.place(value)), cy=middle, r=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A line of a curve chart.

    Attributes:
        name: as the legend and the readout show it.
        kind: ``training`` is dashed, ``held-out`` is solid; the tones are six colours, each with several dashes.
        points: (x, y), both finite, in order of x; at least one.
    """

    name: str
    kind: CurveKind
    points: tuple[tuple[float, float], ...]


def curve_chart(curves: Sequence[Curve], *, x_label: str, label: str) -> Markup:
    """Return curves over one x axis, whose values can be read with the pointer or the arrow keys (``kit.js``)."""
    xs = Scale(*_ends([x for curve in curves for x, _ in curve.points]))
    ys = nice_scale(_with_baseline([y for curve in curves for _, y in curve.points]))
    data = {
        "x": x_label,
        "range": [xs.low, xs.high],
        "plot": [_LEFT, _WIDTH - _RIGHT],
        "series": [{"name": curve.name, "points": curve.points} for curve in curves],
    }
    return inline_svg(
        _grid(xs, ys, x_label),
        *(_curve(curve, xs, ys) for curve in curves),
        element("line", class_="cursor", x1=_LEFT, x2=_LEFT, y1=_TOP, y2=_HEIGHT - _BOTTOM, visibility="hidden"),
        label=label,
        class_="curve-chart",
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        tabindex=0,
        data_curves=json.dumps(data, separators=(",", ":")),
    )


def _with_baseline(values: Sequence[float]) -> list[float]:
    """Return the values with 0, and with 1 for fractions of the upper half: a small change must look small."""
    low, high = min(values), max(values)
    baseline = [0.0] if low >= 0 or high <= 0 else []
    top = [1.0] if low >= 0 and 0.5 < high <= 1 else []
    return [*values, *baseline, *top]


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


def _curve(curve: Curve, xs: Scale, ys: Scale) -> Markup:
    places = [(_x(xs, x), _y(ys, y)) for x, y in curve.points]
    if len(places) == 1:
        return element("circle", class_=f"curve point {curve.kind}", cx=places[0][0], cy=places[0][1], r=3)
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return element("polyline", class_=f"curve {curve.kind}", points=path)


def _x(scale: Scale, value: float) -> float:
    return _LEFT + scale.place(value) * (_WIDTH - _LEFT - _RIGHT)


def _y(scale: Scale, value: float) -> float:
    return _HEIGHT - _BOTTOM - scale.place(value) * (_HEIGHT - _TOP - _BOTTOM)


def span_bar(*, start: float, length: float, kind: BadgeKind, label: str) -> Markup:
    """Return one bar of a timeline; `start` and `length` are shares of its width."""
    grid = [
        element("line", class_="grid", x1=percent(number / DIVISIONS), x2=percent(number / DIVISIONS), y1=0, y2=24)
        for number in range(DIVISIONS + 1)
    ]
    # A very short bar is drawn wide enough to be seen, inside the chart.
    bar = element(
        "rect",
        class_=f"bar {kind}",
        x=percent(min(start, 0.995)),
        y=4,
        width=percent(max(length, 0.005)),
        height=16,
        rx=3,
    )
    return inline_svg(*grid, bar, label=label, class_="bar-chart", width="100%", height=24)


def share_bar(share: float, *, kind: Literal["right", "wrong"], label: str) -> Markup:
    """Return a horizontal bar of length `share`, 0 to 1."""
    return inline_svg(
        element("rect", class_="track", x=0, y=0, width="100%", height=8, rx=4),
        element("rect", class_=f"share {kind}", x=0, y=0, width=percent(share), height=8, rx=4),
        label=label,
        class_="share-bar",
        width="100%",
        height=8,
    )


def step_svg(points: Sequence[tuple[float, float]], *, marked: float, title: str, x_label: str, y_label: str) -> str:
    """Return a descending or ascending staircase as the content of an ``.svg`` file.

    Args:
        points: (x, y) in order of x, at least one.
        marked: an x at which a vertical line is drawn.
        title: above the drawing.
        x_label: of the x axis.
        y_label: of the y axis.
    """
    xs = nice_scale([*(x for x, _ in points), marked])
    ys = nice_scale([0.0, *(y for _, y in points)])
    path = " ".join(f"{_x(xs, x):.1f},{_y(ys, y):.1f}" for x, y in _staircase(points, xs))
    line = element("polyline", points=path, fill="none", stroke="#3b6ea5", stroke_width=2)
    mark = element(
        "line",
        x1=_x(xs, marked),
        x2=_x(xs, marked),
        y1=_TOP,
        y2=_HEIGHT - _BOTTOM,
        stroke="#b3261e",
        stroke_dasharray="4",
    )
    drawing = element("g", _grid(xs, ys, x_label), line, mark, transform="translate(0 40)", stroke="#999", fill="#333")
    return standalone_svg(
        element("text", title, x=12, y=20, font_size=13, fill="#111"),
        element("text", y_label, x=12, y=38, font_size=11, fill="#333"),
        drawing,
        title=title,
        width=_WIDTH,
        height=_HEIGHT + 40,
    )


def _staircase(points: Sequence[tuple[float, float]], xs: Scale) -> Iterator[tuple[float, float]]:
    """Yield the corners of a function that steps just after each point if it falls, and at the point if it rises."""
    falls = points[0][1] >= points[-1][1]
    level = points[0][1] if falls else 0.0
    yield xs.low, level
    for number, (x, y) in enumerate(points):
        yield x, level
        level = points[min(number + 1, len(points) - 1)][1] if falls else y
        yield x, level
    yield xs.high, level


def histogram_svg(distribution: Distribution) -> str:
    """Return a distribution as the content of an ``.svg`` file: one bar per class or per range of numbers."""
    labels = distribution.labels or tuple(
        f"{low:g} to {high:g}" for low, high in zip(distribution.edges, distribution.edges[1:], strict=False)
    )
    largest = max(distribution.counts, default=0) or 1
    title = distribution.title + (f" ({distribution.unit})" if distribution.unit else "")
    bars = (
        _histogram_bar(label, count, top=_TITLE_HEIGHT + number * (_BAR_HEIGHT + _BAR_GAP), share=count / largest)
        for number, (label, count) in enumerate(zip(labels, distribution.counts, strict=True))
    )
    return standalone_svg(
        element("text", title, x=12, y=24, font_size=15, fill="#111"),
        *bars,
        title=title,
        width=_HISTOGRAM_WIDTH,
        height=_TITLE_HEIGHT + len(labels) * (_BAR_HEIGHT + _BAR_GAP) + 12,
    )


def _histogram_bar(label: str, count: int, *, top: int, share: float) -> Markup:
    length = round(share * (_HISTOGRAM_WIDTH - _LABELS_WIDTH - _COUNTS_WIDTH), 1)
    base = top + _BAR_HEIGHT - 5
    return group(
        element("text", label, x=_LABELS_WIDTH - 8, y=base, text_anchor="end", fill="#333"),
        element("rect", x=_LABELS_WIDTH, y=top, width=length, height=_BAR_HEIGHT, fill="#3b6ea5"),
        element("text", count, x=_LABELS_WIDTH + length + 6, y=base, fill="#333"),
    )
