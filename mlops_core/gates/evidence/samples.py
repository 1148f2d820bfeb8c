"""The rows of stored predictions by the sample that they belong to, and what identifies a test set."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from typing import TYPE_CHECKING

from mlops_core.predictions.merging import test_identity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlops_core.predictions import Prediction, Predictions


def rows_by_sample(predictions: Predictions) -> dict[str, list[Prediction]]:
    """Return sample -> its rows."""
    samples: defaultdict[str, list[Prediction]] = defaultdict(list)
    for row in predictions.rows:
        samples[row.sample].append(row)
    return dict(samples)


def is_right(rows: Sequence[Prediction], classes: Sequence[str]) -> bool:
    """Return whether the class with the highest total score over the parts of a sample is its label."""
    parts = [row.scores for row in rows if not row.model]
    totals = [math.fsum(scores) for scores in zip(*parts, strict=True)]
    return bool(totals) and classes[max(range(len(classes)), key=totals.__getitem__)] == rows[0].label


def identities_of(samples: Mapping[str, Sequence[Prediction]]) -> frozenset[tuple[str, ...]]:
    """Return what makes a test set: each sample with its group, label and true boxes, as in `digest_test_set`."""
    return frozenset(test_identity(row) for rows in samples.values() for row in rows if not row.model)


def digest_of_rows(predictions: Predictions) -> bytes:
    """Return the SHA-256 of all rows."""
    digest = hashlib.sha256()
    for row in predictions.rows:
        digest.update(
            repr((row.sample, row.part, row.label, row.scores, row.model, *row.truth, *row.found)).encode(
                errors="replace"
            )
        )
    return digest.digest()


def seed_of(*digests: bytes) -> int:
    """Return a seed that depends on the rows of both models only, so that a comparison can be repeated."""
    return int.from_bytes(hashlib.sha256(b"".join(digests)).digest()[:8], "big")
