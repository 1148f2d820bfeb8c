"""The split: groups stay together, mandatory lists are hard, empty pictures are kept, rare classes are reported."""

import pytest
from mlops_object_detection.config import DetectionConfig, SplitSection
from mlops_object_detection.data.pages import Box, Page
from mlops_object_detection.data.splitting import TEST, TRAIN, VALIDATION, divide, listed_parts
from pydantic import ValidationError

from mlops_core import DatasetError

CLASSES = ("flange", "pump", "valve")


def page(number, labels=CLASSES, *, folder="images"):
    boxes = tuple(Box(label=label, left=0.1, top=0.1, right=0.2, bottom=0.2) for label in labels)
    return Page(name=f"{folder}/{number}.jpg", width=100, height=100, boxes=boxes)


def divided(pages, *, seed=7, digests=None, group_pattern=None, listed=None, **settings):
    digests = {one.name: digests[one.name] if digests and one.name in digests else one.name for one in pages}
    return divide(
        pages, SplitSection(**settings), digests=digests, group_pattern=group_pattern, seed=seed, listed=listed
    )


def of_part(division, part):
    return {name for name, found in division.parts.items() if found == part}


PAGES = [page(number) for number in range(10)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("folds", [2, 5, 10])
def test_each_page_is_in_one_part_and_each_part_has_some(seed, folds):
    division = divided(PAGES, seed=seed, stratified_split_n_fold=folds)
    assert set(division.parts) == {one.name for one in PAGES}
    assert len(of_part(division, TEST)) == 10 // folds
    assert of_part(division, TRAIN)
    assert of_part(division, VALIDATION)


def test_the_folds_are_disjoint_and_cover_all_pages():
    tested = [of_part(divided(PAGES, test_fold=fold), TEST) for fold in range(5)]
    assert set().union(*tested) == {one.name for one in PAGES}
    assert sum(map(len, tested)) == 10


def test_the_split_does_not_depend_on_the_order_of_the_pages():
    assert divided(PAGES).parts == divided(list(reversed(PAGES))).parts


def test_the_classes_are_balanced_over_the_parts():
    pages = [page(number, ("pump",) * 4 if number % 2 else ("valve",) * 4) for number in range(20)]
    tested = of_part(divided(pages), TEST)
    labels = [one.boxes[0].label for one in pages if one.name in tested]
    assert labels.count("pump") == labels.count("valve") == 2


def test_pages_without_objects_are_kept_and_divided():
    pages = [*PAGES, *(page(f"empty-{number}", ()) for number in range(10))]
    division = divided(pages)
    empty = {one.name for one in pages if not one.boxes}
    assert empty <= division.parts.keys()
    assert empty & of_part(division, TEST)
    assert empty & of_part(division, TRAIN)


def test_a_class_of_one_page_stays_in_training_and_is_reported_by_name():
    for seed in range(10):
        pages = [*PAGES[:9], page(9, (*CLASSES, "rare"))]
        division = divided(pages, seed=seed, stratified_split_n_fold=10)
        assert division.parts["images/9.jpg"] == TRAIN
        assert list(division.unmeasured) == ["rare"]
        assert "1 group" in division.unmeasured["rare"]
        assert len(of_part(division, TEST)) == 1  # not bought with all pages on both sides


def test_mandatory_lists_hold_whatever_the_classes_are():
    pages = [*PAGES[:9], page(9, ("rare",))]
    division = divided(
        pages,
        mandatory_train_filenames=("0.jpg", "images/1.jpg"),
        mandatory_val_filenames="9.jpg;2.jpg;",
        mandatory_test_filenames=("3",),
    )
    assert division.parts["images/0.jpg"] == division.parts["images/1.jpg"] == TRAIN
    assert of_part(division, VALIDATION) == {"images/9.jpg", "images/2.jpg"}
    assert of_part(division, TEST) == {"images/3.jpg"}
    assert "no test image" in division.unmeasured["rare"]


def test_a_semicolon_alone_means_no_names():
    assert SplitSection(mandatory_val_filenames=";").mandatory_val_filenames == ()


def test_upsampled_copies_follow_their_page():
    pages = [*PAGES, page("3_upsampled_0.upsampled"), page("3_upsampled_1.upsampled")]
    division = divided(pages, mandatory_val_filenames=("3.jpg",))
    assert of_part(division, VALIDATION) == {
        "images/3.jpg",
        "images/3_upsampled_0.upsampled.jpg",
        "images/3_upsampled_1.upsampled.jpg",
    }


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"mandatory_train_filenames": ("33.jpg",)}, ("mandatory_train_filenames", "'33.jpg'", "did you mean '3.jpg'")),
        (
            {"mandatory_train_filenames": ("3.jpg",), "mandatory_val_filenames": ("images/3.jpg",)},
            ("mandatory_val_filenames", "mandatory_train_filenames", "images/3.jpg", "same group"),
        ),
        ({"mandatory_test_filenames": tuple(f"{number}.jpg" for number in range(10))}, ("train part", "0 images")),
    ],
)
def test_lists_that_cannot_hold_are_refused(settings, words):
    with pytest.raises(DatasetError) as error:
        divided(PAGES, **settings)
    for word in words:
        assert word in str(error.value)


def test_two_lists_cannot_divide_the_copies_of_a_page():
    with pytest.raises(DatasetError, match="same group"):
        divided(
            PAGES,
            digests={"images/0.jpg": "aa", "images/1.jpg": "aa"},
            mandatory_train_filenames=("0.jpg",),
            mandatory_test_filenames=("1.jpg",),
        )


@pytest.mark.parametrize("seed", range(5))
def test_equal_files_and_sheets_of_a_drawing_stay_together(seed):
    pages = [page(f"d{number // 2}-{number}") for number in range(20)]
    division = divided(
        pages,
        seed=seed,
        group_pattern=r"(d\d+)-",
        digests={"images/d0-0.jpg": "aa", "images/d9-19.jpg": "aa"},
    )
    parts = {}
    for name, group in division.groups.items():
        assert parts.setdefault(group, division.parts[name]) == division.parts[name]
    assert division.groups["images/d0-1.jpg"] == division.groups["images/d9-18.jpg"]


def test_a_group_pattern_that_matches_nothing_is_refused():
    with pytest.raises(DatasetError, match="matches none of 10 images"):
        divided(PAGES, group_pattern="(drawing-.)")


def test_folders_keep_their_parts():
    pages = [page(number, folder="train") for number in range(6)] + [page(number, folder="test") for number in "ab"]
    division = divided(pages)
    assert of_part(division, TEST) == {"test/a.jpg", "test/b.jpg"}
    assert len(of_part(division, VALIDATION)) == 1
    assert len(of_part(divided(pages, use_folders=False), TEST)) == 2


def test_folders_of_training_and_validation_alone_keep_their_parts():
    pages = [page(number, folder="train2017") for number in range(6)]
    division = divided([*pages, *(page(number, folder="val2017") for number in "ab")])
    assert of_part(division, VALIDATION) == {"val2017/a.jpg", "val2017/b.jpg"}
    assert len(of_part(division, TEST)) == 1


def write_list(folder, part, *names):
    (folder / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
    (folder / "ImageSets" / "Main" / f"{part}.txt").write_text("\n".join(names) + "\n")


def test_the_lists_of_a_voc_data_set_keep_their_parts(tmp_path):
    write_list(tmp_path, "train", *"01234")
    write_list(tmp_path, "val", "5")
    write_list(tmp_path, "test", "6", "7.jpg")
    write_list(tmp_path, "trainval", *"012345")
    write_list(tmp_path, "pump_train", "0  1", "1 -1")
    division = divided(PAGES, listed=listed_parts(tmp_path, PAGES))
    assert of_part(division, TEST) == {"images/6.jpg", "images/7.jpg"}
    assert of_part(division, VALIDATION) == {"images/5.jpg"}


def test_a_picture_in_two_lists_is_refused(tmp_path):
    write_list(tmp_path, "train", *"01234")
    write_list(tmp_path, "test", "6", "3")
    with pytest.raises(DatasetError, match=r"train.txt: '3' is in the list of the test part"):
        listed_parts(tmp_path, PAGES)


def test_a_copy_in_the_folders_of_two_parts_is_refused():
    pages = [page(number, folder="train") for number in range(4)] + [page(number, folder="test") for number in "ab"]
    with pytest.raises(DatasetError, match="lists or folders of two parts"):
        divided(pages, digests={"train/0.jpg": "aa", "test/a.jpg": "aa"})


def test_too_few_pages_are_refused():
    with pytest.raises(DatasetError, match="expected at least 2"):
        divided(PAGES[:1])


def test_without_stratification_pages_are_drawn_at_random():
    first, second = (of_part(divided(PAGES, seed=seed, use_stratified_split=False), TEST) for seed in (1, 2))
    assert len(first) == len(second) == 2
    assert first != second


@pytest.mark.parametrize("fold", [5, 7])
def test_a_fold_that_does_not_exist_is_refused(fold):
    with pytest.raises(ValidationError, match="0 to 4"):
        SplitSection(test_fold=fold)


def test_the_default_configuration_names_only_keys_of_the_model():
    assert DetectionConfig.model_validate({"dataset": {"name": "X"}}).split.stratified_split_n_fold == 5
