"""What an AED model is measured by: accuracy of clips and of patches."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from mlops_core.conditions import AllOf, Comparison, Gate, Operator
from mlops_core.metrics import (
    ConfusionMatrix,
    Direction,
    Metric,
    MetricReport,
    Unit,
    bootstrap_by_group,
    proportion,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_core.predictions import Prediction, Predictions

_SECTION = "multiclass_classification_metrics"
CLIP_THRESHOLD = "q_clip_level_acc_threshold"
PATCH_THRESHOLD = "q_patch_level_acc_threshold"

METRICS = (
    Metric(
        name="clip_acc",
        section=_SECTION,
        unit=Unit.FRACTION,
        minimum=0.0,
        maximum=1.0,
        direction=Direction.HIGHER,
        title="Clip accuracy",
        job_name="clip:accuracy",
        log_regex=r"Clip-level accuracy on test set : ([0-9\\.]+)",
        description="Share of test clips whose summed patch scores are highest for the true class.",
    ),
    Metric(
        name="patch_acc",
        section=_SECTION,
        unit=Unit.FRACTION,
        minimum=0.0,
        maximum=1.0,
        direction=Direction.HIGHER,
        title="Patch accuracy",
        job_name="patch:accuracy",
        log_regex=r"Patch-level accuracy on test set : ([0-9\\.]+)",
        description="Share of test patches whose score is highest for the true class.",
    ),
)

GATE = Gate(
    AllOf(
        (
            Comparison(
                metric="clip_acc",
                operator=Operator.AT_LEAST,
                threshold=CLIP_THRESHOLD,
                message="Execution failed due to clip level acc <",
            ),
            Comparison(
                metric="patch_acc",
                operator=Operator.AT_LEAST,
                threshold=PATCH_THRESHOLD,
                message="Execution failed due to patch level acc <",
            ),
        )
    )
)


def best_class(scores: Sequence[float]) -> int:
    """Return the index of the highest score; of equal ones the first, so that ties do not depend on chance."""
    return max(range(len(scores)), key=lambda index: (scores[index], -index))


def compute_metrics(predictions: Predictions) -> MetricReport:
    """Return clip and patch accuracy with their confusion matrices.

    A clip's class is the highest sum of its patches' scores (a soft vote). The interval of the clip accuracy is
    Wilson's; that of the patch accuracy resamples source recordings, for patches of one are not independent.
    """
    index = {name: position for position, name in enumerate(predictions.classes)}
    clips: defaultdict[str, list[Prediction]] = defaultdict(list)
    hits: defaultdict[str, list[bool]] = defaultdict(list)
    size = len(index)
    patch_counts = [[0] * size for _ in range(size)]
    clip_counts = [[0] * size for _ in range(size)]
    for row in predictions.rows:
        clips[row.sample].append(row)
        found = best_class(row.scores)
        hits[row.group].append(found == index[str(row.label)])
        patch_counts[index[str(row.label)]][found] += 1
    for rows in clips.values():
        sums = [sum(column) for column in zip(*(row.scores for row in rows), strict=True)]
        clip_counts[index[str(rows[0].label)]][best_class(sums)] += 1
    right = sum(clip_counts[position][position] for position in range(size))
    return MetricReport(
        values={
            "clip_acc": proportion(right, len(clips)),
            "patch_acc": bootstrap_by_group(hits, lambda items: sum(items) / len(items)),
        },
        confusion_matrices={
            "clip": ConfusionMatrix(classes=predictions.classes, counts=tuple(map(tuple, clip_counts))),
            "patch": ConfusionMatrix(classes=predictions.classes, counts=tuple(map(tuple, patch_counts))),
        },
        notes={"clips": len(clips), "patches": len(predictions.rows), "source_recordings": len(hits)},
    )
