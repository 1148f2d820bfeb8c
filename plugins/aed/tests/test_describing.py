"""Clips as numbers: mean and deviation of each mel band, the same from a file as from the patches of an evaluation."""

import numpy as np
import pytest
from mlops_aed.audio.describing import describe_clips, describe_patches, description_names
from mlops_aed.data.feature_store import PatchRow


def rows(*clips):
    return [
        PatchRow(index=index, part="test", label="A", group=f"recording of {clip}", clip=clip, patch=index)
        for index, clip in enumerate(clips)
    ]


def test_the_numbers_are_mean_and_deviation_of_each_band():
    patches = np.random.default_rng(0).normal(size=(3, 4, 10)).astype(np.float32)
    names, vector = description_names(4), describe_patches(patches)
    assert names[0] == "band 1 mean"
    assert names[-1] == "band 4 deviation"
    assert vector[:4] == pytest.approx(patches.mean(axis=(0, 2)), rel=1e-4, abs=1e-6)
    assert vector[4:] == pytest.approx(patches.std(axis=(0, 2)), rel=1e-4)


def test_the_patches_of_a_clip_are_described_together_as_those_of_its_file_are():
    patches = np.random.default_rng(0).normal(size=(5, 4, 10)).astype(np.float32)
    described = list(describe_clips(rows("one", "one", "two", "two", "two"), patches))
    assert [(one.sample, one.group) for one in described] == [("one", "recording of one"), ("two", "recording of two")]
    assert [one.vector for one in described] == [describe_patches(patches[:2]), describe_patches(patches[2:])]
