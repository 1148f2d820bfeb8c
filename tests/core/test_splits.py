"""The format of ``split.csv``: what is written is read back, and damaged files are refused with file and row."""

import csv
import os
import tracemalloc
from dataclasses import replace

import pytest

from mlops_core import DatasetError, SplitRow, check_no_leak, file_digest, read_split, row_digest, write_split
from mlops_core.datasets.splits import SPLIT_FILE, manifest_digest

DIGEST = row_digest(["content"])


def row(sample="a.wav", *, group="g", label="bird", part="train", digest=DIGEST, **columns):
    return SplitRow(sample=sample, group=group, label=label, part=part, digest=digest, columns=columns)


def write(folder, text):
    (folder / SPLIT_FILE).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


AWKWARD = (
    "plain.wav",
    "line\nfeed.wav",
    "carriage\rreturn.wav",
    "both\r\nof them.wav",
    'comma, and "quotes".wav',
    '"',
    " spaces around ",
    "שלום.wav",
    os.fsdecode(b"latin \xe4\xff.wav"),
    "nul\0byte",
    "'",
    "#",
)


@pytest.mark.parametrize("column", ["sample", "group", "label", "column"])
def test_awkward_texts_survive_a_round_trip_in_every_column(tmp_path, column):
    rows = [
        SplitRow(
            sample=text if column == "sample" else f"{number}",
            group=text if column == "group" else "g",
            label=text if column == "label" else "l",
            part="test",
            digest=DIGEST,
            columns={"note": text if column == "column" else "n"},
        )
        for number, text in enumerate(AWKWARD)
    ]
    write_split(tmp_path, rows)
    assert list(read_split(tmp_path)) == rows


def test_a_column_name_with_separators_survives_a_round_trip(tmp_path):
    columns = {"x,\r\ny": "1", "\r": ""}
    rows = [SplitRow(sample="a", group="g", label="l", part="test", digest=DIGEST, columns=columns)]
    write_split(tmp_path, rows)
    assert list(read_split(tmp_path)) == rows


def test_the_file_is_plain_csv_with_the_required_columns_first(tmp_path):
    write_split(tmp_path, [row(fold="3"), row("b.wav", part="test", fold="4")])
    assert (tmp_path / SPLIT_FILE).read_text() == (
        f"sample,group,label,part,digest,fold\na.wav,g,bird,train,{DIGEST},3\nb.wav,g,bird,test,{DIGEST},4\n"
    )
    with (tmp_path / SPLIT_FILE).open(newline="") as stream:
        assert [cells["fold"] for cells in csv.DictReader(stream)] == ["3", "4"]


def test_rows_of_the_requested_parts_are_returned_in_the_order_of_the_file(tmp_path):
    parts = ("test", "train", "validation", "", "train")
    write_split(tmp_path, [row(str(number), part=part) for number, part in enumerate(parts)])
    assert [item.sample for item in read_split(tmp_path)] == ["0", "1", "2", "3", "4"]
    assert [item.sample for item in read_split(tmp_path, "train")] == ["1", "4"]
    assert [item.sample for item in read_split(tmp_path, "validation", "test")] == ["0", "2"]


def test_required_columns_are_found_in_any_order(tmp_path):
    write(tmp_path, f"part,size,digest,label,group,sample\ntest,9,{DIGEST},dog,g1,x.wav\n\n")
    assert list(read_split(tmp_path)) == [row("x.wav", group="g1", label="dog", part="test", size="9")]


def test_a_file_from_before_the_column_digest_is_read_with_empty_digests(tmp_path):
    write(tmp_path, "sample,group,label,part,fold\nx.wav,g1,dog,test,9\n")
    assert list(read_split(tmp_path)) == [row("x.wav", group="g1", label="dog", part="test", digest="", fold="9")]


@pytest.mark.parametrize("digest", ["", "abc", DIGEST.upper(), DIGEST + "0"])
def test_a_file_with_a_digest_that_is_none_is_refused(tmp_path, digest):
    write(tmp_path, f"sample,group,label,part,digest\nx.wav,g1,dog,test,{digest}\n")
    with pytest.raises(DatasetError, match=r"split\.csv \(row 2\): sample 'x\.wav' has .* expected the SHA-256"):
        list(read_split(tmp_path))


def test_the_digest_of_a_manifest_is_that_of_its_file_and_changes_with_every_cell(tmp_path):
    digests = set()
    for changed in ({}, {"group": "h"}, {"label": "dog"}, {"part": "test"}, {"digest": "0" * 64}, {"fold": "2"}):
        write_split(tmp_path, [row(**{"fold": "1", **changed})])
        digests.add(manifest_digest(tmp_path))
        assert manifest_digest(tmp_path) == file_digest(tmp_path / SPLIT_FILE)
    assert len(digests) == 6


def test_rows_have_the_same_digest_only_if_all_their_cells_are_the_same():
    assert row_digest(["1", "2"]) == row_digest(iter(("1", "2")))
    assert len({row_digest(cells) for cells in (["1", "2"], ["2", "1"], ["12"], ["1", "2", ""], ['1","2'])}) == 5


def test_a_split_without_samples_has_a_header_only(tmp_path):
    write_split(tmp_path, [])
    assert (tmp_path / SPLIT_FILE).read_text() == "sample,group,label,part,digest\n"
    assert list(read_split(tmp_path)) == []


def test_rows_of_a_split_can_be_checked_for_leaks(tmp_path):
    write_split(tmp_path, [row("1", group="g"), row("2", group="g", part="test")])
    with pytest.raises(DatasetError, match=r"'g' \(test and train\)"):
        check_no_leak({part: read_split(tmp_path, part) for part in ("train", "test")})


def test_a_row_can_be_a_member_of_a_set():
    assert len({row(fold="1"), row(fold="1"), row("b.wav")}) == 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(), row("b"), row()], r"split\.csv \(row 4\): sample 'a\.wav' appears twice; expected each sample once"),
        ([row(part="training")], r"\(row 2\): unknown part 'training'; expected 'train', .*did you mean 'train'"),
        ([row("")], r"\(row 2\): the sample is empty"),
        ([row(fold="1"), row("b")], r"\(row 3\): columns \[\]; expected those of row 2: \['fold'\]"),
        ([row("a", fold="1"), row("b", size="1")], r"\(row 3\): columns \['size'\]"),
        (
            [row(digest="")],
            r"\(row 2\): sample 'a\.wav' has no digest; expected the SHA-256 .*\.file_digest",
        ),
        ([row(digest="x")], r"\(row 2\): sample 'a\.wav' has the digest 'x'; expected the SHA-256"),
        ([replace(row(), columns={"part": "x"})], "column 'part'; expected"),
        ([replace(row(), columns={"digest": "x"})], "column 'digest'; expected"),
        ([replace(row(), columns={"": "x"})], "column ''; expected"),
        ([row("lone surrogate \ud800")], "cannot be written as UTF-8"),
    ],
)
def test_an_invalid_row_is_not_written_and_the_earlier_file_stays(tmp_path, rows, message):
    write_split(tmp_path, [row("earlier")])
    with pytest.raises(DatasetError, match=message):
        write_split(tmp_path, rows)
    assert [item.sample for item in read_split(tmp_path)] == ["earlier"]


HEADER = "sample,group,label,part\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"split\.csv \(row 1\): no column 'sample', 'group', 'label', 'part'; expected a header"),
        ("part,label,group,name\n", r"\(row 1\): no column 'sample'; expected a header with sample, group"),
        ("sample,group,label,part,x,x\n", r"\(row 1\): a column appears twice"),
        (HEADER + "a,g,l,test\nb,g,l\n", r"split\.csv \(row 3\): 3 cells; expected 4: sample, group, label, part"),
        (HEADER + "a,g,l,test,more\n", r"\(row 2\): 5 cells; expected 4"),
        (HEADER + "a,g,l,tset\n", r"\(row 2\): unknown part 'tset'; expected .*did you mean 'test'"),
        (HEADER + ",g,l,test\n", r"\(row 2\): the sample is empty"),
        (HEADER + "a,g,l,test\nb,g,l,test\na,g,l,train\n", r"\(row 4\): sample 'a' appears twice"),
        (HEADER + 'a,g,l,test\n"b,g,l,test\n', r"split\.csv \(row 3\): unexpected end of data; expected comma"),
        (HEADER + f"{'x' * 200_000},g,l,test\n", r"\(row 2\): field larger than field limit"),
    ],
)
def test_a_damaged_file_is_refused_with_its_name_and_row(tmp_path, text, message):
    with pytest.raises(DatasetError, match=message):
        list(read_split(write(tmp_path, text), "validation"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"split\.csv cannot be read: No such file.*; expected a file written by"):
        list(read_split(tmp_path))


def test_an_unknown_part_is_refused_before_the_first_row_is_asked_for(tmp_path):
    with pytest.raises(DatasetError, match="unknown part 'trian'; expected .*did you mean 'train'"):
        read_split(tmp_path, "trian")


@pytest.mark.slow_suite
def test_a_large_split_is_streamed(tmp_path):
    count = 100_000
    write_split(tmp_path, (row(f"{number:08d}", fold="1") for number in range(count)))
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_split(tmp_path)) == count
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 160 * count  # the names of the samples, to find duplicates; whole rows take more than 500 bytes each


@pytest.mark.parametrize("group", ["", " "])
def test_a_sample_without_a_group_is_refused_since_all_of_them_would_be_one_group(tmp_path, group):
    rows = [row("a.wav", group="g1"), row("b.wav", group=group), row("c.wav", group=group)]
    with pytest.raises(DatasetError, match=r"split\.csv \(row 3\): sample 'b\.wav' has no group; expected that of its"):
        write_split(tmp_path, rows)
    assert not (tmp_path / SPLIT_FILE).exists()
