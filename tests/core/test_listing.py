"""Which files are data: hidden and tool files are skipped and counted, links followed, broken links named."""

import os

import pytest

from mlops_core import (
    DatasetError,
    findings_of_listing,
    fold_of_folder,
    is_hidden_or_tool,
    list_data_files,
    part_of_folder,
    placeholder_of,
)
from mlops_core.datasets.digests import iter_tree
from mlops_core.datasets.fetching.archives import unpack
from mlops_core.datasets.inspections import inspect_files
from mlops_core.datasets.tree_walk import MARKER


def write(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(os.fsencode(path))


def test_hidden_and_tool_files_are_skipped_and_counted(tmp_path):
    write(tmp_path, "a/1.png", "a/._1.png", "b/._2.png", "a/.DS_Store", "a/.ipynb_checkpoints/1.png")
    write(tmp_path, "@eaDir/1.png/thumb.jpg", "__MACOSX/a/._1.png", "a/.thumbnails/x/1.png", "b/Thumbs.db", MARKER)
    listed = list_data_files(tmp_path)
    assert listed.files == ("a/1.png",)
    assert listed.skipped == {
        "._*": 2,
        ".DS_Store": 1,
        ".ipynb_checkpoints": 1,
        "@eaDir": 1,
        "__MACOSX": 1,
        ".thumbnails": 1,
        "Thumbs.db": 1,
    }
    assert listed.skipped_text().startswith("8 hidden or tool files skipped: ._* (2), .DS_Store (1)")


@pytest.mark.parametrize("name", ["@eadir", "THUMBS.DB", "desktop.ini", "$RECYCLE.BIN", "#recycle", "Icon\r", ".git"])
def test_names_of_operating_systems_and_tools_are_known_in_any_case(name):
    assert is_hidden_or_tool(name)


@pytest.mark.parametrize("name", ["a.png", "_background_noise_", "__init__", "thumbs", "@home.wav", "icon"])
def test_other_names_are_data(name):
    assert not is_hidden_or_tool(name)


@pytest.mark.parametrize(
    ("part", "names"),
    [
        ("train", ("train", "Training", "TRAIN_SET", "training_set", "trainset", "train2017", "audio_train")),
        ("validation", ("val", "valid", "Validation", "val_set", "valid-images", "val2017")),
        (
            "test",
            ("test", "testing", "test_set", "test-images", "seg_test", "testset", "eval", "evaluation", "holdout"),
        ),
        (
            None,
            ("trains", "testament", "set", "images", "train_1", "cat", "tests", "contest", "2017", "_", "background"),
        ),
    ],
)
def test_folders_with_the_name_of_a_part_are_known(part, names):
    assert {name: part_of_folder(name) for name in names} == dict.fromkeys(names, part)


def test_folders_with_the_name_of_a_fold_are_known():
    names = ("fold1", "Fold 02", "fold_10", "split-3", "cv_fold4", "folder1", "fold", "fold100", "unfold1")
    assert [fold_of_folder(name) for name in names] == [1, 2, 10, 3, 4, None, None, None, None]


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 5\n"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (POINTER, "a pointer of Git LFS; get the content with: git lfs pull"),
        (b"\xef\xbb\xbf\n <!DOCTYPE HTML><p>Sign in", "a web page; download the file itself"),
        (b"<html>", "a web page; download the file itself"),
        (b"<?xml version='1.0'?><annotation/>", ""),
        (b"a,b\n", ""),
        (b"", ""),
    ],
)
def test_what_a_download_left_in_place_of_a_file_is_named(tmp_path, content, what):
    (tmp_path / "file").write_bytes(content)
    assert placeholder_of(tmp_path / "file") == what


@pytest.mark.parametrize("name", ["data.zip", "data.tar.gz"])
def test_an_archive_that_is_a_pointer_is_named_as_one(tmp_path, name):
    (tmp_path / name).write_bytes(POINTER)
    with pytest.raises(DatasetError, match=rf"{name} is a pointer of Git LFS; get the content with: git lfs pull"):
        unpack(tmp_path / name, tmp_path / "out")


def test_links_are_followed_as_in_the_digest(tmp_path):
    write(tmp_path, "elsewhere/deep/1.png", "data/2.png")
    data = tmp_path / "data"
    (data / "linked").symlink_to(tmp_path / "elsewhere")
    (data / "3.png").symlink_to(data / "2.png")
    assert list_data_files(data).files == ("2.png", "3.png", "linked/deep/1.png")
    assert tuple(file.path for file in iter_tree(data)) == list_data_files(data).files


def test_links_that_lead_to_nothing_or_upwards_are_named(tmp_path):
    write(tmp_path, "a/1.png")
    (tmp_path / "a" / "gone.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "a" / "itself.png").symlink_to("itself.png")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    listed = list_data_files(tmp_path)
    assert listed.files == ("a/1.png",)
    assert listed.broken == ("a/gone.png", "a/itself.png", "a/up")
    errors = [finding for finding in findings_of_listing(listed) if finding.level == "error"]
    assert [(finding.message[:7], finding.samples) for finding in errors] == [("3 links", listed.broken)]


def test_names_that_are_not_utf8_are_listed(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    write(tmp_path, name)
    assert list_data_files(tmp_path).files == (name,)


def test_pipes_are_not_data(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert list_data_files(tmp_path).files == ()


def test_inspection_of_files_leaves_out_what_is_not_data(tmp_path):
    write(tmp_path, "a.png", ".hidden.png")
    (tmp_path / "b.png").write_bytes(b"")
    (tmp_path / "gone.csv").symlink_to(tmp_path / "nowhere")
    found = inspect_files(tmp_path)
    assert found.tables[0].rows == ((".png", 2),)
    assert {finding.check: finding.samples for finding in found.findings} == {
        "empty files": ("b.png",),
        "broken links": ("gone.csv",),
        "hidden and tool files": (),
    }
