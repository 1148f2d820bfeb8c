"""The metrics and the gate as data: no heavy imports."""

from __future__ import annotations

from mlops_core import Comparison, Direction, Gate, Metric, Operator, Unit

PRECISION_THRESHOLD = "q_mean_average_precision_threshold"
SECTION = "object_detection_metrics"
OVERLAP_FACT = "validation_iou_threshold"
"""Name of the fact in the predictions file that holds the smallest overlap of a right detection."""
_AT_OVERLAP = frozenset({"precision", "recall"})

_TEXTS = {
    "mean_average_precision": (
        "mAP",
        "Mean over the classes with true boxes of the average precision at an overlap of 0.5, as COCO computes it.",
    ),
    "mean_average_precision_50_95": (
        "mAP 50-95",
        "The same, averaged over the thresholds 0.5, 0.55, ... 0.95 of the intersection over union.",
    ),
    "precision": (
        "Precision",
        "Share of the detections with at least the configured score that find an object of their class.",
    ),
    "recall": (
        "Recall",
        "Share of the objects that are found with at least the configured score, and with their class.",
    ),
}


def declared_metrics() -> tuple[Metric, ...]:
    """Return the metrics; models are compared by the first."""
    return tuple(
        Metric(
            name=name,
            section=SECTION,
            unit=Unit.FRACTION,
            minimum=0.0,
            maximum=1.0,
            direction=Direction.HIGHER,
            title=title,
            job_name=f"test:{name}",
            log_regex=rf"{title} on test set : ([0-9\\.]+)",
            description=description,
            defined_by=(OVERLAP_FACT,) if name in _AT_OVERLAP else (),
        )
        for name, (title, description) in _TEXTS.items()
    )


def precision_gate() -> Gate:
    """Return the gate: the mean average precision must reach its threshold."""
    return Gate(
        Comparison(
            metric="mean_average_precision",
            operator=Operator.AT_LEAST,
            threshold=PRECISION_THRESHOLD,
            message="Execution failed due to mean_average_precision <",
        )
    )
