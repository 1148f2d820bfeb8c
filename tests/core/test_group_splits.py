"""Groups are held out class by class; a split with an empty part or class is refused for every plugin."""

from collections import Counter

import pytest

from mlops_core import DatasetError, SplitRow, SplitSample, hold_out_groups, join_groups, row_digest, write_split
from mlops_core.datasets.group_splits import check_split_file
from mlops_core.datasets.splits import SPLIT_FILE


def samples(groups, labels, per_group=1):
    return [
        SplitSample(sample=f"{group}-{label}-{number}", group=str(group), label=label)
        for group in groups
        for label in labels
        for number in range(per_group)
    ]


def shares(data, held):
    totals = Counter(sample.label for sample in data)
    taken = Counter(sample.label for sample in data if sample.group in held)
    return {label: taken[label] / total for label, total in totals.items()}


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("groups", "share"), [(2, 0.3), (3, 0.3), (10, 0.3), (60, 0.2)])
def test_groups_that_have_all_classes_are_divided(groups, share, seed):
    data = samples(range(groups), ["yes", "no", "stop"], per_group=4)
    held = hold_out_groups(data, share=share, seed=seed)
    assert 0 < len(held) < groups
    assert all(abs(part - share) <= 0.5 / groups + 0.2 / groups + 1e-9 for part in shares(data, held).values())


@pytest.mark.parametrize("seed", range(20))
def test_groups_of_one_class_are_divided_class_by_class(seed):
    data = [sample for c in "abc" for sample in samples([f"{c}{n}" for n in range(10)], [c], per_group=2)]
    assert shares(data, hold_out_groups(data, share=0.3, seed=seed)) == {"a": 0.3, "b": 0.3, "c": 0.3}


@pytest.mark.parametrize("seed", range(20))
def test_a_rare_class_is_in_both_parts(seed):
    data = [*samples(range(20), ["common"], per_group=5), *samples([3, 17], ["rare"])]
    assert shares(data, hold_out_groups(data, share=0.2, seed=seed))["rare"] == 0.5


def test_the_choice_depends_on_the_seed_and_not_on_the_order_of_the_samples():
    data = samples(range(30), ["a", "b"])
    assert hold_out_groups(data, share=0.3, seed=1) == hold_out_groups(reversed(data), share=0.3, seed=1)
    assert len({hold_out_groups(data, share=0.3, seed=seed) for seed in range(5)}) == 5


def test_a_single_group_cannot_be_held_out():
    assert hold_out_groups(samples([1], ["a", "b"]), share=0.5, seed=0) == frozenset()


# --- The check ------------------------------------------------------------------------------------------------


def written(folder, *rows):
    """Write a split of rows given as (part, label)."""
    write_split(
        folder,
        [
            SplitRow(sample=str(n), group=str(n), label=label, part=part, digest=row_digest([str(n)]))
            for n, (part, label) in enumerate(rows)
        ],
    )
    return folder


BOTH = (("train", "a"), ("train", "b"), ("test", "a"), ("test", "b"))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("test", "a")] * 3, r"the train part of the split is empty \(0 train, 3 test\)"),
        ([("train", "a")] * 3, r"the test part of the split is empty \(3 train, 0 test\)"),
        ([("train", "a"), ("validation", "a")], r"the test part .* \(1 train, 0 test, 1 validation\)"),
        ([("train", "1.5")], "the test part of the split is empty"),
        ([*BOTH, ("train", "c")], r"the test part of the split has no sample of 'c' \(3 train, 2 test\)"),
        ([*BOTH, ("test", "c")], "the train part of the split has no sample of 'c'"),
        ([*BOTH, ("train", "a|c")], "the test part of the split has no sample of 'c'"),
    ],
)
def test_an_empty_part_or_class_is_refused(tmp_path, rows, message):
    with pytest.raises(DatasetError, match=message):
        check_split_file(written(tmp_path, *rows), is_trained=True)


@pytest.mark.parametrize(
    "rows",
    [
        BOTH,
        [*BOTH, ("validation", "a")],
        [*BOTH, ("train", "a|b")],
        [("train", "1.5"), ("train", "2"), ("test", "3")],
        [("", "a"), ("", "b")],
        [],
    ],
)
def test_a_sound_split_is_accepted(tmp_path, rows):
    check_split_file(written(tmp_path, *rows), is_trained=True)


def test_numbers_that_are_names_of_classes_are_classes(tmp_path):
    rows = (("train", "0"), ("train", "1"), ("test", "0"))
    check_split_file(written(tmp_path, *rows), is_trained=True)
    check_split_file(tmp_path, is_trained=True, known=("0", "2"))  # numbers of another meaning, such as counts
    with pytest.raises(DatasetError, match="the test part of the split has no sample of '1'"):
        check_split_file(tmp_path, is_trained=True, known=("0", "1"))


def test_without_a_training_test_samples_are_enough(tmp_path):
    check_split_file(written(tmp_path, ("test", "a"), ("test", "b")), is_trained=False)
    with pytest.raises(DatasetError, match="the test part of the split is empty"):
        check_split_file(written(tmp_path, ("train", "a")), is_trained=False)


def test_a_folder_without_a_split_is_accepted(tmp_path):
    check_split_file(tmp_path, is_trained=True)


def test_a_split_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / SPLIT_FILE).write_text("file;fold\na;1\n")
    with pytest.raises(DatasetError, match=r"split\.csv \(row 1\): no column 'sample'"):
        check_split_file(tmp_path, is_trained=True)


# --- Copies ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "joined"),
    [
        ([("a", "1"), ("b", "2")], {"a": "a", "b": "b"}),
        ([("b", "1"), ("a", "1")], {"a": "a", "b": "a"}),
        ([("c", "1"), ("b", "1"), ("b", "2"), ("a", "2"), ("d", "")], {"a": "a", "b": "a", "c": "a", "d": "d"}),
        ([("a", ""), ("b", "")], {"a": "a", "b": "b"}),
        ([], {}),
    ],
)
def test_groups_with_copies_are_joined(members, joined):
    assert join_groups(members) == joined
