"""Events of long recordings and streams: times, classes, formats, speed, a picture, and named faults."""

import io
import struct
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from mlops_aed.audio.event_output import write_events
from mlops_aed.audio.events import EventOptions, EventTracker
from mlops_aed.audio.features import log_mel
from mlops_aed.audio.listening import AudioListening, Hearing
from mlops_aed.audio.pictures import Sonogram
from mlops_aed.audio.streams import read_blocks
from mlops_aed.config import FeatureExtraction, Preprocessing
from mlops_aed.outputs import EVENTS

from mlops_core import DatasetError, OutputRequest, PredictionInput, UsageError

RATE = 16_000


def tone(frequency_hz, seconds, rate=RATE):
    return 0.4 * np.sin(2 * np.pi * frequency_hz * np.arange(int(seconds * rate)) / rate)


def pitch_scores(patches):
    """A model with two classes, told apart by the band with the most energy."""
    bands = np.exp(patches).mean(axis=2).argmax(axis=1)
    return np.stack([bands < 20, bands >= 20], axis=1).astype(np.float32)


HEARING = Hearing(
    classes=("low", "high"), scorer=pitch_scores, preprocessing=Preprocessing(), features=FeatureExtraction()
)


class Model:
    classes = ("low", "high")

    def predict(self, paths):
        raise NotImplementedError

    def listen(self, source, options):
        return AudioListening(source, HEARING, options)


@pytest.fixture
def recording():
    """Three seconds low, four of silence, five high."""
    return np.concatenate([tone(300, 3), np.zeros(4 * RATE), tone(3000, 5)]).astype(np.float32)


def write(path, samples, rate=RATE, **kwargs):
    soundfile.write(path, samples, rate, **kwargs)
    return path


def close(events, expected):
    assert [event.label for event in events] == [label for label, _, _ in expected]
    for event, (_, onset, offset) in zip(events, expected, strict=True):
        assert event.onset_s == pytest.approx(onset, abs=0.75)
        assert event.offset_s == pytest.approx(offset, abs=0.75)
        assert 0.5 <= event.confidence <= 1


@pytest.mark.parametrize("rate", [16_000, 44_100, 8_000])
def test_events_are_where_the_sounds_are(tmp_path, recording, rate):
    samples = np.interp(np.arange(12 * rate) / rate, np.arange(len(recording)) / RATE, recording)
    heard = AudioListening(write(tmp_path / "a.wav", samples, rate), HEARING, EventOptions())
    close(list(heard), [("low", 0, 3), ("high", 7, 12)])
    assert heard.duration_s == pytest.approx(12, abs=0.01)
    assert 0 < heard.computed_s < 12
    assert heard.latency_s > 0.97


def test_a_stream_gives_the_same_events_as_the_file(tmp_path, recording):
    path = write(tmp_path / "a.wav", recording)
    expected = list(AudioListening(path, HEARING, EventOptions()))
    raw = (recording * 32767).astype("<i2").tobytes()
    sources = [
        (io.BytesIO(path.read_bytes()), None),
        (io.BytesIO(wav(recording, "<f4", 3, 32)), None),
        (io.BytesIO(wav(recording, "<i4", 1, 32, scale=2**31 - 256)), None),
        (io.BytesIO(raw), RATE),
    ]
    for stream, rate in sources:
        found = list(AudioListening(stream, HEARING, EventOptions(raw_rate_hz=rate)))
        assert [(e.label, e.onset_s, e.offset_s) for e in found] == [(e.label, e.onset_s, e.offset_s) for e in expected]


def wav(samples, kind, encoding, bits, *, scale=1):
    """A WAV as written into a pipe: sizes unknown, and an extra chunk before the data."""
    data = (samples.astype(np.float64) * scale).astype(kind).tobytes()
    layout = struct.pack("<2H2L2H", encoding, 1, RATE, RATE * bits // 8, bits // 8, bits)
    return b"RIFF\xff\xff\xff\xffWAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0" + layout + b"data\xff\xff\xff\xff" + data


def test_stereo_streams_are_mixed_and_a_cut_sample_is_dropped():
    samples = np.stack([tone(300, 2), -tone(300, 2)], axis=1)
    layout = struct.pack("<2H2L2H", 1, 2, RATE, RATE * 4, 4, 16)
    data = (samples * 32767).astype("<i2").tobytes()[:-3]
    stream = io.BytesIO(b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + layout + b"data\0\0\0\0" + data)
    rate, blocks = read_blocks(stream)
    found = np.concatenate(list(blocks))
    assert (rate, len(found)) == (RATE, 2 * RATE - 1)
    assert np.abs(found).max() < 1e-3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; expected a WAV stream"),
        (b"noise", "not a WAV stream; for 16-bit mono"),
        (b"RIFF\0\0\0\0WAVE", "ends within the WAV header"),
        (b"RIFF\0\0\0\0WAVEdata\0\0\0\0", "the WAV header has no chunk 'fmt ' that describes the samples"),
        (b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + struct.pack("<2H2L2H", 2, 1, 8000, 8000, 1, 8), "encoding 2 with 8 bits"),
    ],
)
def test_a_stream_that_cannot_be_read_is_refused(content, message):
    with pytest.raises(DatasetError, match=message):
        AudioListening(io.BytesIO(content), HEARING, EventOptions())


def test_samples_that_are_not_finite_are_refused_in_files_and_streams(tmp_path, recording):
    recording[5000] = np.nan
    for source in (write(tmp_path / "a.wav", recording, subtype="FLOAT"), io.BytesIO(wav(recording, "<f4", 3, 32))):
        with pytest.raises(DatasetError, match="not finite"):
            list(AudioListening(source, HEARING, EventOptions()))


def test_a_recording_shorter_than_a_patch_has_events(tmp_path):
    heard = AudioListening(write(tmp_path / "a.wav", tone(300, 0.4)), HEARING, EventOptions())
    events = list(heard)
    assert [(event.label, event.onset_s) for event in events] == [("low", 0.0)]
    assert events[0].offset_s == pytest.approx(0.4, abs=0.25)


@pytest.mark.parametrize(
    "settings",
    [
        FeatureExtraction(),
        FeatureExtraction(to_db=True),
        FeatureExtraction(center=True),
        FeatureExtraction(hop_length=161),
    ],
)
def test_patches_of_many_windows_are_those_of_each_window(settings):
    hearing = replace(HEARING, features=settings)
    samples = np.random.default_rng(0).normal(0, 0.1, hearing.window + 7 * hearing.step).astype(np.float32)
    found = hearing.patches(samples)
    assert found.shape == (8, 64, 96)
    for n, patch in enumerate(found):
        window = samples[n * hearing.step : n * hearing.step + hearing.window]
        np.testing.assert_array_equal(patch, log_mel(window, settings, rate=RATE)[:, :96])


def test_the_picture_of_a_stream_keeps_a_bounded_number_of_columns():
    sonogram = Sonogram(FeatureExtraction(), rate=RATE)
    patches = np.repeat(np.arange(12_000, dtype=np.float32), 64 * 24).reshape(12_000, 64, 24)
    sonogram.add(patches)
    assert len(sonogram._columns) <= 8192
    levels = sonogram._pixels(12_000 * 0.24)[0, :, 0].astype(int)
    assert (np.diff(levels) >= 0).all()  # it still rises from the beginning to the end
    assert levels[-1] > 250
    assert abs(levels[len(levels) // 2] - 127) < 4


@pytest.mark.slow_suite
def test_memory_does_not_grow_with_the_recording():
    code = """
import io, resource, sys
import numpy as np
sys.path.insert(0, sys.argv[2])
import test_events as t
class Endless(io.RawIOBase):
    left = int(sys.argv[1]) * 32000
    def read(self, size=-1):
        size = min(size, self.left); self.left -= size
        return bytes(size)
heard = t.AudioListening(Endless(), t.HEARING, t.EventOptions(raw_rate_hz=16000))
assert list(heard) == []
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
    folder = __file__.rpartition("/")[0]
    peaks = [
        int(
            subprocess.run(
                [sys.executable, "-c", code, seconds, folder], capture_output=True, text=True, check=True
            ).stdout
        )
        for seconds in ("60", "1800")
    ]
    assert peaks[1] < peaks[0] + 25


def test_scores_of_overlapping_patches_are_averaged_and_short_events_left_out():
    tracker = EventTracker(("a", "b"), EventOptions(threshold=0.6), step_s=0.25)
    rows = np.zeros((12, 2), np.float32)
    rows[2:8, 0] = 1.0
    rows[5, 1] = 1.0
    events = tracker.add(rows)
    assert [(event.label, event.onset_s, event.offset_s) for event in events] == [("a", 1.0, 2.25)]
    short = EventTracker(("a", "b"), EventOptions(threshold=0.6, shortest_s=2.0), step_s=0.25)
    assert short.add(rows) == []


class Emitter:
    """Keeps what an output writes."""

    def __init__(self):
        self.lines, self.documents, self.notes = [], [], []
        self.line, self.document, self.note = self.lines.append, self.documents.append, self.notes.append


def written(form, *paths, **options):
    """Return what the output ``events`` writes for the files `paths`, with its default options changed by `options`."""
    emitter = Emitter()
    request = OutputRequest(
        inputs=tuple(PredictionInput(name=str(path), content=path) for path in paths),
        format=form,
        options={**{option.name: option.default for option in EVENTS.options}, **options},
    )
    write_events(Model(), request, emitter)
    return emitter


def test_all_formats_hold_the_same_events(tmp_path, recording):
    path = write(tmp_path / "a.wav", recording)
    picture = tmp_path / "a.png"
    as_json = written("json", path, picture=str(picture))
    ((document,),) = as_json.documents
    assert as_json.lines == []
    assert document["path"] == str(path)
    assert document["duration_s"] == 12.0
    assert document["real_time_factor"] > 0
    assert "12.0 s heard in" in as_json.notes[0]
    labels = written("audacity", path)
    assert labels.documents == []
    lines = [line.split("\t") for line in labels.lines]
    assert [(float(on), float(off), text.split()[0]) for on, off, text in lines] == [
        (event["onset_s"], event["offset_s"], event["label"]) for event in document["events"]
    ]
    rows = [line.split() for line in written("table", path).lines]
    assert rows[0] == ["onset", "offset", "confidence", "class"]
    assert [row[3] for row in rows[1:]] == ["low", "high"]
    assert_picture_shows_the_recording(picture)


def assert_picture_shows_the_recording(path):
    """Low sound in the first quarter of the spectrogram, high sound in the last five twelfths."""
    from PIL import Image

    with Image.open(path) as image:
        assert image.format == "PNG"
        spectrogram = np.asarray(image)[:256, 120:]
    bottom, top = spectrogram[200:, :300].mean(), spectrogram[:60, :300].mean()
    assert bottom > top + 20
    is_low = spectrogram[200:].mean(axis=(0, 2)) > spectrogram[:60].mean(axis=(0, 2)) + 10
    is_high = spectrogram[60:120, :, 1].max(axis=0) > 128
    assert np.flatnonzero(is_low).max() == pytest.approx(3 / 12 * 1600, abs=8)
    assert np.flatnonzero(is_high).min() == pytest.approx(7 / 12 * 1600, abs=8)


def test_options_of_the_output_reach_the_events(tmp_path, recording):
    path = write(tmp_path / "a.wav", recording)
    ((document,),) = written("json", path, shortest=4.0).documents
    assert [event["label"] for event in document["events"]] == ["high"]
    ((document,),) = written("json", path, threshold=1.0).documents
    assert {event["confidence"] for event in document["events"]} == {1.0}
    raw = PredictionInput(name="-", content=io.BytesIO((recording * 32767).astype("<i2").tobytes()))
    options = {option.name: option.default for option in EVENTS.options}
    emitter = Emitter()
    write_events(Model(), OutputRequest(inputs=(raw,), format="table", options={**options, "raw": RATE}), emitter)
    assert [line.split()[3] for line in emitter.lines] == ["class", "low", "high"]
    with pytest.raises(UsageError, match="--raw describes standard input, which is not among the files"):
        written("table", path, raw=RATE)


def test_a_table_of_several_recordings_names_each(tmp_path, recording):
    paths = [write(tmp_path / name, recording) for name in ("a.wav", "b.wav")]
    headings = [line for line in written("table", *paths).lines if "onset" in line]
    assert [heading.split()[-1] for heading in headings] == [str(path) for path in paths]


def heard_before_a_fault(form, *paths, **options):
    emitter = Emitter()
    request = OutputRequest(
        inputs=tuple(PredictionInput(name=str(path), content=path) for path in paths),
        format=form,
        options={**{option.name: option.default for option in EVENTS.options}, **options},
    )
    with pytest.raises(DatasetError) as caught:
        write_events(Model(), request, emitter)
    return emitter, str(caught.value)


def test_a_recording_that_cannot_be_heard_is_named_and_the_others_are_heard(tmp_path, recording):
    good = [write(tmp_path / name, recording) for name in ("a.wav", "c.wav")]
    bad = tmp_path / "b.wav"
    bad.write_bytes(b"RIFF")
    emitter, message = heard_before_a_fault("table", good[0], bad, good[1])
    assert [line.split()[3] for line in emitter.lines] == ["class", "low", "high"] * 2
    assert message.startswith("1 of 3 recordings cannot be heard: ")
    assert "b.wav cannot be decoded" in message
    emitter, message = heard_before_a_fault("json", bad, good[0])
    ((first, second),) = emitter.documents
    assert first.keys() == {"path", "error"}
    assert len(second["events"]) == 2
    emitter, message = heard_before_a_fault("json", bad)
    assert message.startswith(f"{bad} cannot be decoded")


def test_audacity_labels_of_several_recordings_are_separate_files(tmp_path, recording):
    paths = [write(tmp_path / name, recording) for name in ("a.wav", "b.wav")]
    bad = tmp_path / "c.wav"
    bad.write_bytes(b"RIFF")
    with pytest.raises(UsageError, match="for 2 recordings set --labels FOLDER"):
        written("audacity", *paths)
    folder = tmp_path / "labels"
    folder.mkdir()
    emitter, _ = heard_before_a_fault("audacity", *paths, bad, labels=str(folder))
    assert emitter.lines == []
    assert sorted(path.name for path in folder.iterdir()) == ["a.txt", "b.txt"]
    alone = written("audacity", paths[0]).lines
    assert (folder / "a.txt").read_text(encoding="utf-8").splitlines() == alone
    assert len(alone) == 2


@pytest.mark.parametrize(
    ("form", "names", "folder", "message"),
    [
        ("table", ("a.wav",), ".", "set --events audacity"),
        ("audacity", ("a.wav",), "nowhere", "nowhere is not a folder"),
        ("audacity", ("a.wav", "x/a.wav"), ".", r"a.txt would hold the labels of .*/a.wav and of .*/x/a.wav"),
        ("audacity", ("A.wav", "a.flac"), ".", r"a.txt would hold the labels of .*/A.wav and of .*/a.flac"),
        ("audacity", ("a.wav", "a.wav"), ".", r"a.txt would hold the labels of .*/a.wav and of .*/a.wav"),
        ("audacity", ("old.wav",), ".", "old.txt exists and is not overwritten"),
    ],
)
def test_a_folder_of_labels_that_cannot_be_used_is_refused(tmp_path, monkeypatch, form, names, folder, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.txt").touch()
    with pytest.raises(UsageError, match=message):
        written(form, *(tmp_path / name for name in names), labels=folder)


def test_an_unknown_picture_format_and_a_picture_of_several_recordings_are_refused(tmp_path, recording):
    path = write(tmp_path / "a.wav", recording)
    with pytest.raises(UsageError, match="name the picture .png"):
        written("table", path, picture=str(tmp_path / "a.xyz"))
    with pytest.raises(UsageError, match="expected the name of a file in an existing folder"):
        written("table", path, picture=str(tmp_path / "no" / "a.png"))
    with pytest.raises(UsageError, match="give one file"):
        written("table", path, path, picture="a.png")


def test_help_shows_the_options_without_importing_anything_heavy():
    code = (
        "import sys; from mlops_core.cli import _exit_code\n"
        "_exit_code(['predict', '--usecase', 'AED', '--help'])\n"
        "print('heavy:', *sorted({'tensorflow', 'keras', 'numpy', 'soundfile'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "Options of the use case 'AED'" in out
    for option in ("--events", "--threshold", "--shortest", "--raw", "--picture"):
        assert option in out
    assert out.splitlines()[-1].strip() == "heavy:"
