"""Detect the objects of a part, and write them beside the true ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlops_core import FoundBox, Prediction, TrueBox, write_predictions
from mlops_object_detection.config import DatasetSection
from mlops_object_detection.data.images import read_image
from mlops_object_detection.data.split_files import OUTPUT_OF_PART, read_part
from mlops_object_detection.declarations import OVERLAP_FACT
from mlops_object_detection.metrics import SCORE_FACT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_core import SplitRow, StepContext
    from mlops_object_detection.data.pages import Page
    from mlops_object_detection.model.detector import Detector
    from mlops_object_detection.model.tiles import Found

_DIGITS = 3
"""Of box corners in pixels."""


def write_detections(
    context: StepContext, detector: Detector, metadata: Mapping[str, Any], *, part: str, output: str
) -> tuple[tuple[str, ...], list[Prediction], dict[str, float]]:
    """Write the predictions of a part; return classes, rows and facts.

    Args:
        context: of the step, whose inputs are the data set, the manifest and the annotations of the part.
        detector: the model.
        metadata: of the model.
        part: of the split.
        output: of the step.
    """
    source = OUTPUT_OF_PART[part]
    prefix = context.section("dataset", DatasetSection).input_images_string_absolute_path
    pages = read_part(context.input("split"), context.input(source), part, prefix=prefix)
    rows, truncated = [], []
    for number, (row, page) in enumerate(pages, 1):
        found, is_truncated = detector.detect(read_image(context.input("dataset") / page.name))
        rows.append(_prediction(row, page, found, detector.classes))
        if is_truncated:
            truncated.append(page.name)
        context.progress("image", number, len(pages))
    if truncated:
        context.log.warning(
            "%d images have more detections than training.box_detections_per_image (%d), and the rest was cut off: %s",
            len(truncated),
            detector.limit,
            ", ".join(truncated[:5]),
        )
    unknown = {box.label for row in rows for box in row.truth} - set(detector.classes)
    classes = (*detector.classes, *sorted(unknown))
    if unknown:
        context.log.warning("no training image has the class(es) %s", ", ".join(sorted(unknown)))
    facts = {name: float(metadata[name]) for name in (SCORE_FACT, OVERLAP_FACT)}
    write_predictions(context.output(output), classes, rows, facts=facts, has_boxes=True)
    return classes, rows, facts


def _prediction(row: SplitRow, page: Page, found: Found, classes: tuple[str, ...]) -> Prediction:
    size = (page.width, page.height, page.width, page.height)
    truth = tuple(
        TrueBox(
            label=box.label,
            box=tuple(round(value * side, _DIGITS) for value, side in zip(box.corners, size, strict=True)),  # type: ignore[arg-type]  # four
            is_crowd=box.is_crowd,
        )
        for box in page.boxes
    )
    boxes, labels, scores = answer(found, classes)
    return Prediction(
        sample=row.sample,
        group=row.group,
        label=int(row.label),
        scores=scores,
        truth=truth,
        found=tuple(FoundBox(label=label, box=box) for label, box in zip(labels, boxes, strict=True)),
    )


def answer(
    found: Found, classes: tuple[str, ...]
) -> tuple[tuple[tuple[float, float, float, float], ...], tuple[str, ...], tuple[float, ...]]:
    """Return boxes, labels and scores of detections as plain values, as the evaluation and the predictor write them."""
    boxes = tuple(tuple(round(float(value), _DIGITS) for value in box) for box in found.boxes)
    labels = tuple(classes[int(label)] for label in found.labels)
    return boxes, labels, tuple(float(score) for score in found.scores)  # type: ignore[return-value]  # four corners
