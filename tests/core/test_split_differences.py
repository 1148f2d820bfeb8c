"""The difference between two splits, and ``mlops datasets splits diff``."""

import json

import pytest

from mlops_core import DatasetError, SplitRow, row_digest, write_split
from mlops_core.cli import cli
from mlops_core.datasets.split_differences import ChangedSample, SplitLeak, compare_splits
from mlops_core.errors import UsageError


def row(sample, part, *, group="", content="", label="x"):
    return SplitRow(
        sample=sample, group=group or sample, label=label, part=part, digest=row_digest([content or sample])
    )


def split(folder, *rows):
    folder.mkdir()
    write_split(folder, rows)
    return folder


@pytest.fixture
def pair(tmp_path):
    earlier = split(
        tmp_path / "earlier",
        row("kept", "train"),
        row("moved", "train"),
        row("gone", "train", content="copied"),
        row("recorded", "validation", group="speaker"),
        row("named", "test"),
        row("edited", "test"),
    )
    later = split(
        tmp_path / "later",
        row("kept", "train"),
        row("moved", "test"),
        row("copy", "test", content="copied"),
        row("other", "test", group="speaker"),
        row("named", "test", label="y", group="z"),
        row("edited", "test", content="new"),
    )
    return earlier, later


def test_every_kind_of_difference_is_found(pair):
    difference = compare_splits(*pair)
    assert not difference.is_equal
    assert dict(difference.counts) == {"train": (3, 1), "validation": (1, 0), "test": (2, 5)}
    assert difference.added == ("copy", "other")
    assert difference.removed == ("gone", "recorded")
    digests = {"earlier": row_digest(["edited"]), "later": row_digest(["new"])}
    assert difference.changed == (
        ChangedSample(sample="moved", field="part", earlier="train", later="test"),
        ChangedSample(sample="named", field="label", earlier="x", later="y"),
        ChangedSample(sample="named", field="group", earlier="named", later="z"),
        ChangedSample(sample="edited", field="digest", **digests),
    )
    assert difference.leaks == (
        SplitLeak(trained="moved", part="train", tested="moved", reason="same sample"),
        SplitLeak(trained="gone", part="train", tested="copy", reason="same content"),
        SplitLeak(trained="recorded", part="validation", tested="other", reason="same group"),
    )


def test_a_split_does_not_differ_from_itself(pair):
    difference = compare_splits(pair[0], pair[0])
    assert difference.is_equal
    assert (difference.added, difference.removed, difference.changed, difference.leaks) == ((), (), (), ())


def test_unknown_content_is_no_difference(pair, tmp_path):
    (tmp_path / "old").mkdir()
    lines = [f"{name},{name},x,train\n" for name in ("kept", "moved", "edited")]
    (tmp_path / "old" / "split.csv").write_text("".join(["sample,group,label,part\n", *lines]))
    difference = compare_splits(tmp_path / "old", pair[1])
    assert {one.field for one in difference.changed} == {"part"}
    assert {leak.reason for leak in difference.leaks} == {"same sample"}


# --- The command ----------------------------------------------------------------------------------------------


def diff(workspace, *arguments):
    cli.main(["--workspace", str(workspace), "datasets", "splits", "diff", *map(str, arguments)], standalone_mode=False)


def test_files_are_compared_as_text(pair, workspace, capsys):
    diff(workspace, pair[0] / "split.csv", pair[1])
    text = capsys.readouterr().out
    lines = [line.strip() for line in text.splitlines()]
    for line in (
        "added: 2 samples",
        "removed: 2 samples",
        "another part: 1 sample",
        "moved: train -> test",
        "named: x -> y",
        f"edited: {row_digest(['edited'])[:12]} -> {row_digest(['new'])[:12]}",
        "copy: same content as gone (train)",
        "other: same group as recorded (validation)",
    ):
        assert line in lines
    assert any(line.startswith("trained on in") and line.endswith("3 samples") for line in lines)


def test_files_are_compared_as_json(pair, workspace, capsys):
    diff(workspace, *pair, "--json")
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(compare_splits(*pair).to_json()))


def test_long_lists_are_shortened(tmp_path, workspace, capsys):
    one = split(tmp_path / "one", row("kept", "test"))
    many = split(tmp_path / "many", row("kept", "test"), *(row(str(number), "train") for number in range(50)))
    diff(workspace, one, many)
    text = capsys.readouterr().out
    assert "added: 50 samples" in text
    assert "and 40 more (--json shows all)" in text
    assert f"no test sample of {many} is trained on in {one}" in text


def test_runs_and_model_versions_are_compared(toy, ran, workspace, pair, capsys):
    capsys.readouterr()
    for arguments in (("latest", ran.run_id), ("-u", "toy", "1", "best")):
        diff(workspace, *arguments, "--json")
        difference = json.loads(capsys.readouterr().out)
        assert difference["is_equal"]
        assert difference["counts"] == {"train": [2, 2], "test": [60, 60]}
    diff(workspace, "latest", pair[0], "--split", "train.model", "--json")
    assert json.loads(capsys.readouterr().out)["removed"]
    with pytest.raises(
        UsageError, match=r"no split manifest 'train\.mdel'; did you mean 'train\.model'\?.*--split: train"
    ):
        diff(workspace, "latest", "latest", "--split", "train.mdel")
    with pytest.raises(UsageError, match="no run 'nope'"):
        diff(workspace, "nope", "latest")


def test_a_damaged_file_is_named(pair, workspace):
    (pair[1] / "split.csv").write_text("sample\n")
    with pytest.raises(DatasetError, match=r"later/split\.csv \(row 1\): no column"):
        diff(workspace, *pair)
