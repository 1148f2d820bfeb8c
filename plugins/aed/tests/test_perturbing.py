"""Clips that are changed on purpose: by how much, the same each time, and readable again."""

import numpy as np
import pytest
import soundfile
from mlops_aed.audio.perturbing import perturbations

RATE = 16_000


@pytest.fixture
def change(tmp_path):
    """Return a function that changes a second of a tone and noise, and returns samples before and after."""
    time = np.arange(RATE) / RATE
    tone = 0.2 * np.sin(2 * np.pi * 440 * time) + 0.01 * np.random.default_rng(0).normal(size=RATE)
    soundfile.write(tmp_path / "clip.wav", np.stack([tone, tone], axis=1), RATE)
    declared = {each.name: each for each in perturbations(seconds=60)}

    def run(name, strength):
        target = tmp_path / f"{name}{declared[name].suffix}"
        declared[name].write(tmp_path / "clip.wav", target, strength)
        before, _ = soundfile.read(tmp_path / "clip.wav")
        after, rate = soundfile.read(target)
        assert (rate, after.shape) == (RATE, (RATE,))
        return before[:, 0], after

    return run


def power(samples):
    return 10 * np.log10(np.mean(samples**2))


def test_gain_changes_the_level_by_decibels_and_clips_at_full_scale(change):
    before, after = change("gain", -6)
    assert power(after) - power(before) == pytest.approx(-6, abs=0.01)
    assert np.abs(change("gain", 40)[1]).max() == 1


def test_noise_has_the_stated_distance_from_the_signal_and_is_the_same_each_time(change):
    before, after = change("white noise, SNR", 10)
    assert power(before) - power(after - before) == pytest.approx(10, abs=0.2)
    assert (change("white noise, SNR", 10)[1] == after).all()


def test_a_lower_rate_takes_what_is_above_half_of_it(change):
    before, after = change("resampled to", 4000)
    spectra = [np.abs(np.fft.rfft(each)) ** 2 for each in (before, after)]
    kept, lost = slice(400, 480), slice(2500, 8000)
    assert spectra[1][kept].sum() == pytest.approx(spectra[0][kept].sum(), rel=0.01)
    assert spectra[1][lost].sum() < 1e-3 * spectra[0][lost].sum()
