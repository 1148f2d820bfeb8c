"""Only the supported audio formats are decoded, whatever the name of a file says."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from mlops_aed.audio.streams import read_blocks
from mlops_aed.audio.waveform import decode

from mlops_core import DatasetError


def consume(path):
    return sum(len(block) for block in read_blocks(path)[1])


@pytest.mark.parametrize("name", ["a.raw", "a.sd2", "a.wav"])
def test_bytes_without_a_header_are_never_taken_as_samples(tmp_path, name):
    (tmp_path / name).write_bytes(bytes(1000))
    for read in (lambda path: decode(path, seconds=1), consume):
        with pytest.raises(DatasetError, match=f"{name} cannot be decoded"):
            read(tmp_path / name)


@pytest.mark.parametrize("kind", ["MAT5", "PVF", "HTK", "VOC", "NIST", "IRCAM"])
def test_a_format_that_is_not_supported_is_refused_by_its_name(tmp_path, kind):
    soundfile.write(tmp_path / "a.bin", np.zeros(400), 16_000, format=kind, subtype="PCM_16")
    (tmp_path / "a.bin").rename(tmp_path / "a.wav")
    for read in (lambda path: decode(path, seconds=1), consume):
        with pytest.raises(DatasetError, match="a.wav cannot be decoded: .* is not supported; convert it to WAV"):
            read(tmp_path / "a.wav")


@pytest.mark.parametrize("kind", ["WAV", "RF64", "W64", "FLAC", "OGG", "MP3", "AIFF", "AU", "CAF"])
def test_a_supported_format_is_decoded_by_its_content(tmp_path, kind):
    soundfile.write(tmp_path / "a.bin", 0.1 * np.random.default_rng(0).standard_normal(16_000), 16_000, format=kind)
    samples, rate = decode(tmp_path / "a.bin", seconds=0.5)
    assert (samples.shape, rate) == ((8_000,), 16_000)
    assert consume(tmp_path / "a.bin") >= 16_000


@pytest.mark.parametrize("encoding", ["GSM610", "ALAW", "ULAW", "IMA_ADPCM", "MS_ADPCM", "G721_32"])
def test_encodings_of_telephony_are_heard_whole_by_both_readers(tmp_path, encoding):
    sound = 0.1 * np.random.default_rng(0).standard_normal(16_000)
    kind = "AU" if encoding == "G721_32" else "WAV"
    soundfile.write(tmp_path / "a.wav", sound, 16_000, format=kind, subtype=encoding)
    samples, rate = decode(tmp_path / "a.wav", seconds=1e9)
    blocks = np.concatenate([*read_blocks(tmp_path / "a.wav")[1]])
    assert (rate, len(samples)) == (16_000, len(blocks))
    assert len(samples) >= 16_000
    np.testing.assert_allclose(samples, blocks, atol=1e-4)


def test_a_header_that_promises_more_samples_than_any_memory_holds_is_an_error_of_that_file(tmp_path):
    soundfile.write(tmp_path / "a.flac", np.random.default_rng(0).uniform(-0.5, 0.5, 20_000), 48_000)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    place = content.index(b"fLaC") + 18
    fields = int.from_bytes(content[place : place + 8], "big") | (1 << 36) - 1  # number of samples
    content[place : place + 8] = fields.to_bytes(8, "big")
    (tmp_path / "a.flac").write_bytes(content)
    for read in (lambda path: decode(path, seconds=1e9), consume):
        with pytest.raises(DatasetError, match="a.flac cannot be decoded"):
            read(tmp_path / "a.flac")


def test_no_descriptor_stays_open(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(4_000), 16_000)
    (tmp_path / "b.wav").write_bytes(b"nothing")
    before = len([*Path("/proc/self/fd").iterdir()])
    for _ in range(5):
        decode(tmp_path / "a.wav", seconds=1)
        consume(tmp_path / "a.wav")
        with pytest.raises(DatasetError):
            decode(tmp_path / "b.wav", seconds=1)
    assert len([*Path("/proc/self/fd").iterdir()]) == before
