"""Earlier splits: the file of their versions, what contradicts it, and the parts joined to a data set."""

import shutil

import pytest

from mlops_core.datasets.catalogue import DatasetChoice
from mlops_core.datasets.digests import tree_manifest
from mlops_core.datasets.earlier_splits import (
    EarlierSplit,
    dataset_version_text,
    earlier_part,
    join_parts,
    read_dataset_version,
)
from mlops_core.datasets.listing import list_data_files
from mlops_core.datasets.tree_walk import EARLIER_SPLIT_FOLDER, MARKER
from mlops_core.errors import ConfigError, DatasetError, UsageError
from mlops_core.runners.dataset_source import fetch_source
from mlops_core.workspace.assets.lineage import read_lineage
from mlops_core.workspace.assets.store import AssetStore
from mlops_core.workspace.store import Store

KEYS = ("split.train_dataset", "split.val_dataset", "split.dataset_version_path")


def earlier(path, **datasets):
    return EarlierSplit(versions=str(path), keys=KEYS, **{"train": "train", "val": "val", **datasets})


def test_versions_are_read_as_they_are_written_with_and_without_a_scheme(tmp_path):
    parts = {"train": "train-set:3", "val": "val-set:abcdef012345"}
    for scheme in ("", "scheme"):
        (tmp_path / "versions").write_text(dataset_version_text(parts, scheme=scheme))
        assert read_dataset_version(str(tmp_path / "versions"), key="k") == parts
    (tmp_path / "versions").write_text("\ufefftest: c:1\r\nval: b:1\r\ntrain: a:1\r\n")
    assert list(read_dataset_version(str(tmp_path / "versions"), key="k")) == ["train", "val", "test"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file"),
        (b"", "names no training part"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"train: a:1\t" * 900, "more than 4096 characters"),
        (b"train a:1", "has 'train a:1'"),
        (b"train: a:1\tvalid: b:1", "has 'valid: b:1'"),
        (b"train: a:1\ttrain: a:1", "names the part 'train' twice"),
        (b"train: a\tval: b:1", "names a for the part 'train' without a version"),
        (b"train: a:newest", "names newest for the part 'train' without a version"),
        (b"train: ../a:1", "does not name a data asset"),
        (b"val: b:1", "names no training part"),
        (b'{"train": "a:1"}', "expected 'train: NAME:VERSION'"),
    ],
)
def test_versions_that_are_not_valid_are_refused_in_one_line(tmp_path, content, words):
    path = tmp_path / "versions"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        read_dataset_version(str(path), key="split.dataset_version_path")
    message = str(refused.value)
    assert words in message
    assert "split.dataset_version_path" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("datasets", "words"),
    [
        ({"train": "other"}, "names train:1 for the part 'train', and split.train_dataset is 'other'"),
        ({"val": ""}, "names val:2 for the part 'val', and split.val_dataset is not set"),
        ({"val": "x:2"}, "names val:2 for the part 'val', and split.val_dataset is 'x:2'"),
    ],
)
def test_configuration_that_contradicts_the_versions_is_refused(tmp_path, datasets, words):
    (tmp_path / "versions").write_text("train: train:1\tval: val:2\t")
    with pytest.raises(ConfigError, match=words):
        earlier(tmp_path / "versions", **datasets).references()


def test_part_without_a_version_is_refused(tmp_path):
    (tmp_path / "versions").write_text("train: train:1\t")
    with pytest.raises(ConfigError, match="names no version of the part 'val'"):
        earlier(tmp_path / "versions").references()
    with pytest.raises(ConfigError, match="split.val_dataset: 'val@latest' does not name a data asset"):
        earlier(tmp_path / "versions", val="val@latest")


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "a.png").write_text("a")
    (folder / "labels.txt").write_text("a 1")
    (folder / MARKER).write_text("{}")
    for part in ("train", "val"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "annotations.jsonl").write_text(f"{part}\n")
    return folder


def parts_of(tmp_path):
    return {part: tmp_path / part for part in ("train", "val")}


def test_parts_are_joined_to_a_data_set_without_a_copy_and_its_digest_covers_them(data, tmp_path):
    before = tree_manifest(data).digest
    joined = join_parts(data, parts_of(tmp_path), below=tmp_path / "datasets")
    assert join_parts(data, parts_of(tmp_path), below=tmp_path / "datasets") == joined
    assert list_data_files(joined).files == list_data_files(data).files == ("images/a.png", "labels.txt")
    assert list_data_files(joined).skipped == {}
    assert (earlier_part(joined, "train") / "annotations.jsonl").read_text() == "train\n"
    assert earlier_part(joined, "test") is None
    assert earlier_part(data, "train") is None
    assert tree_manifest(data).digest == before
    copy = tmp_path / "copy"
    shutil.copytree(joined, copy)
    assert tree_manifest(copy).digest == tree_manifest(joined).digest != before
    (tmp_path / "val" / "annotations.jsonl").write_text("changed\n")
    assert tree_manifest(copy).digest != tree_manifest(joined).digest
    (data / "more.txt").write_text("b 1")
    again = join_parts(data, parts_of(tmp_path), below=tmp_path / "datasets")
    assert "more.txt" in list_data_files(again).files


def test_data_set_that_holds_an_earlier_split_is_refused(data, tmp_path):
    (data / EARLIER_SPLIT_FOLDER).mkdir()
    with pytest.raises(DatasetError, match="the data set holds an earlier split"):
        join_parts(data, parts_of(tmp_path), below=tmp_path / "datasets")
    assert not (tmp_path / "datasets").exists()


def test_links_that_cannot_be_made_leave_nothing_behind(data, tmp_path):
    (tmp_path / "datasets").write_text("a file")
    with pytest.raises(DatasetError, match="cannot be joined to"):
        join_parts(data, parts_of(tmp_path), below=tmp_path / "datasets")
    assert (tmp_path / "datasets").read_text() == "a file"


def fetched(store, data, split):
    choice = DatasetChoice(name="drawings", path=data, earlier_split=split)
    return fetch_source(None, choice, store=store)


def test_data_set_of_a_run_has_the_registered_parts(data, tmp_path, workspace):
    with Store(workspace) as store:
        assets = AssetStore(store)
        for part, folder in parts_of(tmp_path).items():
            assets.register_folder(part, folder)
        train = assets.find("train")
        (tmp_path / "versions").write_text(f"train: scheme:train:{train.version}\tval: scheme:val:1\t")
        source = fetched(store, data, earlier(tmp_path / "versions", train="train:1"))
        assert source.record.earlier_split == "train: train:1, val: val:1"
        assert source.record.assets == source.record.earlier_split
        assert source.record.digest == tree_manifest(source.path).digest
        assert read_lineage(store, train).runs == ()
        assert fetched(store, data, earlier(tmp_path / "versions", train="train:1")) == source


def test_parts_that_do_not_exist_have_changed_or_are_another_version_are_refused(data, tmp_path, workspace):
    with Store(workspace) as store:
        assets = AssetStore(store)
        assets.register_folder("val", tmp_path / "val")
        (tmp_path / "versions").write_text("train: train:1\tval: val:1\t")
        with pytest.raises(UsageError, match="no data asset 'train'"):
            fetched(store, data, earlier(tmp_path / "versions"))
        assets.register_folder("train", tmp_path / "train")
        (tmp_path / "train" / "annotations.jsonl").write_text("two\n")
        with pytest.raises(DatasetError, match="data asset train:1: the files in .* have changed"):
            fetched(store, data, earlier(tmp_path / "versions"))
        assets.register_folder("train", tmp_path / "train")
        (tmp_path / "versions").write_text("train: train:2\tval: val:1\t")
        with pytest.raises(UsageError, match=r"train_dataset names train:1, and .* names train:2, another version"):
            fetched(store, data, earlier(tmp_path / "versions", train="train:1"))
        (tmp_path / "versions").write_text("train: train:9\tval: val:1\t")
        with pytest.raises(UsageError, match="no version '9' of data asset 'train'"):
            fetched(store, data, earlier(tmp_path / "versions"))
        assert not list((workspace / "datasets").glob("joined-*"))
