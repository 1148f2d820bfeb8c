"""Curves of an evaluation, for example precision by recall: data, which the report draws."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_core.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_LINES = 6
"""As many lines as can be distinguished in one drawing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricCurves:
    """Lines over one x axis, drawn together.

    Attributes:
        title: above the drawing.
        x_label: of the x axis.
        y_label: of the y axis.
        lines: name -> points (x, y) in order of x, all finite, at least one; up to six lines.

    Raises:
        PluginError: there are no lines, too many, or one cannot be drawn.

    Example:
        >>> MetricCurves(title="ROC", x_label="FPR", y_label="TPR", lines={"all": ((0, 0.5), (1, 1))}).lines["all"][1]
        (1, 1)
    """

    title: str
    x_label: str
    y_label: str
    lines: Mapping[str, tuple[tuple[float, float], ...]]

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        if not 1 <= len(self.lines) <= MOST_LINES:
            raise PluginError(f"curves '{self.title}': {len(self.lines)} lines; expected 1 to {MOST_LINES}")
        for name, points in self.lines.items():
            xs = [x for x, _ in points]
            if not xs or xs != sorted(xs) or not all(math.isfinite(one) for point in points for one in point):
                raise PluginError(f"curves '{self.title}': '{name}' has no points, or not finite ones in order of x")


def curves_from_json(data: object) -> tuple[MetricCurves, ...]:
    """Return the curves of an evaluation file; none if it was changed by hand and they are not valid."""
    found: Any = data or ()
    try:
        return tuple(
            MetricCurves(
                title=str(one["title"]),
                x_label=str(one["x_label"]),
                y_label=str(one["y_label"]),
                lines={
                    str(name): tuple((float(x), float(y)) for x, y in points) for name, points in one["lines"].items()
                },
            )
            for one in found
        )
    except (PluginError, AttributeError, KeyError, TypeError, ValueError):
        return ()
