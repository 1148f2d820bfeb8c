"""The features equal librosa's, on ordinary and on unusual clips."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
from mlops_aed.audio.features import (
    clip_patches,
    load_waveform,
    log_mel,
    mel_filters,
    patches,
    prepare_waveform,
    remove_silence,
)
from mlops_aed.config import FeatureExtraction, Preprocessing

from mlops_core import DatasetError

PREPARE = Preprocessing()
EXTRACT = FeatureExtraction()
MINIRESNET = FeatureExtraction(
    patch_length=50,
    n_fft=1024,
    hop_length=320,
    window_length=1024,
    center=True,
    power=2.0,
    fmin=20,
    norm="slaney",
    htk=False,
    to_db=True,
)


def sound(seconds, rate=44_100, seed=0):
    draw = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    loud = (np.sin(2 * np.pi * 1.3 * time) > 0) * np.sin(2 * np.pi * (400 + 900 * time) * time)
    return (0.4 * loud + 0.01 * draw.standard_normal(len(time)) * (time % 1.7 > 0.4)).astype(np.float32)


def reference_log_mel(path, settings):
    wave, _ = librosa.load(path, sr=16_000, mono=True, duration=PREPARE.max_length)
    kept = librosa.effects.split(wave, top_db=60, frame_length=3200, hop_length=3200)
    wave = np.concatenate([wave[start:end] for start, end in kept])
    if len(wave) < 16_000:
        wave = np.tile(wave, -(-16_000 // len(wave)))[:16_000]
    mel = librosa.feature.melspectrogram(
        y=wave,
        sr=16_000,
        n_fft=settings.n_fft,
        hop_length=settings.hop_length,
        win_length=settings.window_length,
        window="hann",
        center=settings.center,
        pad_mode=settings.pad_mode,
        power=settings.power,
        n_mels=settings.n_mels,
        fmin=settings.fmin,
        fmax=settings.fmax,
        norm=settings.norm,
        htk=settings.htk,
    )
    if not settings.to_db:
        return np.log(mel + 1e-4)
    return librosa.power_to_db(mel, ref=np.max) if settings.power == 2 else librosa.amplitude_to_db(mel, ref=np.max)


CLIPS = {
    "five seconds": (sound(5), 44_100, "PCM_16"),
    "short": (sound(0.3), 44_100, "PCM_16"),
    "at 8 kHz": (sound(3, 8_000), 8_000, "PCM_16"),
    "at 48 kHz, 24 bit": (sound(3, 48_000), 48_000, "PCM_24"),
    "stereo": (np.stack([sound(2), sound(2, seed=1)], axis=1), 44_100, "PCM_16"),
    "silent": (np.zeros(44_100, np.float32), 44_100, "PCM_16"),
    "half silent": (np.concatenate([np.zeros(60_000, np.float32), sound(2)]), 44_100, "FLOAT"),
    "longer than the limit": (sound(12), 44_100, "PCM_16"),
}


@pytest.mark.representatives("name", "settings")
@pytest.mark.parametrize("settings", [EXTRACT, MINIRESNET], ids=["yamnet", "miniresnet"])
@pytest.mark.parametrize("name", CLIPS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_log_mel_and_patch_count_equal_librosas(tmp_path, name, settings):
    samples, rate, subtype = CLIPS[name]
    path = tmp_path / "clip.wav"
    soundfile.write(path, samples, rate, subtype=subtype)
    expected = reference_log_mel(path, settings)
    found = log_mel(prepare_waveform(load_waveform(path, PREPARE), PREPARE), settings, rate=16_000)
    assert found.shape == expected.shape
    difference = np.abs(found - expected)
    assert difference.max() < 0.01
    assert difference.mean() < 1e-4
    length = settings.patch_length
    step = length - int(length * 0.25)
    assert len(patches(found, settings)) == max(1, 1 + (expected.shape[1] - length) // step)


@pytest.mark.real_data
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_log_mel_of_field_recordings_equals_librosas(esc10):
    paths = sorted((esc10 / "audio").glob("*.wav"))
    for path in paths[:: max(1, len(paths) // 40)]:
        for settings in (EXTRACT, MINIRESNET):
            expected = reference_log_mel(path, settings)
            found = log_mel(prepare_waveform(load_waveform(path, PREPARE), PREPARE), settings, rate=16_000)
            assert found.shape == expected.shape, path.name
            difference = np.abs(found - expected)
            assert difference.max() < 0.01, path.name
            assert difference.mean() < 1e-4, path.name


def test_a_five_second_clip_gives_six_patches_and_a_one_second_clip_one():
    for seconds, count in ((1, 1), (5, 6)):
        spectrogram = log_mel(sound(seconds, 16_000), EXTRACT, rate=16_000)
        assert patches(spectrogram, EXTRACT).shape == (count, 64, 96)


@pytest.mark.parametrize("htk", [True, False])
@pytest.mark.parametrize("norm", [None, "slaney"])
def test_mel_filters_equal_librosas(htk, norm):
    settings = FeatureExtraction(htk=htk, norm=norm)
    expected = librosa.filters.mel(sr=16_000, n_fft=512, n_mels=64, fmin=125, fmax=7500, htk=htk, norm=norm)
    np.testing.assert_allclose(mel_filters(settings, rate=16_000), expected, atol=1e-6)


def test_silence_is_removed_as_librosa_splits():
    wave = np.concatenate([sound(1, 16_000), np.zeros(20_000, np.float32), sound(0.7, 16_000)])
    kept = librosa.effects.split(wave, top_db=60, frame_length=3200, hop_length=3200)
    expected = np.concatenate([wave[start:end] for start, end in kept])
    np.testing.assert_array_equal(remove_silence(wave, top_db=60, frame_length=3200, hop_length=3200), expected)


def test_a_spectrogram_shorter_than_a_patch_is_padded_and_not_dropped():
    short = Preprocessing(min_length=0.1, max_length=1)
    wave = prepare_waveform(sound(0.2, 16_000), short)
    assert patches(log_mel(wave, EXTRACT, rate=16_000), EXTRACT).shape == (1, 64, 96)


def test_only_the_first_seconds_of_an_hour_are_read(tmp_path):
    path = tmp_path / "hour.wav"
    with soundfile.SoundFile(path, "w", 8_000, 1, subtype="PCM_16") as file:
        for _ in range(60):
            file.write(sound(60, 8_000))
    assert len(load_waveform(path, PREPARE)) == 160_000


@pytest.mark.parametrize("content", [b"", b"RIFF", b"not audio at all" * 100])
def test_a_file_that_cannot_be_decoded_is_named(tmp_path, content):
    (tmp_path / "bad.wav").write_bytes(content)
    with pytest.raises(DatasetError, match="bad.wav cannot be decoded"):
        clip_patches(tmp_path / "bad.wav", PREPARE, EXTRACT)


def test_a_file_without_samples_and_one_with_nan_are_named(tmp_path):
    soundfile.write(tmp_path / "none.wav", np.zeros(0, np.float32), 16_000)
    with pytest.raises(DatasetError, match="none.wav holds no samples"):
        load_waveform(tmp_path / "none.wav", PREPARE)
    soundfile.write(tmp_path / "nan.wav", np.full(100, np.nan, np.float32), 16_000, subtype="FLOAT")
    with pytest.raises(DatasetError, match="nan.wav holds samples that are not finite"):
        load_waveform(tmp_path / "nan.wav", PREPARE)


logging.getLogger("numba").setLevel(logging.WARNING)


_FEATURES_OF_A_CLIP = """
import hashlib, sys
import numpy as np
from mlops_aed.audio.features import log_mel
from mlops_aed.config import FeatureExtraction
clip = np.random.default_rng(0).standard_normal(32_000).astype(np.float32)
print(hashlib.sha256(log_mel(clip, FeatureExtraction(), rate=16_000).tobytes()).hexdigest())
"""


def test_the_features_do_not_depend_on_the_kernels_that_a_processor_has():
    digests = {
        subprocess.run(
            [sys.executable, "-c", _FEATURES_OF_A_CLIP],
            env={**os.environ, "OPENBLAS_CORETYPE": kernel, "OPENBLAS_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for kernel in ("Prescott", "Haswell" if has_avx2() else "Nehalem")
    }
    assert len(digests) == 1


def has_avx2():
    path = Path("/proc/cpuinfo")
    return path.exists() and " avx2 " in path.read_text()
