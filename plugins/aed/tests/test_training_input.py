"""Training reads patches from the mapped file, normalised, ahead of time, in a fixed order."""

import threading
import time

import numpy as np
import pytest
from mlops_aed.audio.features import LOG_OFFSET, log_mel
from mlops_aed.config import AedConfig, DataAugmentation, FeatureExtraction
from mlops_aed.training.augmentation import training_batches
from mlops_aed.training.inputs import Ahead, MappedPatches
from mlops_aed.training.levels import Levels
from pydantic import ValidationError


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


def test_items_are_prepared_while_the_caller_works_but_only_a_few_ahead():
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


def test_the_end_and_an_error_are_raised_by_the_call_for_that_item():
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


def one_batch(**strengths):
    off = {"mixup_alpha": 0, "time_shift": 0, "time_mask": 0, "frequency_mask": 0}
    settings = DataAugmentation(**{**off, **strengths})
    patches = np.ones((64, 20, 30), np.float32)
    batch, _ = next(training_batches(patches, np.ones((64, 2), np.float32), settings=settings, batch_size=64, seed=0))
    return batch[..., 0]


def test_an_option_that_is_off_changes_nothing():
    np.testing.assert_array_equal(one_batch(), 1.0)


def test_volume_is_one_factor_per_patch_and_noise_has_its_strength():
    factors = one_batch(volume=(0.5, 1.5)).reshape(64, -1)
    assert (factors == factors[:, :1]).all()
    assert factors.min() >= 0.5
    assert factors.max() <= 1.5
    assert factors[:, 0].std() == pytest.approx(1 / 12**0.5, rel=0.3)
    noise = one_batch(noise=0.2) - 1.0
    assert noise.mean() == pytest.approx(0, abs=0.01)
    assert noise.std() == pytest.approx(0.2, rel=0.02)


def test_a_gain_gives_the_patches_of_the_amplified_recording():
    waveform = np.random.default_rng(2).normal(0, 0.1, 16_000).astype(np.float32)
    for power in (1.0, 2.0):
        settings = FeatureExtraction(power=power)
        quiet, loud = (log_mel(waveform * np.float32(factor), settings, rate=16_000) for factor in (1, 10**0.5))
        normalised = ((quiet + 3) / 2).astype(np.float32)
        found = Levels(power=power, mean=-3, deviation=2).amplified(normalised, 10)
        np.testing.assert_allclose(found * 2 - 3, loud, atol=2e-3)
        assert found.dtype == np.float32


def test_a_patch_without_sound_stays_silent_and_finite():
    silent = np.full((64, 96), np.log(LOG_OFFSET), np.float32)
    for gain_db in (-40, 40):
        np.testing.assert_allclose(Levels().amplified(silent, gain_db), silent, atol=0.2)


def test_each_patch_of_a_batch_has_its_own_gain_within_the_range():
    levels = one_batch(gain_db=6).reshape(64, -1)
    assert (levels == levels[:, :1]).all()
    gains_db = 20 * np.log10(np.exp(levels[:, 0] - 1))
    assert -6.01 < gains_db.min() < -4
    assert 4 < gains_db.max() < 6.01


def test_a_gain_is_refused_where_features_do_not_depend_on_the_level():
    with pytest.raises(ValidationError, match=r"needs feature_extraction\.to_db: false"):
        AedConfig.model_validate({"data_augmentation": {"gain_db": 3}, "feature_extraction": {"to_db": True}})


def test_number_and_width_of_masks_are_those_of_the_settings():
    bands = (one_batch(frequency_mask=3, frequency_masks=2) == 0).all(axis=2)
    frames = (one_batch(time_mask=5, time_masks=1) == 0).all(axis=1)
    assert 3 < bands.sum(axis=1).max() <= 6
    assert 0 < frames.sum(axis=1).max() <= 5
    edges = np.abs(np.diff(bands.astype(int), axis=1)).sum(axis=1)
    assert edges.max() == 4
