"""The pictures of a data set in each layout, and the errors about wrong layouts."""

import pytest
from mlops_image_classification.config import DatasetSection
from mlops_image_classification.data.labelled import Region
from mlops_image_classification.data.pictures import read_picture_set

from mlops_core import ConfigError, DatasetError, load_use_case

HEADER = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n"


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def settings(**values):
    return DatasetSection(name="any", **values)


def read(folder, **values):
    return read_picture_set(folder, settings(**values)).pictures


def gtsrb(folder, test_table=HEADER + "00000.ppm;40;41;5;6;34;35;7\n"):
    training = folder / "GTSRB" / "Final_Training" / "Images"
    for label in ("00000", "00007"):
        touch(training / label, "00000_00000.ppm", "00000_00001.ppm", "00001_00000.ppm")
        rows = [f"0000{t}_0000{f}.ppm;29;30;5;6;24;25;{int(label)}\n" for t, f in ((0, 0), (0, 1), (1, 0))]
        (training / label / f"GT-{label}.csv").write_text(HEADER + "".join(rows))
    test = folder / "GTSRB" / "Final_Test" / "Images"
    touch(test, "00000.ppm")
    if test_table is not None:
        (folder / "GT-final_test.csv").write_text(test_table)
    return folder


def test_the_official_archives_of_gtsrb_have_tracks_regions_and_a_test_part(tmp_path):
    result = read(gtsrb(tmp_path), group_pattern=r"^(\d+)_\d+\.")
    assert len(result) == 7
    first, test = (result[1], result[0])
    assert (test.part, test.label, test.region) == ("test", "00007", Region(left=5, top=6, right=34, bottom=35))
    assert test.group == test.name == "GTSRB/Final_Test/Images/00000.ppm"
    assert (first.part, first.label, first.region) == ("train", "00000", Region(left=5, top=6, right=24, bottom=25))
    assert [picture.group for picture in result[1:4]] == ["00000/00000", "00000/00000", "00000/00001"]
    assert [picture.number for picture in result] == list(range(7))


def test_tables_that_are_read_are_no_unused_files(tmp_path):
    touch(gtsrb(tmp_path), "notes.txt")
    assert read_picture_set(tmp_path, settings()).files.others == ("notes.txt",)


def test_the_training_archive_of_gtsrb_alone_has_no_parts(tmp_path):
    import shutil

    shutil.rmtree(gtsrb(tmp_path) / "GTSRB" / "Final_Test")
    assert {picture.part for picture in read(tmp_path)} == {""}


def test_a_table_that_lists_a_missing_file_lacks_a_column_or_is_missing_is_named(tmp_path):
    gtsrb(tmp_path / "a", test_table=HEADER + "00009.ppm;40;41;5;6;34;35;7\n")
    with pytest.raises(DatasetError, match=r"GT-final_test.csv lists 1 file\(s\) that are not in .*Images: 00009.ppm"):
        read(tmp_path / "a")
    gtsrb(tmp_path / "b", test_table="Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2\n00000.ppm;1;1;1;1;1;1\n")
    with pytest.raises(DatasetError, match=r"GT-final_test.csv lacks the column\(s\) ClassId"):
        read(tmp_path / "b")
    gtsrb(tmp_path / "c", test_table=None)
    with pytest.raises(DatasetError, match="GT-final_test.csv is missing"):
        read(tmp_path / "c")
    gtsrb(tmp_path / "d", test_table=HEADER + "00000.ppm;40;41;5;six;34;35;7\n")
    with pytest.raises(DatasetError, match=r"GT-final_test.csv \(line 2\)"):
        read(tmp_path / "d")


@pytest.mark.parametrize("inner", ["", "seg_train/"])
def test_train_and_test_folders_are_parts_even_one_level_deeper(tmp_path, inner):
    touch(tmp_path / "seg_train", f"{inner}sea/1.jpg", f"{inner}forest/2.jpg")
    touch(
        tmp_path / "seg_test",
        f"{inner.replace('train', 'test')}sea/1.jpg",
        "seg_test/forest/4.JPG" if inner else "forest/4.JPG",
    )
    touch(tmp_path / "seg_pred", "seg_pred/9.jpg")
    result = read(tmp_path)
    assert [(picture.part, picture.label) for picture in result] == [
        ("test", "forest"),
        ("test", "sea"),
        ("train", "forest"),
        ("train", "sea"),
    ]
    assert len({picture.group for picture in result}) == 4  # equal names in two parts are not a track


def test_a_track_has_one_name_in_all_parts_and_is_of_one_class(tmp_path):
    touch(
        tmp_path,
        "train/00001/00003_00001.png",
        "test/00001/00003_00002.png",
        "train/00002/00003_00001.png",
        "test/00002/x.png",
    )
    groups = {picture.name: picture.group for picture in read(tmp_path, group_pattern=r"^(\d+)_\d+\.")}
    assert groups["train/00001/00003_00001.png"] == groups["test/00001/00003_00002.png"] == "00001/00003"
    assert groups["train/00002/00003_00001.png"] == "00002/00003"
    assert groups["test/00002/x.png"] == "test/00002/x.png"


def test_class_folders_alone_have_no_part_and_other_files_are_ignored(tmp_path):
    touch(
        tmp_path,
        "a/1.png",
        "a/Thumbs.db",
        "a/.2.png",
        "b/deep/er/3.webp",
        ".git/x.png",
        "__MACOSX/a/1.png",
        "readme.txt",
    )
    assert [(picture.name, picture.part) for picture in read(tmp_path)] == [("a/1.png", ""), ("b/deep/er/3.webp", "")]


def test_an_empty_class_folder_is_named(tmp_path):
    touch(tmp_path, "train/a/1.png", "train/b/notes.txt", "test/a/1.png")
    with pytest.raises(DatasetError, match="the class folder .*train/b is empty"):
        read(tmp_path)


def test_unknown_layouts_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="absent is not a folder"):
        read(tmp_path / "absent")
    touch(tmp_path / "flat", "1.png")
    with pytest.raises(DatasetError, match="flat has no class folders"):
        read(tmp_path / "flat")
    touch(tmp_path / "only_test", "test/a/1.png")
    with pytest.raises(DatasetError, match="only_test has test, but no folder for training"):
        read(tmp_path / "only_test")
    touch(tmp_path / "one", "train/a/1.png")
    with pytest.raises(DatasetError, match=r"one: 1 class\(es\) \(a\); expected at least 2"):
        read(tmp_path / "one")
    touch(tmp_path / "two", "train/a/1.png", "Training/a/1.png")
    with pytest.raises(DatasetError, match="two has two folders for train"):
        read(tmp_path / "two")


def test_class_names_select_classes_and_unknown_ones_are_named(tmp_path):
    touch(tmp_path, "cat/1.png", "dog/1.png", "eel/1.png")
    assert {picture.label for picture in read(tmp_path, class_names=("cat", "eel"))} == {"cat", "eel"}
    with pytest.raises(ConfigError, match="no picture has the class 'dogg'; did you mean 'dog'"):
        read(tmp_path, class_names=("cat", "dogg"))


COPIED = "Width,Height,Roi.X1,Roi.Y1,Roi.X2,Roi.Y2,ClassId,Path\n"


def copied_gtsrb(folder, test_rows="40,41,5,6,34,35,7,Test/00000.png\n"):
    names = [f"Train/{c}/{c:05d}_{t:05d}_{f:05d}.png" for c in (0, 7) for t in (0, 1) for f in (0, 1)]
    touch(folder, *names, "Test/00000.png", "Meta/0.png", "train/0/00000_00000_00000.png")
    rows = [f"29,30,5,6,24,25,{name.split('/')[1]},{name}\n" for name in names]
    (folder / "Train.csv").write_text(COPIED + "".join(rows))
    (folder / "Test.csv").write_bytes((COPIED + test_rows).encode(errors="surrogateescape"))
    return folder


def test_gtsrb_with_tables_of_paths_has_tracks_regions_and_a_test_part(tmp_path):
    pattern = load_use_case("ROAD_SIGN").load_config().model.dataset.group_pattern
    data = read_picture_set(copied_gtsrb(tmp_path), settings(group_pattern=pattern))
    test, *training = data.pictures
    assert (test.name, test.part, test.label, test.group) == ("Test/00000.png", "test", "00007", "Test/00000.png")
    assert test.region == Region(left=5, top=6, right=34, bottom=35)
    assert {(picture.part, picture.label) for picture in training} == {("train", "00000"), ("train", "00007")}
    assert len(training) == 8
    assert len({picture.group for picture in training}) == 4
    assert (data.fit.matched, data.fit.total, data.fit.linked) == (8, 8, 4)
    assert data.beside == ("Meta/0.png", "train/0/00000_00000_00000.png")
    assert data.files.others == ()


def test_a_table_of_paths_that_is_wrong_is_named(tmp_path):
    for row, message in (
        ("40,41,5,6,34,35,7,Test/9.png\n", r"Test.csv lists 1 file\(s\) that are not in .*: Test/9.png"),
        ("40,41,5,six,34,35,7,Test/00000.png\n", r"Test.csv \(line 2\)"),
        ("40,41,5,6,34,35,7,Test/caf\udce9.png\n", r"Test.csv cannot be read: .*; expected a table in UTF-8"),
        ("40,41,5,6,34,35,7\n", r"Test.csv \(line 2\)"),
        ("40,41,5,6,34,35,7,Test/00000.png\n" * 2, r"Test.csv \(line 3\): 'Test/00000.png' is listed twice"),
    ):
        with pytest.raises(DatasetError, match=message):
            read(copied_gtsrb(tmp_path, row))


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("training_set/training_set", "test_set/test_set"),
        ("train_images", "test_images"),
        ("train2017", "val2017"),
        ("Training", "eval"),
        ("trainset", "holdout"),
    ],
)
def test_folders_of_parts_under_other_names_are_not_classes(tmp_path, train, test):
    pictures = read(touch(tmp_path, *(f"{part}/{label}/1.png" for part in (train, test) for label in ("cat", "dog"))))
    assert {picture.label for picture in pictures} == {"cat", "dog"}
    assert {picture.part for picture in pictures} == {"train", "validation" if test == "val2017" else "test"}


@pytest.mark.parametrize("inner", ["cat/", ""])
def test_folds_are_refused_as_classes(tmp_path, inner):
    with pytest.raises(DatasetError, match="fold1, fold_2 are folds, not classes; join them"):
        read(touch(tmp_path, f"fold1/{inner}1.png", f"fold_2/{inner}2.png"))


def test_a_folder_beside_the_parts_that_holds_the_same_classes_is_said(tmp_path):
    names = [f"{top}/{label}/1.png" for top in ("train", "test", "extra") for label in ("cat", "dog")]
    result = read_picture_set(touch(tmp_path, *names, "seg_pred/1.png"), settings())
    assert list(result.warnings()) == [
        "2 image(s) of the same classes are in folders that are not parts, not used: extra/cat/1.png, extra/dog/1.png"
    ]


def test_classes_that_differ_in_capital_letters_or_blanks_only_are_said(tmp_path):
    result = read_picture_set(touch(tmp_path, "Stop/1.png", "stop /2.png", "go/1.png"), settings())
    assert list(result.warnings()) == ["the classes 'Stop' and 'stop ' differ in capital letters or blanks only"]


def test_a_column_of_gtsrb_that_appears_twice_is_refused(tmp_path):
    table = "Filename;ClassId;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n00000.ppm;1;5;6;34;35;7\n"
    with pytest.raises(DatasetError, match=r"GT-final_test\.csv: the column\(s\) ClassId appear more than once"):
        read(gtsrb(tmp_path, test_table=table))


def test_a_folder_of_data_sets_does_not_hold_classes(tmp_path):
    touch(tmp_path, "signs/train/a/1.png", "signs/test/a/2.png", "scenes/train/b/1.png", "scenes/test/b/2.png")
    with pytest.raises(
        DatasetError, match=r"scenes is no class folder: it holds the parts test, train; set dataset.path"
    ):
        read(tmp_path)


def test_a_class_with_a_folder_that_is_called_as_a_part_is_a_class(tmp_path):
    touch(tmp_path, "a/test/1.png", "a/2.png", "b/1.png")
    assert {picture.label for picture in read(tmp_path)} == {"a", "b"}
