"""Features of many clips: the same bytes for any number of workers, bounded memory, faults that name a clip."""

import csv
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from mlops_aed.audio.features import clip_patches
from mlops_aed.config import AedConfig, FeatureExtraction, Preprocessing
from mlops_aed.data.clips import Clip, read_split_classes, write_split
from mlops_aed.data.extraction import Extraction, extract
from mlops_aed.data.feature_store import FeatureWriter, open_features, read_left_out, read_rows
from mlops_aed.plugin import mlops_get_steps

from mlops_core import DatasetError, Shard, StepError, row_digest
from mlops_core.steps.context import StepRequest
from mlops_core.steps.execution import execute


def make_clips(folder, count, *, broken=()):
    (folder / "audio").mkdir(parents=True)
    draw = np.random.default_rng(0)
    clips = []
    for n in range(count):
        name = f"{n:03d}.wav"
        if n in broken:
            (folder / "audio" / name).write_bytes(b"nothing")
        else:
            soundfile.write(folder / "audio" / name, 0.1 * draw.standard_normal(16_000 + 4_000 * (n % 7)), 16_000)
        clips.append(
            Clip(name=name, label=("a", "b")[n % 2], group=str(n), fold=1, part="train", digest=row_digest([name]))
        )
    (folder / "split").mkdir()
    write_split(folder / "split", clips)
    return clips


def preprocess(folder, target, *, shards, max_unreadable=0):
    """Execute the step as a runner does: each shard, then the merge."""
    step = next(step for step in mlops_get_steps(AedConfig(), None) if step.name == "preprocess")
    sections = {
        "dataset": {"max_unreadable": max_unreadable},
        "preprocessing": {},
        "feature_extraction": {},
    }
    parts = []
    for index in range(shards + 1):
        is_merge = index == shards
        output, scratch = target / f"{index}", target / f"scratch{index}"
        output.mkdir(parents=True)
        scratch.mkdir()
        if is_merge and shards == 1:
            return target / "0"
        execute(
            StepRequest(
                use_case="AED",
                step=step,
                config=sections,
                parameters={},
                seed=0,
                shard=Shard(index=0 if is_merge else index, count=1 if is_merge else shards),
                inputs={"dataset": folder, "split": folder / "split"},
                outputs={"features": output},
                scratch=scratch,
                parts={"features": tuple(parts)} if is_merge else {},
            )
        )
        parts.append(output)
    return output


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_features_do_not_depend_on_the_number_of_shards(tmp_path):
    make_clips(tmp_path / "data", 41, broken=(3, 16, 40))
    found = [content(preprocess(tmp_path / "data", tmp_path / str(n), shards=n, max_unreadable=3)) for n in (1, 2, 3)]
    assert found[0] == found[1] == found[2]
    assert set(found[0]) == {"features.json", "patches.csv", "patches.f32"}


def test_patches_are_at_the_positions_of_their_rows(tmp_path):
    make_clips(tmp_path / "data", 40)
    folder = preprocess(tmp_path / "data", tmp_path / "out", shards=2)
    features = open_features(folder)
    assert isinstance(features, np.memmap)
    rows = read_rows(folder, "train")
    assert len(rows) == len(features)
    for row in rows[::7]:
        expected = clip_patches(tmp_path / "data" / "audio" / row.clip, Preprocessing(), FeatureExtraction())
        np.testing.assert_array_equal(features[row.index], expected[row.patch])


def test_too_many_unreadable_clips_of_all_shards_together_fail_the_step(tmp_path):
    make_clips(tmp_path / "data", 20, broken=(3, 16))
    with pytest.raises(DatasetError, match=r"2 of 20 clips cannot be used, at most .*=1 are left out: 016.wav cannot"):
        preprocess(tmp_path / "data", tmp_path / "out", shards=2, max_unreadable=1)
    folder = preprocess(tmp_path / "data", tmp_path / "again", shards=2, max_unreadable=2)
    assert [reason.split()[0] for reason in read_left_out(folder)] == ["003.wav", "016.wav"]


def test_clips_are_read_only_a_few_chunks_ahead(tmp_path):
    clips = make_clips(tmp_path / "data", 2)
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield clips[len(taken) % 2]

    (tmp_path / "spool").mkdir()
    work = Extraction(dataset=tmp_path / "data", preprocessing=Preprocessing(), features=FeatureExtraction())
    chunks = extract(endless(), work, spool=tmp_path / "spool", workers=2)
    for _ in range(5):
        next(chunks).path.unlink()
    assert len(taken) <= 16 * (5 + 7)
    chunks.close()


def test_a_worker_that_dies_is_an_error_that_names_a_clip_and_nothing_hangs(tmp_path):
    make_clips(tmp_path / "data", 60)
    (tmp_path / "spool").mkdir()
    code = f"""
import os, sys
from pathlib import Path
from mlops_aed.data import extraction
from mlops_aed.data.clips import read_split
from mlops_aed.config import FeatureExtraction, Preprocessing
folder = Path({str(tmp_path / "data")!r})
real = extraction.clip_patches
extraction.clip_patches = lambda path, *rest: os._exit(9) if path.name == "020.wav" else real(path, *rest)
work = extraction.Extraction(dataset=folder, preprocessing=Preprocessing(), features=FeatureExtraction())
try:
    list(extraction.extract(read_split(folder / "split"), work, spool=Path({str(tmp_path / "spool")!r}), workers=2))
except extraction.StepError as error:
    print(error)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "a process died while it read one of the clips from '0" in found.stdout
    assert issubclass(StepError, Exception)


def test_features_of_no_clip_can_be_opened(tmp_path):
    with FeatureWriter(tmp_path, classes=("a",), shape=(64, 96)):
        pass
    assert open_features(tmp_path).shape == (0, 64, 96)


def test_the_classes_of_a_split_are_counted_without_keeping_its_clips(tmp_path):
    make_clips(tmp_path / "data", 7)
    assert read_split_classes(tmp_path / "data" / "split") == (("a", "b"), 7)
    with (tmp_path / "data" / "split" / "split.csv").open() as stream:
        assert sum(1 for _ in csv.reader(stream)) == 8


def test_the_step_is_imported_without_librosa_scipy_or_tensorflow():
    code = (
        "import sys; import mlops_aed.steps.preprocess;"
        "print({'librosa', 'scipy', 'tensorflow', 'keras', 'numba'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
