"""Precision by recall at an overlap of 0.5, of a few classes, or of classes in groups where there are many."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from mlops_core import MetricCurves
from mlops_object_detection.evaluation.matching import RECALLS, sampled_precision

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mlops_object_detection.evaluation.matching import Matches

_MOST = 5
_ALL, _OTHERS = "all classes", "other classes"


def precision_recall(pages: Sequence[Mapping[str, Matches]]) -> tuple[MetricCurves, ...]:
    """Return one drawing with the mean over all classes, and up to five lines; nothing where no class has a true box.

    The mean of a line is the average precision. Lines are classes where there are up to five, else categories, the
    part of the name before a slash; of more than that, the four with the lowest average precision, and the others.

    Args:
        pages: class -> what became of its detections on the page, the first threshold being 0.5.
    """
    labels = sorted({label for page in pages for label, found in page.items() if found.count})
    if not labels:
        return ()
    curves = {label: sampled_precision([page[label] for page in pages if label in page])[0] for label in labels}
    groups = _groups(curves)
    lines = {_ALL: np.mean(list(curves.values()), axis=0)} | (groups if len(groups) > 1 else {})
    return (
        MetricCurves(
            title="precision and recall at an overlap of 0.5",
            x_label="recall",
            y_label="precision",
            lines={
                name: tuple((round(float(x), 2), round(float(y), 4)) for x, y in zip(RECALLS, values, strict=True))
                for name, values in lines.items()
            },
        ),
    )


def _groups(curves: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Return the lines beside that of all classes."""
    found = {name: [values] for name, values in curves.items()}
    if len(curves) > _MOST:
        found = defaultdict(list)
        for label, values in curves.items():
            found[label.partition("/")[0]].append(values)
    lowest = sorted(found, key=lambda name: (float(np.mean(found[name])), name))
    shown, others = (lowest, []) if len(lowest) <= _MOST else (lowest[: _MOST - 1], lowest[_MOST - 1 :])
    lines = {name: np.mean(found[name], axis=0) for name in sorted(shown)}
    if others:
        lines[_OTHERS] = np.mean([values for name in others for values in found[name]], axis=0)
    return lines
