"""Copies among the pictures of a split, found again from their fingerprints, for core's check across parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core import NearDuplicate
from mlops_image_classification.config import SplitSection
from mlops_image_classification.data.fingerprints import find_copies, read_fingerprints
from mlops_image_classification.data.split_files import read_samples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_core import WrittenSplit


def find_near_copies(split: WrittenSplit) -> Iterator[NearDuplicate]:
    """Yield the pairs of copies among the pictures of a split that the step ``split`` has written."""
    settings = split.section("split", SplitSection)
    samples = {sample.number: sample for sample in read_samples(split.folder)}
    fingerprints = read_fingerprints(split.inputs["fingerprints"]).select(samples.keys())
    chosen = [samples[number] for number in fingerprints.numbers.tolist()]
    copies = find_copies(
        fingerprints,
        [sample.label for sample in chosen],
        max_bits=settings.near_duplicate_bits,
        min_similarity=settings.near_duplicate_similarity,
    )
    for pair in copies:
        yield NearDuplicate(first=chosen[pair.first].name, second=chosen[pair.second].name, reason=pair.distance)
