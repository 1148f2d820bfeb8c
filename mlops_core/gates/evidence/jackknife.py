"""The difference of a metric that is not a mean over samples, from leaving out one block of groups at a time."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from mlops_core.errors import MlopsError
from mlops_core.evaluation.paired import PairedDifference, compare_replicates
from mlops_core.gates.evidence.errors import EvidenceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlops_core.gates.evidence.sample_metric import SampleMetric
    from mlops_core.predictions import Prediction

BLOCKS = 30
"""Groups are put into at most so many blocks."""


def difference_by_jackknife(
    metric: SampleMetric,
    *,
    theirs: Mapping[str, Sequence[Prediction]],
    ours: Mapping[str, Sequence[Prediction]],
    groups: Mapping[str, str],
    sign: float,
) -> PairedDifference:
    """Return how much better a model is than the champion.

    Args:
        metric: of the use case.
        theirs: sample -> the champion's rows.
        ours: sample -> the model's rows.
        groups: sample -> its group.
        sign: -1 for a metric of which less is better, else 1.

    Raises:
        EvidenceError: the metric cannot be computed on part of the samples.
    """
    blocks = blocks_of_groups(groups)
    count = max(blocks.values()) + 1
    try:
        earlier, later = sign * metric(theirs), sign * metric(ours)
        replicates = []
        for block in range(count) if count > 1 else ():
            kept = [sample for sample in ours if blocks[groups[sample]] != block]
            replicates.append(
                (
                    sign * metric({sample: theirs[sample] for sample in kept}),
                    sign * metric({sample: ours[sample] for sample in kept}),
                )
            )
    except (MlopsError, KeyError, ArithmeticError) as error:
        raise EvidenceError(f"{metric.name} cannot be computed on part of the test set: {error}") from error
    return compare_replicates(earlier, later, replicates, count=len(ours), groups=len(blocks))


def blocks_of_groups(groups: Mapping[str, str]) -> dict[str, int]:
    """Return group -> number of its block, the same for every comparison of the same groups."""
    names = sorted(set(groups.values()), key=lambda name: hashlib.sha256(name.encode(errors="replace")).digest())
    return {name: position % BLOCKS for position, name in enumerate(names)}
