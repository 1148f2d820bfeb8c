"""Leaks of a split are refused, and both samples are named; copies within one part are accepted."""

import time
from dataclasses import replace

import pytest

from mlops_core import DatasetError, NearDuplicate, SplitRow, file_digest, row_digest, write_split
from mlops_core.datasets.leaks import check_digests, check_leaks, check_near_duplicates
from mlops_core.datasets.splits import EMPTY_DIGEST


def row(sample, part, *, group="", content="", **columns):
    digest = row_digest([content or sample])
    return SplitRow(sample=sample, group=group or sample, label="x", part=part, digest=digest, columns=columns)


def split(folder, *rows):
    write_split(folder, rows)
    return folder


def test_a_group_in_two_parts_is_refused(tmp_path):
    rows = [row("a", "train", group="g"), row("b", "train", group="g"), row("c", "test", group="g"), row("d", "test")]
    with pytest.raises(DatasetError, match=r"^split leaks: 'a' \(train\) and 'c' \(test\) are of the same group, 'g'"):
        check_leaks(split(tmp_path, *rows))


def test_equal_content_in_two_parts_is_refused(tmp_path):
    rows = [row("a", "validation", content="x"), row("b", "test", content="x"), row("c", "train")]
    with pytest.raises(
        DatasetError, match=r"^split leaks: 'a' \(validation\) and 'b' \(test\) have the same content, SHA-256 \w{12}; "
    ):
        check_leaks(split(tmp_path, *rows))


def test_the_number_of_leaks_is_given(tmp_path):
    rows = [row(f"{part}-{n}", part, content=str(n)) for part in ("train", "test") for n in range(4)]
    with pytest.raises(DatasetError, match=r"'train-0' \(train\) and 'test-0' .*; 3 more leaks like it; expected"):
        check_leaks(split(tmp_path, *rows))


def test_copies_and_groups_within_one_part_are_accepted(tmp_path):
    rows = [row("a", "test", group="g", content="x"), row("b", "test", group="g", content="x"), row("c", "train")]
    check_leaks(split(tmp_path, *rows), between_folds=True)


def test_empty_files_are_no_copies(tmp_path):
    rows = [replace(row(name, part), digest=EMPTY_DIGEST) for name, part in (("a", "train"), ("b", "test"))]
    check_leaks(split(tmp_path, *rows))


def test_samples_without_a_digest_do_not_leak(tmp_path):
    (tmp_path / "split.csv").write_text("sample,group,label,part\na,a,x,train\nb,b,x,test\n")
    check_leaks(tmp_path)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"group": "a"}, r"'a' \(fold 1\) and 'b' \(fold 2\) are of the same group"),
        ({"content": "a"}, r"'a' \(fold 1\) and 'b' \(fold 2\) have the same content"),
    ],
)
def test_folds_of_a_cross_validation_do_not_share_groups_or_content(tmp_path, second, message):
    folder = split(tmp_path, row("a", "", fold="1"), row("b", "", fold="2", **second))
    check_leaks(folder)
    with pytest.raises(DatasetError, match=message):
        check_leaks(folder, between_folds=True)


def test_near_duplicates_in_two_parts_are_refused_and_others_ignored(tmp_path):
    folder = split(tmp_path, row("a", "train"), row("b", "train"), row("c", "test"))
    accepted = [NearDuplicate(first="a", second="b"), NearDuplicate(first="a", second="left out")]
    check_near_duplicates(folder, accepted)
    with pytest.raises(
        DatasetError, match=r"^split leaks: 'b' \(train\) and 'c' \(test\) are near duplicates \(correlation 0\.99\); "
    ):
        check_near_duplicates(folder, [*accepted, NearDuplicate(first="b", second="c", reason="correlation 0.99")])


def test_pairs_are_read_one_by_one(tmp_path):
    def pairs():
        yield NearDuplicate(first="a", second="b")
        raise AssertionError("the second pair is not needed")

    with pytest.raises(DatasetError, match="near duplicates"):
        check_near_duplicates(split(tmp_path, row("a", "train"), row("b", "test")), pairs())


@pytest.mark.parametrize("columns", [{}, {"file": "sub/a.txt"}])
def test_a_wrong_digest_of_a_file_of_the_data_set_is_refused(tmp_path, columns):
    dataset = tmp_path / "data"
    (dataset / "sub").mkdir(parents=True)
    path = dataset / "sub" / "a.txt"
    path.write_text("content")
    sample = "a" if columns else "sub/a.txt"
    other = {"file": ""} if columns else {}
    right = SplitRow(sample=sample, group="g", label="x", part="test", digest=file_digest(path), columns=columns)
    check_digests(split(tmp_path, right, row("not a file", "train", **other)), dataset)
    wrong = row(sample, "test", **columns)
    with pytest.raises(DatasetError, match=rf"split: '{sample}' has the digest \w{{12}}, but .*a\.txt has \w{{12}}; "):
        check_digests(split(tmp_path, wrong), dataset)


def test_files_outside_of_the_data_set_are_not_read(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "secret.txt").write_text("content")
    names = ("../secret.txt", str(tmp_path / "secret.txt"), "nul\0byte", "x" * 5000)
    check_digests(split(tmp_path, *(row(name, "test") for name in names)), tmp_path / "data")


def test_a_hundred_thousand_rows_take_seconds_at_most(tmp_path):
    split(tmp_path, *(row(f"{number:06d}.wav", "test" if number % 5 else "train") for number in range(20_000)))
    began = time.process_time()
    check_leaks(tmp_path)
    assert time.process_time() - began < 1
