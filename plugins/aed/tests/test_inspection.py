"""The inspection of a data set reports its faults, and nothing for a faultless one."""

import csv
import os

import numpy as np
import pytest
import soundfile
from mlops_aed.audio.fingerprints import find_matches, fingerprint
from mlops_aed.audio.waveform import load_waveform, resample
from mlops_aed.config import AedConfig, DatasetSection, Preprocessing
from mlops_aed.data.inspection import inspect_dataset, measure
from mlops_aed.data.synthetic import SOUNDS, make_clip, make_recording
from mlops_aed.predictor import _warn_if_cut_off

CONFIG = AedConfig(dataset=DatasetSection(name="x"))


def sound(seed, kind="chirp"):
    draw = np.random.default_rng(seed)
    return make_clip(SOUNDS[kind], make_recording(draw), draw).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    """Three folds of two classes, two recordings each."""
    (tmp_path / "audio").mkdir()
    (tmp_path / "meta").mkdir()
    rows = []
    for fold in (1, 2, 3):
        for number, label in enumerate(("chirp", "waves")):
            for take in range(2):
                name = f"{fold}-{label}{take}.wav"
                group = f"{fold}{label}{take}"
                soundfile.write(tmp_path / "audio" / name, sound([fold, number, take], label), 16_000)
                rows.append((name, fold, label, group))
    with (tmp_path / "meta" / "esc50.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("filename", "fold", "category", "src_file"), *rows])
    return tmp_path


def found(folder):
    return {(finding.check, str(finding.level)): finding for finding in inspect_dataset(folder, CONFIG).findings}


def test_a_faultless_data_set_has_no_findings(folder):
    inspection = inspect_dataset(folder, CONFIG)
    assert inspection.findings == ()
    assert dict(inspection.facts)["clips"] == "12"
    by_class = inspection.tables[0]
    assert by_class.columns == ("class", "fold 1", "fold 2", "fold 3", "minutes")
    assert by_class.rows[0] == ("chirp", 2, 2, 2, "0.2")
    assert inspection.tables[1].rows == (("WAV PCM_16", 16_000, 1, 12),)
    assert sum(inspection.distributions[1].counts) == 12


def test_equal_bytes_across_folds_are_an_error_and_within_one_a_warning(folder):
    audio = folder / "audio"
    (audio / "2-chirp0.wav").write_bytes((audio / "1-chirp0.wav").read_bytes())
    (audio / "3-waves1.wav").write_bytes((audio / "3-waves0.wav").read_bytes())
    (audio / "2-waves1.wav").write_bytes((audio / "1-chirp1.wav").read_bytes())
    findings = [f for f in inspect_dataset(folder, CONFIG).findings if f.check == "exact duplicates"]
    levels = {finding.message: str(finding.level) for finding in findings}
    assert levels == {
        "1 files have the same bytes, across folds or parts": "error",
        "1 files have the same bytes, with different labels": "error",
        "1 files have the same bytes, within one fold or part": "warning",
    }
    assert "1-chirp0.wav (chirp, fold 1), 2-chirp0.wav (chirp, fold 2)" in [f.samples[0] for f in findings]


def test_the_same_sound_quieter_later_at_another_rate_and_encoding_is_found_across_folds(folder):
    wave = 0.3 * sound([1, 0, 0])[2_345:]
    soundfile.write(folder / "audio" / "2-chirp0.wav", resample(wave, 16_000, 22_050), 22_050, subtype="PCM_24")
    finding = found(folder)["same sound", "warning"]
    assert len(finding.samples) == 1
    assert "1-chirp0.wav (chirp, fold 1) and 2-chirp0.wav (chirp, fold 2): 1." in finding.samples[0]
    assert found(folder)["rates", "note"].message == "clips have different rates: 16000 Hz (11), 22050 Hz (1)"


def test_silence_clipping_and_unreadable_files_are_found(folder):
    audio = folder / "audio"
    soundfile.write(audio / "1-chirp0.wav", np.zeros(16_000), 16_000)
    soundfile.write(audio / "1-chirp1.wav", np.clip(20 * sound([1, 0, 1]), -1, 1), 16_000)
    (audio / "2-chirp1.wav").write_bytes(b"RIFF")
    findings = found(folder)
    assert set(findings) == {("unreadable", "error"), ("silence", "warning"), ("clipping", "warning")}
    assert findings["unreadable", "error"].samples[0].startswith("2-chirp1.wav cannot be decoded")
    assert findings["silence", "warning"].samples == ("1-chirp0.wav: 100%",)
    assert findings["clipping", "warning"].samples[0].startswith("1-chirp1.wav: ")


def test_files_that_are_cut_off_and_clips_longer_than_what_is_used_are_found(folder):
    audio = folder / "audio"
    whole = (audio / "1-chirp0.wav").read_bytes()
    (audio / "1-chirp0.wav").write_bytes(whole[: len(whole) // 2])
    soundfile.write(audio / "1-waves0.wav", np.tile(sound([9], "waves"), 10), 16_000)
    findings = found(folder)
    assert findings["cut off", "warning"].samples == ("1-chirp0.wav",)
    assert "1 of 12 clips are longer than preprocessing.max_length (10 s)" in findings["long", "note"].message
    assert dict(inspect_dataset(folder, CONFIG).facts)["seconds per clip"].endswith("median 2.00")


def test_a_recording_that_is_cut_off_is_named_when_it_is_predicted(folder, caplog):
    path = folder / "audio" / "1-chirp0.wav"
    _warn_if_cut_off(path)
    assert caplog.messages == []
    path.write_bytes(path.read_bytes()[:500])
    _warn_if_cut_off(path)
    assert caplog.messages == [f"{path} is cut off: it ends before the length that its header gives"]


def test_a_named_pipe_is_unreadable_and_does_not_block(folder):
    (folder / "audio" / "2-chirp1.wav").unlink()
    os.mkfifo(folder / "audio" / "2-chirp1.wav")
    assert "no such file, or not a regular one" in found(folder)["unreadable", "error"].samples[0]


def test_unreadable_labels_are_a_finding_and_not_an_exception(folder):
    (folder / "audio" / "1-chirp0.wav").unlink()
    finding = found(folder)["labels", "error"]
    assert "1 of 12 clips" in finding.message


def test_a_header_without_a_size_does_not_shorten_a_clip(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, sound(1), 16_000)
    whole = measure(path, seconds=10)
    content = path.read_bytes()
    place = content.index(b"data") + 4
    path.write_bytes(content[:4] + b"\0\0\0\0" + content[8:place] + b"\0\0\0\0" + content[place + 4 :])
    found = measure(path, seconds=10)
    assert (found.duration_s, found.level_db, found.is_cut_off) == (whole.duration_s, whole.level_db, False)


def test_measures_are_those_of_the_signal(tmp_path):
    time = np.arange(32_000) / 16_000
    tone = np.where(time < 1, 0.5 * np.sin(2 * np.pi * 440 * time), 0)
    soundfile.write(tmp_path / "a.wav", np.stack([tone, tone], axis=1), 16_000, subtype="FLOAT")
    facts = measure(tmp_path / "a.wav", seconds=10)
    assert (facts.duration_s, facts.rate_hz, facts.channels, facts.encoding) == (2.0, 16_000, 2, "WAV FLOAT")
    assert facts.peak_db == pytest.approx(-6.02, abs=0.01)
    assert facts.level_db == pytest.approx(-12.04, abs=0.01)
    assert facts.silent == pytest.approx(0.5)


def test_different_recordings_of_one_kind_do_not_match(tmp_path):
    for kind in ("siren", "engine", "rain", "bell"):
        words = [fingerprint(sound([seed], kind), rate=16_000) for seed in range(20)]
        assert find_matches(words, rate=16_000) == []


def test_short_and_silent_clips_have_no_fingerprint_that_matches(tmp_path):
    soundfile.write(tmp_path / "short.wav", sound([0])[:800], 16_000)
    short = fingerprint(load_waveform(tmp_path / "short.wav", Preprocessing()), rate=16_000)
    silent = fingerprint(np.zeros(32_000, np.float32), rate=16_000)
    assert len(short) <= 1
    assert not silent.any()
    assert find_matches([short, short, silent, silent], rate=16_000) == []
    assert find_matches([], rate=16_000) == []


def test_the_check_refuses_what_the_split_refuses(folder):
    config = AedConfig(dataset=DatasetSection(name="x", test_fold=9))
    findings = {finding.check: finding for finding in inspect_dataset(folder, config).findings}
    assert findings["split"].level == "error"
    assert findings["split"].message.endswith("; a run refuses the data set")
    one = folder / "meta" / "esc50.csv"
    rows = [row for row in csv.reader(one.read_text().splitlines()) if row[2] != "waves" or row[1] != "2"]
    with one.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    config = AedConfig(dataset=DatasetSection(name="x", test_fold=2))
    findings = {finding.check: finding for finding in inspect_dataset(folder, config).findings}
    assert findings["split"].message.startswith("the test part has no clip of ")
