"""The preview of a clip in the report of a run."""

import io
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from mlops_aed.audio.excerpt import preview_clip

from mlops_core import PREVIEW_LIMIT, load_use_case

RATE = 44_100


def write(dataset, signal, *, name="clip.wav", rate=RATE, **how):
    (dataset / "audio").mkdir(exist_ok=True)
    soundfile.write(dataset / "audio" / name, signal, rate, **how)


def heard(preview):
    return soundfile.read(io.BytesIO(preview.data), dtype="float64")


def test_a_short_clip_is_kept_whole_and_unchanged(tmp_path):
    signal = np.sin(np.arange(32_000) / 9)
    write(tmp_path, signal, rate=16_000, subtype="PCM_16")
    preview = preview_clip(tmp_path, "clip.wav")
    found, rate = heard(preview)
    assert (preview.media_type, preview.caption, rate) == ("audio/wav", "whole clip, 2.0 s", 16_000)
    assert np.abs(found - signal).max() < 1e-4


def test_the_excerpt_of_a_long_clip_is_its_loudest_part(tmp_path):
    signal = np.full(20 * RATE, 0.001)
    signal[11 * RATE : 12 * RATE] = 0.9 * np.sin(np.arange(RATE) / 5)
    write(tmp_path, signal, subtype="PCM_16")
    preview = preview_clip(tmp_path, "clip.wav")
    found, rate = heard(preview)
    assert np.sum(np.abs(found) > 0.5) == pytest.approx(np.sum(np.abs(signal) > 0.5), abs=5)
    assert len(preview.data) <= PREVIEW_LIMIT
    assert preview.caption.startswith(f"{len(found) / rate:.1f} s of 20.0 s, from ")
    start = round(float(preview.caption.rpartition("from ")[2].removesuffix(" s")) * rate)
    assert start <= 11 * RATE
    assert start + len(found) >= 12 * RATE


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32"])
def test_the_first_channel_is_kept_with_16_bits(tmp_path, subtype):
    left = 0.8 * np.sin(np.arange(8000) / 7)
    write(tmp_path, np.stack([left, -left], axis=1), rate=8000, subtype=subtype)
    found, _ = heard(preview_clip(tmp_path, "clip.wav"))
    assert found.shape == left.shape
    assert np.abs(found - left).max() < 1e-4


@pytest.mark.parametrize(("name", "media_type"), [("clip.flac", "audio/flac"), ("clip.OGG", "audio/ogg")])
def test_a_small_compressed_file_is_returned_unchanged(tmp_path, name, media_type):
    write(tmp_path, np.zeros(8000), name=name, rate=8000)
    preview = preview_clip(tmp_path, name)
    assert preview.media_type == media_type
    assert preview.data == (tmp_path / "audio" / name).read_bytes()


def test_a_large_compressed_file_has_no_preview(tmp_path):
    write(tmp_path, np.random.default_rng(0).normal(0, 0.2, RATE * 10), name="clip.flac")
    assert preview_clip(tmp_path, "clip.flac") is None


def test_files_that_are_not_sound_or_outside_the_folder_have_no_preview(tmp_path):
    write(tmp_path, np.zeros(800), rate=8000, subtype="FLOAT")
    (tmp_path / "audio" / "text.wav").write_text("nothing")
    (tmp_path / "audio" / "empty.wav").write_bytes(b"")
    soundfile.write(tmp_path / "outside.wav", np.zeros(800), 8000, subtype="PCM_16")
    for name in ("clip.wav", "text.wav", "empty.wav", "gone.wav", "../outside.wav", str(tmp_path / "outside.wav"), ""):
        assert preview_clip(tmp_path, name) is None, name


def test_the_preview_hook_imports_nothing_heavy(tmp_path):
    write(tmp_path, np.zeros(8000), rate=8000, subtype="PCM_16")
    assert load_use_case("AED").sample_preview("clip.wav", tmp_path).caption == "whole clip, 1.0 s"
    code = (
        "import sys; from pathlib import Path; from mlops_core.use_cases.manager import load_use_case\n"
        f"assert load_use_case('AED').sample_preview('clip.wav', Path({str(tmp_path)!r}))\n"
        "print({'numpy', 'soundfile', 'tensorflow', 'pydantic'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == "set()\n"
