"""Tracks are recognised in the names that people use; a pattern that groups nothing is refused."""

import logging
import unicodedata

import pytest
from mlops_image_classification.config import DatasetSection
from mlops_image_classification.data.pictures import read_picture_set, read_pictures
from mlops_image_classification.data.tracks import track_in

from mlops_core import DatasetError, load_use_case

LOG = logging.getLogger("test")
PATTERN = load_use_case("ROAD_SIGN").load_config().model.dataset.group_pattern
OLD = r"^(\d+)_\d+\."


def data(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def read(folder, pattern=PATTERN):
    return read_picture_set(folder, DatasetSection(name="any", group_pattern=pattern))


@pytest.mark.parametrize(
    ("path", "track"),
    [
        ("00003_00012.png", "00003"),
        ("00014_00003_00012.png", "00014_00003"),
        ("00003-00012.png", "00003"),
        ("00003.00012.ppm", "00003"),
        ("00003 00012.jpeg", "00003"),
        ("00003__00012", "00003"),
        ("track-3 frame-12.jpg", "track-3"),
        ("GT_00003_f00012.png", "GT_00003"),
        ("00003/00012.png", "00003"),
        ("track3/frame12.png", "track3"),
        ("00003_00012 (1).png", "00003"),
        ("00003_00012(2).png", "00003"),
        ("00003_00012 - Copy.png", "00003"),
        ("00003_00012 - Copy (2).png", "00003"),
        ("00003_00012_aug1.png", "00003"),
        ("00003_00012_aug_2_copy.png", "00003"),
        ("00003_00012_flip.png", "00003"),
        ("00003_00012_mirrored_blur2.png", "00003"),
        ("00003_00012.ppm.png", "00003"),
        ("00003_00012_png_jpg.rf.4d3f20.jpg", "00003"),
        ("00003_00012_jpg.rf.0a1.jpg", "00003"),
        ("00012.png", None),
        ("stop.png", None),
    ],
)
def test_the_default_pattern_finds_the_track(path, track):
    assert track_in(path, PATTERN) == track


@pytest.mark.parametrize("separator", ["_", "-", " ", "."])
def test_frames_of_a_track_are_one_group_with_any_separator(tmp_path, separator):
    names = [separator.join((c, f"{t:05d}", f"{f:05d}")) for c in ("00000", "00001") for t in (0, 1) for f in (0, 1, 2)]
    result = read(data(tmp_path, *(f"{name[:5]}/{name}.png" for name in names)))
    assert len({picture.group for picture in result.pictures}) == 4
    assert (result.fit.matched, result.fit.total, result.fit.linked) == (12, 12, 4)
    assert list(result.warnings()) == []


def test_a_pattern_that_groups_nothing_is_refused_with_its_numbers(tmp_path):
    data(tmp_path, *(f"{c}/0000{c}_00000_0000{f}.png" for c in "01" for f in range(3)))
    result = read(tmp_path, OLD)
    with pytest.raises(DatasetError, match=r"groups nothing: 0 of 6 names match, .* such as 00000_00000_00000.png"):
        result.check()
    with pytest.raises(DatasetError, match="groups nothing"):
        read_pictures(tmp_path, DatasetSection(name="any", group_pattern=OLD), LOG)
    assert read(tmp_path, None).fit is None


def test_names_that_match_without_forming_a_group_are_refused(tmp_path):
    data(tmp_path, *(f"{c}/{f}_{f}.png" for c in "ab" for f in range(3)))
    with pytest.raises(DatasetError, match="groups nothing: 6 of 6 names match"):
        read(tmp_path).check()


def test_a_pattern_that_makes_a_class_one_track_is_refused(tmp_path):
    data(tmp_path, *(f"{c}/speed_{c}_{f}.png" for c in "12" for f in range(4)))
    with pytest.raises(DatasetError, match=r"makes one track of all pictures of 2 class\(es\), such as '1'"):
        read(tmp_path).check()


def test_a_pattern_that_matches_few_names_is_said(tmp_path):
    data(tmp_path, "a/1_1.png", "a/1_2.png", "a/x.png", "a/y.png", "b/z.png", "b/w.png", "b/v.png")
    (warning,) = read(tmp_path).warnings()
    assert warning.startswith(
        "dataset.group_pattern: 2 of 7 names match, 1 tracks; 5 picture(s) of other names are treated as unrelated: "
    )
    read(tmp_path).check()


def test_without_a_part_to_draw_single_pictures_are_accepted(tmp_path):
    parts = ("train", "val", "test")
    data(tmp_path, *(f"{part}/{label}/{part}.png" for part in parts for label in "ab"))
    found = read(tmp_path)
    found.check()
    assert len(found.pictures) == 6


def test_class_names_in_different_normal_forms_are_one_class(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "Fußgänger") for form in ("NFC", "NFD"))
    assert composed != decomposed
    data(tmp_path, f"train/{composed}/1.png", f"test/{decomposed}/2.png", "train/Stop/3.png", "test/Stop/4.png")
    pictures = read(tmp_path, None).pictures
    assert {picture.label for picture in pictures} == {composed, "Stop"}
    chosen = DatasetSection(name="any", class_names=(decomposed, "Stop"))
    assert len(read_picture_set(tmp_path, chosen).pictures) == 4


def test_tracks_in_different_normal_forms_are_one_group(tmp_path):
    first, second = (unicodedata.normalize(form, "Straße ä1_") for form in ("NFC", "NFD"))
    data(tmp_path, f"a/{first}1.png", f"a/{second}2.png", "b/1_1.png", "b/1_2.png")
    assert len({picture.group for picture in read(tmp_path).pictures}) == 2


def test_pictures_made_from_a_frame_belong_to_the_track_of_the_frame(tmp_path):
    """By their names alone they would be tracks of their own, beside the other frames in another part."""
    made = [
        f"{label}/0000{t}_0000{f}{end}.png" for label in "ab" for t in (0, 1) for f in (0, 1) for end in ("", "_rot_90")
    ]
    result = read(data(tmp_path, *made))
    assert {picture.group for picture in result.pictures} == {"a/00000", "a/00001", "b/00000", "b/00001"}
    assert {picture.track for picture in result.pictures} == {"00000", "00001"}


def test_a_longer_track_of_another_number_is_not_joined(tmp_path):
    names = [f"{label}/{track}_0000{f}.png" for label in "ab" for track in ("1", "10", "2_1") for f in (0, 1)]
    assert {picture.track for picture in read(data(tmp_path, *names)).pictures} == {"1", "10", "2_1"}


@pytest.mark.parametrize("name", ["frame{f}_track{t}.png", "frm{f}-{t}.png", "scene 1 frame_{f} sign {t}.png"])
def test_a_pattern_that_takes_frames_for_tracks_is_refused(tmp_path, name):
    names = [f"{label}/{name.format(f=f, t=t)}" for label in "ab" for t in (0, 1) for f in (0, 1, 2)]
    with pytest.raises(DatasetError, match="for a track, named like a frame; set it to a pattern"):
        read_pictures(data(tmp_path, *names), DatasetSection(name="any", group_pattern=PATTERN), LOG)
