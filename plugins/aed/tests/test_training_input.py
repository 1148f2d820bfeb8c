"""Training reads patches from the mapped file, normalised, ahead of time, in an order that does not change."""

import threading
import time

import numpy as np
import pytest
from mlops_aed.augmentation import training_batches
from mlops_aed.config import DataAugmentation
from mlops_aed.training_input import Ahead, MappedPatches


@pytest.fixture
def features(tmp_path):
    values = np.random.default_rng(0).normal(3.0, 2.0, (50, 8, 6)).astype("<f4")
    values.tofile(tmp_path / "patches.f32")
    return np.memmap(tmp_path / "patches.f32", dtype="<f4", mode="r", shape=values.shape)


def test_mapped_patches_are_those_rows_with_mean_0_and_deviation_1(features):
    rows = [3, 40, 7, 22]
    mapped = MappedPatches(features, rows).normalised()
    expected = np.asarray(features[rows], dtype=np.float64)
    expected = (expected - expected.mean()) / expected.std()
    assert mapped.shape == (4, 8, 6)
    np.testing.assert_allclose(mapped[np.arange(4)], expected, atol=1e-5)
    np.testing.assert_allclose(mapped[2], expected[2], atol=1e-5)
    assert mapped[0].dtype == np.float32


def test_patches_without_variation_and_no_patches_can_be_normalised():
    assert MappedPatches(np.full((3, 2, 2), 5.0, np.float32), [0, 2]).moments() == (5.0, 1.0)
    assert MappedPatches(np.zeros((3, 2, 2), np.float32), []).moments() == (0.0, 1.0)


def test_batches_from_the_file_equal_batches_from_memory(features):
    mapped = MappedPatches(features, range(50)).normalised()
    targets = np.eye(5, dtype=np.float32)[np.arange(50) % 5]
    settings = DataAugmentation(time_mask=2, frequency_mask=2, time_shift=2)
    memory = training_batches(mapped[:], targets, settings=settings, batch_size=8, seed=1)
    with Ahead(training_batches(mapped, targets, settings=settings, batch_size=8, seed=1)) as stream:
        for _ in range(20):
            (found, labels), (expected, truth) = next(stream), next(memory)
            np.testing.assert_array_equal(found, expected)
            np.testing.assert_array_equal(labels, truth)


def test_items_are_made_while_the_caller_works_but_only_a_few_ahead():
    made = []

    def endless():
        n = 0
        while True:
            made.append(n)
            yield n
            n += 1

    with Ahead(endless(), depth=3) as stream:
        time.sleep(0.2)
        assert 3 <= len(made) <= 5
        assert [next(stream) for _ in range(10)] == list(range(10))
    assert not [thread for thread in threading.enumerate() if thread.name == "ahead"]


def test_the_end_and_an_error_arrive_where_the_item_is_asked_for():
    def failing():
        yield 1
        raise ValueError("broken")

    with Ahead(iter([1, 2])) as stream:
        assert list(stream) == [1, 2]
        assert list(stream) == []
    with Ahead(failing()) as stream:
        assert next(stream) == 1
        with pytest.raises(ValueError, match="broken"):
            next(stream)
