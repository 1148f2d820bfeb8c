"""The inspection of a data set of pictures."""

import numpy as np
import pytest
from mlops_image_classification.data.inspection import inspect_dataset
from PIL import Image, ImageEnhance

from mlops_core import load_use_case

SOUND = {"unreadable pictures": "0", "empty files": "0"}
CONFIG = load_use_case("ROAD_SIGN").load_config().model


def texture(seed):
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((48, 48), Image.Resampling.BICUBIC)


@pytest.fixture
def data(tmp_path):
    parts = ("train", "test", "train")  # one track per class to train with, one to validate, one to test
    for number, (part, label) in enumerate((p, c) for p in parts for c in ("a", "b")):
        folder = tmp_path / part / label
        folder.mkdir(parents=True, exist_ok=True)
        for frame in range(3):
            texture(10 * number + frame).save(folder / f"{number:05d}_{frame:05d}.png")
    return tmp_path


def findings(data):
    return {finding.check: finding for finding in inspect_dataset(data, CONFIG).findings}


def test_a_sound_data_set_has_facts_and_no_findings(data):
    result = inspect_dataset(data, CONFIG)
    assert dict(result.facts) == {"pictures": "18", "classes": "2", "tracks or single pictures": "6", **SOUND}
    assert result.tables[0].columns == ("class", "train", "test")
    assert result.tables[0].rows == (("a", 6, 3), ("b", 6, 3))
    assert result.distributions[0].counts == (9, 9)
    assert result.findings == ()


def test_copies_conflicts_and_unreadable_files_are_named(data):
    texture(0).save(data / "train" / "b" / "00009_00000.ppm")
    ImageEnhance.Brightness(texture(1)).enhance(0.9).save(data / "test" / "a" / "00008_00000.png")
    (data / "train" / "a" / "00007_00000.png").write_bytes(b"no")
    result = findings(data)
    assert result["unreadable"].samples == ("train/a/00007_00000.png is not a readable image (2 bytes)",)
    conflict = ("train/a/00000_00000.png and train/b/00009_00000.ppm (equal pixels)",)
    assert result["exact copies"].samples == result["exact copies with different labels"].samples == conflict
    (near,) = result["near copies"].samples
    assert near.startswith("test/a/00008_00000.png and train/a/00000_00001.png (correlation ")
    assert near.endswith(" of 64 bits differ)")
    assert result["copies in two parts"].samples == (near,)
    assert "near copies with different labels" not in result
    assert inspect_dataset(data, CONFIG).errors == 2


def test_a_class_that_a_part_lacks_and_a_wrong_layout_are_errors(data):
    folder = data / "train" / "c"
    folder.mkdir()
    texture(99).save(folder / "1.png")
    assert findings(data)["classes"].samples == ("c",)
    (data / "test" / "c").mkdir()
    assert "class folder" in findings(data)["layout"].message


def test_a_track_in_two_parts_is_an_error(data):
    texture(77).save(data / "test" / "a" / "00000_00009.png")
    assert findings(data)["tracks"].samples == ("a/00000",)


def test_the_check_refuses_what_the_split_refuses(data):
    for name in ("00004_00000.png", "00004_00001.png", "00004_00002.png"):
        (data / "train" / "a" / name).unlink()  # one track is left, which cannot be in two parts
    result = findings(data)
    assert result["split"].level == "error"
    assert result["split"].message.startswith("the validation part has no picture of a; expected every class")
    assert result["split"].message.endswith("; a run refuses the data set")
    assert list(result) == ["split"]


def test_classes_that_hold_the_same_folders_are_probably_a_level_above_the_classes(tmp_path):
    for place, number in (
        (f"{top}/{name}", n) for top in ("day", "night") for name in ("sea", "forest") for n in (0, 1)
    ):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        texture(len(place) * 10 + number).save(tmp_path / place / f"{number:05d}_00000.png")
    assert findings(tmp_path)["layout"].samples == ("forest", "sea")
    texture(0).save(tmp_path / "day" / "00003_00000.png")
    assert "layout" not in findings(tmp_path)


def test_folders_of_tracks_are_no_classes_that_were_missed(tmp_path):
    for label, track, frame in ((c, t, f) for c in "ab" for t in (0, 1, 2) for f in (0, 1)):
        (tmp_path / label / f"track{track}").mkdir(parents=True, exist_ok=True)
        texture(ord(label) * 100 + 10 * track + frame).save(tmp_path / label / f"track{track}" / f"{frame:05d}.png")
    assert "layout" not in findings(tmp_path)
