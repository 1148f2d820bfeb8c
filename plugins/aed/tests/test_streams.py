"""WAV from standard input: every variant of the header is heard as the file is, or refused as the file is."""

import io
import os
import struct

import numpy as np
import pytest
import soundfile
from mlops_aed.audio.streams import read_blocks
from mlops_aed.audio.waveform import decode

from mlops_core import DatasetError

SOUND = np.random.default_rng(0).normal(0, 3000, 4000).astype("<i2")
DATA = SOUND.tobytes()
UNKNOWN = 0xFFFFFFFF


def chunk(kind, content, *, size=None, order="<"):
    padding = b"\0" * (len(content) % 2)
    return kind + struct.pack(f"{order}L", len(content) if size is None else size) + content + padding


def description(encoding=1, *, channels=1, bits=16, extra=b"", order="<"):
    width = channels * ((bits + 7) // 8)
    return struct.pack(f"{order}2H2L2H", encoding, channels, 16_000, 16_000 * width, width, bits) + extra


def extensible(encoding, *, bits, valid, tail="000000001000800000aa00389b71"):
    guid = struct.pack("<H", encoding) + bytes.fromhex(tail)
    return description(0xFFFE, bits=bits, extra=struct.pack("<HHL", 22, valid, 4) + guid)


def riff(*chunks, form=b"RIFF", size=None, order="<"):
    content = b"WAVE" + b"".join(chunks)
    return form + struct.pack(f"{order}L", len(content) if size is None else size) + content


def rf64(*chunks, data_bytes=8000):
    sizes = chunk(b"ds64", struct.pack("<QQQL", data_bytes + 72, data_bytes, data_bytes // 2, 0))
    return riff(sizes, *chunks, form=b"RF64", size=UNKNOWN)


FMT = chunk(b"fmt ", description())
ODD = chunk(b"LIST", b"INFO" + b"x" * 2001)
TAGS = ODD + chunk(b"iXML", b"<x/>" * 100) + chunk(b"cue ", b"\0" * 28) + chunk(b"id3 ", b"ID3" + b"\xff" * 900)
S24 = b"".join(int(value * 256 + 7).to_bytes(3, "little", signed=True) for value in SOUND.tolist())
FLOATS = SOUND / 32768
HEARD = {
    "plain": riff(FMT, chunk(b"data", DATA)),
    "chunks after the samples": riff(FMT, chunk(b"data", DATA), TAGS),
    "chunks before and after": riff(chunk(b"JUNK", b"\0" * 29), FMT, ODD, chunk(b"data", DATA), TAGS),
    "odd number of bytes": riff(FMT, chunk(b"data", DATA + b"\1"), TAGS),
    "sizes of 0": riff(FMT, chunk(b"data", DATA, size=0), size=0),
    "sizes of the header alone": riff(FMT, chunk(b"data", DATA, size=0), size=36),
    "unknown sizes": riff(FMT, chunk(b"data", DATA, size=UNKNOWN), size=UNKNOWN),
    "sizes that no file has": riff(FMT, chunk(b"data", DATA, size=0x7FFFF000), size=0x7FFFF024),
    "cut off": riff(FMT, chunk(b"data", DATA, size=len(DATA) + 5000)),
    "longer description": riff(chunk(b"fmt ", description(extra=b"\0\0")), chunk(b"data", DATA), TAGS),
    "extensible": riff(chunk(b"fmt ", extensible(1, bits=16, valid=16)), chunk(b"data", DATA), TAGS),
    "RF64": rf64(FMT, chunk(b"data", DATA, size=UNKNOWN), TAGS),
    "RF64 with a size": rf64(FMT, chunk(b"data", DATA), TAGS),
    "RF64 without sizes": rf64(FMT, chunk(b"data", DATA, size=UNKNOWN), data_bytes=0),
    "12 bits": riff(chunk(b"fmt ", description(bits=12)), chunk(b"data", DATA)),
    "RIFX": riff(
        chunk(b"fmt ", description(order=">"), order=">"),
        chunk(b"data", SOUND.astype(">i2").tobytes(), order=">"),
        form=b"RIFX",
        order=">",
    ),
    "extensible floats": riff(
        chunk(b"fmt ", extensible(3, bits=32, valid=32)), chunk(b"data", FLOATS.astype("<f4").tobytes())
    ),
    "64-bit floats": riff(chunk(b"fmt ", description(3, bits=64)), chunk(b"data", FLOATS.astype("<f8").tobytes())),
    "extensible of Ambisonics": riff(
        chunk(b"fmt ", extensible(1, bits=16, valid=16, tail="00002107d3118644c8c1ca000000")), chunk(b"data", DATA)
    ),
    "RF64 with another size": rf64(FMT, chunk(b"data", DATA, size=7990), TAGS),
    "24 of 32 bits": riff(
        chunk(b"fmt ", extensible(1, bits=32, valid=24)), chunk(b"data", (SOUND.astype("<i4") << 16).tobytes())
    ),
}
"""Variants that all hold `SOUND`."""
OTHERS = {
    "24 bits": riff(chunk(b"fmt ", description(bits=24)), chunk(b"data", S24), TAGS),
    "8 bits": riff(chunk(b"fmt ", description(bits=8)), chunk(b"data", DATA)),
    "A-law": riff(chunk(b"fmt ", description(6, bits=8, extra=b"\0\0")), chunk(b"data", bytes(range(256))), TAGS),
    "mu-law": riff(chunk(b"fmt ", description(7, bits=8, extra=b"\0\0")), chunk(b"data", bytes(range(256))), TAGS),
    "extensible mu-law": riff(chunk(b"fmt ", extensible(7, bits=8, valid=8)), chunk(b"data", bytes(range(256)))),
    "two channels": riff(chunk(b"fmt ", description(channels=2)), chunk(b"data", DATA), TAGS),
    "no samples, then chunks": riff(FMT, chunk(b"data", b""), TAGS),
}
REFUSED = {
    "short description": (riff(chunk(b"fmt ", description()[:14]), chunk(b"data", DATA)), "'fmt ' .* has 14 bytes"),
    "cut off in the description": (riff(FMT)[:24], "has 4 bytes; expected at least 16"),
    "cut off before the samples": (riff(FMT, TAGS), "ends within the WAV header"),
    "no description": (riff(chunk(b"data", DATA)), "no chunk 'fmt '"),
    "endless chunk": (riff(chunk(b"LIST", b"abc", size=0xFFFFFFF0), FMT, chunk(b"data", DATA)), "ends within"),
    "no channels": (riff(chunk(b"fmt ", description(channels=0)), chunk(b"data", DATA)), "0 channels"),
    "no bits": (riff(chunk(b"fmt ", description(bits=0)), chunk(b"data", DATA)), "0 bits"),
    "extensible without a type": (riff(chunk(b"fmt ", description(0xFFFE)), chunk(b"data", DATA)), "encoding 65534"),
    "RF64 without the chunk of sizes": (
        riff(FMT, chunk(b"data", DATA, size=UNKNOWN), form=b"RF64", size=UNKNOWN),
        "no chunk 'ds64'",
    ),
    "two chunks of samples": (riff(FMT, chunk(b"data", DATA), chunk(b"data", DATA)), "holds two chunks of samples"),
    "two descriptions": (riff(FMT, FMT, chunk(b"data", DATA)), "describes the samples twice"),
    "two files": (riff(FMT, chunk(b"data", DATA)) * 2, "holds two WAV files"),
    "extensible, cut off": (
        riff(chunk(b"fmt ", extensible(1, bits=16, valid=16)[:34]), chunk(b"data", DATA)),
        "encoding 65534",
    ),
    "extensible of another kind": (
        riff(chunk(b"fmt ", extensible(1, bits=16, valid=16, tail="01" * 14)), chunk(b"data", DATA)),
        "encoding 65534",
    ),
    "too many channels": (riff(chunk(b"fmt ", description(channels=1025)), chunk(b"data", DATA)), "1025 channels"),
    "no name of a chunk": (riff(FMT, chunk(b"\0\0\0\0", b""), chunk(b"data", DATA)), "not a name of a chunk"),
    "RF64 with short sizes": (
        riff(chunk(b"ds64", b"\0" * 16), FMT, chunk(b"data", DATA, size=UNKNOWN), form=b"RF64", size=UNKNOWN),
        "'ds64' .* has 16 bytes",
    ),
    "RF64 with the largest size": (
        rf64(FMT, chunk(b"data", DATA, size=UNKNOWN)).replace(struct.pack("<Q", 8000), b"\xff" * 8),
        "gives no size",
    ),
    "RIFF, but not WAV": (b"RIFF\x64\0\0\0AVI " + b"\0" * 100, "is RIFF, but not WAV"),
    "another form": (riff(FMT, chunk(b"data", DATA), form=b"BW64"), "form 'BW64', which cannot be read"),
    "nothing": (b"", "standard input is empty; expected a WAV stream"),
    "no WAV": (b"\0" * 100, "--raw RATE"),
}


def heard(source):
    rate, blocks = read_blocks(source)
    assert rate == 16_000
    return np.concatenate([np.zeros(0, dtype=np.float32), *blocks])


class Dribble(io.RawIOBase):
    """A stream that never gives more than a few bytes at once, as a pipe may."""

    def __init__(self, content):
        self._content = io.BytesIO(content)

    def readable(self):
        return True

    def readinto(self, buffer):
        part = self._content.read(min(len(buffer), 7))
        buffer[: len(part)] = part
        return len(part)


@pytest.mark.parametrize("variant", HEARD)
def test_every_variant_is_heard_as_the_same_samples_from_a_stream_and_a_file(tmp_path, variant):
    expected = FLOATS.astype(np.float32)
    np.testing.assert_array_equal(heard(io.BytesIO(HEARD[variant])), expected)
    np.testing.assert_array_equal(heard(io.BufferedReader(Dribble(HEARD[variant]))), expected)
    path = tmp_path / "sound.wav"
    path.write_bytes(HEARD[variant])
    np.testing.assert_array_equal(heard(path), expected)
    for seconds in (10, 0.125):
        samples, rate = decode(path, seconds=seconds)
        np.testing.assert_array_equal(samples, expected[: int(seconds * rate)])


@pytest.mark.parametrize("variant", OTHERS)
def test_other_types_of_samples_are_heard_as_from_the_file(tmp_path, variant):
    path = tmp_path / "sound.wav"
    path.write_bytes(OTHERS[variant])
    np.testing.assert_array_equal(heard(io.BytesIO(OTHERS[variant])), heard(path))


@pytest.mark.parametrize("variant", REFUSED)
def test_a_damaged_header_is_refused_as_in_the_file(tmp_path, variant):
    content, message = REFUSED[variant]
    with pytest.raises(DatasetError, match=message):
        heard(io.BytesIO(content))
    path = tmp_path / "sound.wav"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"sound\.wav"):
        heard(path)


@pytest.mark.parametrize(
    ("form", "name"), [("FLAC", "FLAC"), ("OGG", "Ogg"), ("AIFF", "AIFF"), ("MP3", "MP3"), ("W64", "Wave64")]
)
def test_another_format_in_a_stream_is_named(form, name):
    content = io.BytesIO()
    soundfile.write(content, FLOATS, 16_000, format=form)
    with pytest.raises(DatasetError, match=f"standard input is {name}, which cannot be streamed; convert it to WAV"):
        heard(io.BytesIO(content.getvalue()))


def test_raw_samples_are_heard_and_a_file_with_a_header_is_not_taken_for_them():
    rate, blocks = read_blocks(io.BytesIO(DATA), raw_rate_hz=8000)
    assert rate == 8000
    np.testing.assert_array_equal(np.concatenate(list(blocks)), FLOATS.astype(np.float32))
    with pytest.raises(DatasetError, match="is WAV, not samples without a header; leave out --raw"):
        read_blocks(io.BytesIO(HEARD["plain"]), raw_rate_hz=16_000)
    with pytest.raises(DatasetError, match="is FLAC, not samples without a header; convert it to WAV"):
        read_blocks(io.BytesIO(b"fLaC" + DATA), raw_rate_hz=16_000)


@pytest.mark.skipif(os.name != "posix", reason="names of files are text elsewhere")
def test_a_file_whose_name_is_not_text_is_heard_and_named(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    path.write_bytes(HEARD["plain"])
    assert len(heard(path)) == len(decode(path, seconds=1)[0]) == 4000
    path.write_bytes(b"RIFF")
    for read in (heard, lambda broken: decode(broken, seconds=1)):
        with pytest.raises(DatasetError, match=r"caf\\xe9\.wav cannot be decoded"):
            read(path)
