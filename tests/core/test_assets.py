"""Data assets: equal content has one version, runs refer to them, and what has changed since is refused."""

import json
import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

import mlops_core
from mlops_core.cli import _exit_code
from mlops_core.datasets.digests import tree_manifest
from mlops_core.errors import ConfigError, DatasetError, UsageError
from mlops_core.workspace.assets.store import AssetStore, DataAsset
from mlops_core.workspace.assets.tables import export_folder
from mlops_core.workspace.maintenance.housekeeping import find_garbage
from mlops_core.workspace.registry import Registry
from mlops_core.workspace.store import Store

LINE = '{"image_url": "0.jpg", "image_details": {"format": "jpg", "width": 9, "height": 9}, "label": []}\r\n'


@pytest.fixture
def words(tmp_path):
    folder = tmp_path / "words"
    folder.mkdir()
    (folder / "words.csv").write_text(
        "\n".join(f"{'x' * (n % 12 + 1)},{'long' if n % 12 > 5 else 'short'}" for n in range(60))
    )
    return folder


def mlops(capfd, workspace, *words):
    code = _exit_code(["--workspace", str(workspace), *map(str, words)])
    return code, capfd.readouterr()


def test_equal_content_has_one_version_and_other_content_the_next(workspace, words, tmp_path):
    with Store(workspace) as store:
        assets = AssetStore(store)
        first, is_new = assets.register_folder("words", words, licence="CC0-1.0")
        assert (str(first), is_new, first.files, first.kind) == ("words:1", True, 1, "folder")
        copy = tmp_path / "copy"
        copy.mkdir()
        (copy / "words.csv").write_bytes((words / "words.csv").read_bytes())
        again, is_new = assets.register_folder("words", copy)
        assert (again, is_new) == (replace(first, path=str(copy)), False)
        assert assets.register_folder("words", words) == (first, False)
        (copy / "words.csv").write_text("x,short\n")
        second, is_new = assets.register_folder("words", copy)
        assert (second.number, is_new) == (2, True)
        assert assets.versions("words") == (second, first)
        assert assets.find("words") == second
        assert assets.find("words:1") == assets.find(f"words:{first.version}") == assets.find("asset:words:1") == first
        for reference, message in (
            ("words:3", r"no version '3' of data asset 'words'; versions: 2 \("),
            ("word", "no data asset 'word'.*did you mean 'words'"),
        ):
            with pytest.raises(UsageError, match=message):
                assets.find(reference)
        with pytest.raises(UsageError, match="expected lower-case letters"):
            assets.register_folder("../words", words)
        (tmp_path / "empty").mkdir()
        with pytest.raises(DatasetError, match="is empty"):
            assets.register_folder("words", tmp_path / "empty")


def test_a_folder_that_was_moved_is_registered_from_its_new_place(toy, workspace, words, tmp_path, capfd):
    register = ("datasets", "register", "toy-words")
    assert mlops(capfd, workspace, *register, words, "--licence", "CC0-1.0")[0] == 0
    with Store(workspace) as store:
        first = AssetStore(store).find("toy-words")
    moved = tmp_path / "moved"
    words.rename(moved)
    gone = mlops_core.run("TOY", workspace=workspace, overrides=["dataset.path=asset:toy-words:1"])
    assert "is gone; expected its 1 files there; register the folder that has them now" in gone.error
    code, printed = mlops(capfd, workspace, *register, moved)
    assert code == 0
    assert f"toy-words:1 (version {first.version}) is registered already" in printed.out
    assert f"read from {moved}" in printed.out
    with Store(workspace) as store:
        assert AssetStore(store).versions("toy-words") == (replace(first, path=str(moved)),)
    record = mlops_core.run("TOY", workspace=workspace, overrides=["dataset.path=asset:toy-words:1"])
    assert (record.status, record.dataset.licence) == ("accepted", "CC0-1.0")


def test_facts_of_a_known_version_are_added_and_never_replaced(workspace, words, tmp_path, capfd):
    register = ("datasets", "register", "words", words)
    assert mlops(capfd, workspace, *register)[0] == 0
    assert mlops(capfd, workspace, *register, "--licence", "MIT", "--description", "Words.")[0] == 0
    for option, value, message in (
        ("--licence", "CC0-1.0", "data asset words:1: its licence is 'MIT', not 'CC0-1.0'"),
        ("--description", "Others.", "data asset words:1: its description is 'Words.', not 'Others.'"),
    ):
        code, printed = mlops(capfd, workspace, *register, option, value)
        assert code == 2
        assert message in printed.err
    copy = shutil.copytree(words, tmp_path / "copy")
    code, printed = mlops(capfd, workspace, "datasets", "register", "words", copy, "--licence", "GPL-3.0-only")
    assert code == 2
    with Store(workspace) as store:
        (asset,) = AssetStore(store).versions("words")
        assert (asset.licence, asset.description, asset.path) == ("MIT", "Words.", str(words))


def test_an_output_of_a_run_stays_where_housekeeping_keeps_it(toy, workspace, tmp_path, capfd):
    record = mlops_core.run("TOY", workspace=workspace)
    digest = next(step.outputs["features"] for step in record.steps if step.name == "preprocess")
    with Store(workspace) as store:
        copy = shutil.copytree(store.artifacts.path(digest), tmp_path / "copy")
        folder_first, _ = AssetStore(store).register_folder("features", copy)
    output = ("datasets", "register", "features", "--run", "latest", "--output", "preprocess.features")
    assert mlops(capfd, workspace, *output)[0] == 0
    with Store(workspace) as store:
        assets = AssetStore(store)
        asset = assets.find("features")
        assert (asset.number, asset.created) == (folder_first.number, folder_first.created)
        assert (asset.artifact, asset.path, asset.run_id) == (digest, "", record.run_id)
        assert assets.artifacts() == {digest}
        assert assets.register_folder("features", copy) == (asset, False)


def test_a_run_reads_an_asset_and_its_model_names_it(toy, workspace, words, capfd):
    code, printed = mlops(
        capfd, workspace, "datasets", "register", "toy-words", words, "--licence", "CC0-1.0", "--json"
    )
    assert code == 0
    assert json.loads(printed.out)["number"] == 1
    record = mlops_core.run("TOY", workspace=workspace, overrides=["dataset.path=asset:toy-words:1"])
    assert record.status == "accepted"
    assert (record.dataset.asset, record.dataset.licence) == ("toy-words:1", "CC0-1.0")
    assert mlops_core.open_run(record.run_id, workspace=workspace).dataset == record.dataset
    with Store(workspace) as store:
        (version,) = Registry(store).versions("TOY")
        assert version.dataset_asset == "toy-words:1"
        (output,) = [step.outputs["features"] for step in record.steps if step.name == "preprocess"]
    code, printed = mlops(capfd, workspace, "datasets", "lineage", "toy-words")
    assert f"used by: run {record.run_id} (TOY, accepted)" in printed.out
    assert "used by: model TOY version 1" in printed.out

    code, printed = mlops(
        capfd, workspace, "datasets", "register", "features", "--run", "latest", "--output", "preprocess.features"
    )
    assert code == 0, printed.err
    with Store(workspace) as store:
        asset = AssetStore(store).find("features")
        assert asset.artifact == output
        assert AssetStore(store).check(asset) == store.artifacts.path(output)
        store.runs.forget(record.run_id)
        assert output not in find_garbage(store, keep=0).artifacts
    code, printed = mlops(capfd, workspace, "datasets", "versions")
    assert "features:1" in printed.out

    (words / "words.csv").write_text("x,short\n")
    changed = mlops_core.run("TOY", workspace=workspace, overrides=["dataset.path=asset:toy-words"])
    assert changed.status == "failed"
    assert "data asset toy-words:1: the files in" in changed.error
    assert "have changed" in changed.error


def test_an_asset_may_stand_for_the_section_dataset(toy, workspace, words, tmp_path):
    with Store(workspace) as store:
        AssetStore(store).register_folder("toy-words", words)
    config = tmp_path / "config.yaml"
    config.write_text("dataset: toy-words:1\n")
    record = mlops_core.run("TOY", workspace=workspace, config=config)
    assert (record.status, record.dataset.asset) == ("accepted", "toy-words:1")
    again = mlops_core.run("TOY", workspace=workspace, overrides=["dataset=asset:toy-words:1"])
    assert {step.status for step in again.steps} == {"reused"}
    for value, message in (
        ("toy-words:2", r"no version '2' of data asset 'toy-words'; versions: 1 \("),
        ("toy-word:1", "no data asset 'toy-word'.*did you mean 'toy-words'"),
    ):
        failed = mlops_core.run("TOY", workspace=workspace, overrides=[f"dataset={value}"])
        assert failed.status == "failed"
        assert re.search(message, failed.error)
    with pytest.raises(ConfigError, match="dataset: 'toy-words'"):
        mlops_core.run("TOY", workspace=workspace, overrides=["dataset=toy-words"])


def test_a_table_is_exported_with_its_description_and_versions_are_named(workspace, tmp_path, capfd):
    folder = tmp_path / "train"
    folder.mkdir()
    (folder / "annotations.jsonl").write_text(LINE, newline="")
    assert mlops(capfd, workspace, "datasets", "register", "train-data-set", folder)[0] == 0
    target = tmp_path / "export"
    code, printed = mlops(capfd, workspace, "datasets", "export", "train-data-set", target, "--format", "mltable")
    assert code == 0, printed.err
    assert (target / "annotations.jsonl").read_bytes() == LINE.encode()
    text = (target / "MLTable").read_text()
    assert "- file: ./annotations.jsonl" in text
    assert "invalid_lines: error" in text
    with Store(workspace) as store:
        assert AssetStore(store).register_folder("train-table", target)[0].kind == "mltable"
        version = AssetStore(store).find("train-data-set").version
    path = tmp_path / "dataset_version"
    words = ("datasets", "export", "train=train-data-set", "val=train-table", path)
    assert mlops(capfd, workspace, *words, "--format", "dataset-version", "--scheme", "store")[0] == 0
    assert path.read_text().startswith(f"train: store:train-data-set:{version}\tval: store:train-table:")
    assert path.read_text().endswith("\t")
    code, printed = mlops(capfd, workspace, "datasets", "export", "train-data-set", target)
    assert code == 5
    assert "exists; expected the name of a new folder" in printed.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LINE + "{'a': 1}\n", "not JSON: .* (line 2)"),
        ("[1]\n", "expected an object with a text image_url (line 1)"),
        ('{"image_url": 3}\n', "expected an object with a text image_url (line 1)"),
    ],
)
def test_a_table_of_damaged_lines_is_not_exported(tmp_path, text, message):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "annotations.jsonl").write_text(text)
    asset = DataAsset(name="data", number=1, digest="0" * 64, kind="folder", files=1, size_bytes=1)
    with pytest.raises(DatasetError) as refused:
        export_folder(asset, folder, tmp_path / "target", as_table=True)
    assert message.partition(" .* ")[0] in str(refused.value)
    assert message.rpartition(" .* ")[2] in str(refused.value)
    assert not (tmp_path / "target").exists()
    (folder / "annotations.jsonl").unlink()
    (folder / "words.csv").touch()
    with pytest.raises(DatasetError, match="a table needs one file of JSON lines, .*; files of lines: none"):
        export_folder(asset, folder, tmp_path / "target", as_table=True)


def asset_of(folder):
    manifest = tree_manifest(folder)
    return DataAsset(name="data", number=1, digest=manifest.digest, kind="folder", files=manifest.count, size_bytes=9)


def test_an_export_has_the_files_of_the_digest_and_no_others(tmp_path):
    folder = tmp_path / "data"
    (folder / "inner" / "empty").mkdir(parents=True)
    (folder / "inner" / "a.csv").write_text("1\n")
    (folder / "inner" / "around").symlink_to(folder)
    (folder / "b.csv").symlink_to(folder / "inner" / "a.csv")
    (folder / ".mlops-dataset.json").write_text("{}")
    (folder / "inner" / "a.csv").chmod(0o400)
    asset, target = asset_of(folder), tmp_path / "new" / "target"
    export_folder(asset, folder, target, as_table=False)
    assert sorted(str(path.relative_to(target)) for path in target.rglob("*")) == ["b.csv", "inner", "inner/a.csv"]
    assert not (target / "b.csv").is_symlink()
    assert [path.stat().st_mode & 0o777 for path in (target, target / "inner", target / "b.csv")] == [
        0o755,
        0o755,
        0o644,
    ]
    assert tree_manifest(target).digest == asset.digest
    assert [path.name for path in target.parent.iterdir()] == ["target"]


def test_an_export_that_begins_during_another_to_the_same_target_disturbs_nothing(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.csv").write_text(f"{number}\n")
    asset, target = asset_of(folder), tmp_path / "target"
    copy, has_begun, is_first_done = shutil.copyfile, threading.Event(), threading.Event()

    def second():
        try:
            export_folder(asset, folder, target, as_table=False)
        except DatasetError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(1) as pool:
        others = []
        main = threading.current_thread()

        def copied(source, place, **options):
            if threading.current_thread() is not main:
                copy(source, place, **options)
                has_begun.set()
                is_first_done.wait(30)
                return place
            copy(source, place, **options)
            if len(list(Path(place).parent.iterdir())) == 3:  # the last file: now the other begins and has one file
                others.append(pool.submit(second))
                has_begun.wait(30)
            return place

        monkeypatch.setattr(shutil, "copyfile", copied)
        try:
            export_folder(asset, folder, target, as_table=False)
        finally:
            is_first_done.set()
        assert re.search("cannot be exported to .*target", others[0].result())
    assert tree_manifest(target).digest == asset.digest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "target"]
