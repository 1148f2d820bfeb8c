"""Which data set is which: by where it comes from; of generated data also by seed and code."""

import hashlib
import time
import uuid
import zipfile
from functools import partial
from pathlib import Path

import pytest

import mlops_core
from mlops_core import load_use_case
from mlops_core.datasets.catalogue import Dataset, DatasetChoice, GeneratedSource, Source
from mlops_core.datasets.digests import file_digest
from mlops_core.datasets.tree_walk import file_state
from mlops_core.errors import DatasetError, ExitCode
from mlops_core.runners.dataset_source import dataset_folder, fetch_source, source_identity
from mlops_core.workspace.store import Store


def test_data_generated_from_another_seed_is_stored_next_to_the_existing_data(toy, workspace):
    first, other = (mlops_core.run("TOY", workspace=workspace, seed=seed) for seed in (0, 1))
    assert first.dataset.files == other.dataset.files == 1
    assert first.dataset.digest != other.dataset.digest
    again = mlops_core.run("TOY", workspace=workspace, seed=0)
    assert again.dataset == first.dataset
    assert {str(step.status) for step in again.steps} == {"reused"}


def test_data_that_changed_since_they_were_fetched_are_refused_and_the_file_is_named(toy, workspace):
    first = mlops_core.run("TOY", workspace=workspace)
    path = Path(first.dataset.path) / "words.csv"
    text = path.read_text()
    path.write_text(text.replace("short", "long"))
    changed = mlops_core.run("TOY", workspace=workspace)
    assert (changed.status, changed.exit_code) == ("failed", ExitCode.DATASET)
    assert "has changed since it was fetched (words.csv): remove " in changed.error
    path.write_text(text)
    assert mlops_core.run("TOY", workspace=workspace).status == "accepted"


def test_changed_code_makes_other_data(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    name = f"generating_{uuid.uuid4().hex}"
    dataset = Dataset(name="words", title="Words", licence="CC0-1.0", sources=(GeneratedSource(run=f"{name}:words"),))
    found = []
    for text in ("def words(folder): ...", "def words(folder): pass", "def words(folder): ..."):
        (tmp_path / f"{name}.py").write_text(text)
        found.append(source_identity(dataset, seed=0))
    assert found[0] == found[2] != found[1]


@pytest.mark.slow_suite
def test_two_data_sets_of_one_name_do_not_replace_each_other(tmp_path):
    def place(address, seed):
        source = Source(url=f"https://example.org/{address}.zip", sha256="0" * 64, size=1)
        dataset = Dataset(name="words", title="Words", licence="CC0-1.0", sources=(source,))
        return dataset_folder(tmp_path, dataset, seed=seed)

    assert place("words", seed=0) == place("words", seed=7)
    assert place("words", seed=0) != place("other", seed=0)


def test_a_folder_of_the_user_without_a_required_file_is_refused_at_fetch(toy, workspace, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "other.csv").write_text("x,short\n")
    overrides = [f"dataset.path={tmp_path / 'data'}"]
    for _ in range(2):  # assembled, then from the cache
        record = mlops_core.run("TOY", workspace=workspace, overrides=overrides)
        assert record.exit_code == 5
        assert record.error == (
            f"dataset.path: {tmp_path / 'data'} has no words.csv, which the data set 'words' requires"
        )
        assert {str(step.status) for step in record.steps if step.name != "fetch"} == {"pending"}


def test_a_folder_under_a_name_of_its_own_or_in_another_layout_needs_no_file(toy):
    use_case = load_use_case("TOY")
    for name, required in (("mine", ()), ("words", ("words.csv",))):
        config = use_case.load_config(overrides=[f"dataset.name={name}", "dataset.path=."]).model
        assert use_case.dataset_choice(config).required == required
    scenes = load_use_case("SCENE")
    assert scenes.dataset_choice(scenes.load_config(overrides=["dataset.path=."]).model).required == ()


def zipped(folder, target, *more):
    with zipfile.ZipFile(target, "w") as content:
        for path in sorted(folder.iterdir()):
            if not path.name.startswith("."):
                content.write(path, path.name)
        for name in more:
            content.writestr(name, "x")
    return f"dataset.path={target}"


def test_an_archive_is_a_data_set_which_is_unpacked_once_and_equals_its_folder(toy, workspace, tmp_path):
    first = mlops_core.run("TOY", workspace=workspace)
    override = zipped(Path(first.dataset.path), tmp_path / "words.zip")
    found = mlops_core.run("TOY", workspace=workspace, overrides=[override])
    assert found.status == "accepted", found.error
    assert found.dataset.digest == first.dataset.digest
    again = mlops_core.run("TOY", workspace=workspace, overrides=[override])
    assert again.dataset.path == found.dataset.path
    assert {str(step.status) for step in again.steps} == {"reused"}
    path = Path(found.dataset.path) / "words.csv"
    path.write_text(path.read_text().replace("short", "long"))
    assert "was changed; remove it" in mlops_core.run("TOY", workspace=workspace, overrides=[override]).error


@pytest.mark.parametrize(
    ("harm", "words"),
    [("escape", "../evil"), ("cut", "damaged"), ("text", "neither a zip nor a tar archive"), ("lack", "words.csv")],
)
def test_an_archive_that_cannot_be_used_is_refused_and_nothing_is_left(toy, workspace, tmp_path, harm, words):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / ("other.csv" if harm == "lack" else "words.csv")).write_text("a,b\n" * 1000)
    override = zipped(tmp_path / "data", tmp_path / "words.zip", *(["../evil"] if harm == "escape" else []))
    archive = tmp_path / "words.zip"
    if harm == "cut":
        content = bytearray(archive.read_bytes())
        content[60:80] = bytes(20)
        archive.write_bytes(content)
    if harm == "text":
        archive.write_text("no archive")
    found = mlops_core.run("TOY", workspace=workspace, overrides=[override])
    assert found.exit_code == ExitCode.DATASET
    assert found.error.startswith("dataset.path: ")
    assert words in found.error
    assert not (tmp_path / "evil").exists()
    assert not [path for path in (workspace / "datasets").iterdir() if path.is_dir()]


def test_an_unpacked_archive_is_checked_for_the_files_that_each_use_requires(workspace, tmp_path):
    path = tmp_path / "words.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("words.csv", "a,short\n")
    with Store(workspace) as store:
        fetch = partial(fetch_source, None, store=store)
        first = fetch(DatasetChoice(name="words", path=path, required=("*.csv",)))
        again = fetch(DatasetChoice(name="words", path=path, required=("words.csv",)))
        assert (first.was_there, again.was_there, again.path) == (False, True, first.path)
        with pytest.raises(DatasetError, match=r"words\.zip has no meta/\*\.json, which the data set 'songs' requires"):
            fetch(DatasetChoice(name="songs", path=path, required=("words.csv", "meta/*.json")))


@pytest.mark.parametrize("required", [(), ("words.csv",), ("data/words.csv",)])
def test_a_folder_that_holds_all_of_an_archive_is_left_out_unless_it_is_required(workspace, tmp_path, required):
    path = tmp_path / "words.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data/words.csv", "a,short\n")
        archive.writestr("data/more/words.csv", "b,short\n")
        archive.writestr("__MACOSX/data/._words.csv", "x")
        archive.writestr(".DS_Store", "x")
    with Store(workspace) as store:
        found = fetch_source(None, DatasetChoice(name="words", path=path, required=required), store=store).path
        files = {str(file.relative_to(found)) for file in found.rglob("*") if file.is_file()}
    inner = {"words.csv", "more/words.csv"}
    if required == ("data/words.csv",):
        inner = {f"data/{name}" for name in inner} | {"__MACOSX/data/._words.csv", ".DS_Store"}
    assert files - {".mlops-dataset.json"} == inner


def test_the_layout_of_an_archive_with_several_folders_is_kept(workspace, tmp_path):
    path = tmp_path / "words.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train/words.csv", "a,short\n")
        archive.writestr("test/words.csv", "b,short\n")
    with Store(workspace) as store:
        found = fetch_source(None, DatasetChoice(name="words", path=path), store=store).path
        assert (found / "train" / "words.csv").is_file()
        with zipfile.ZipFile(path, "w"):
            pass
        with pytest.raises(DatasetError, match=r"^dataset\.path: .*words\.zip holds no file$"):
            fetch_source(None, DatasetChoice(name="words", path=path), store=store)


def test_an_archive_that_has_not_changed_is_not_read_again(workspace, tmp_path):
    path = tmp_path / "words.zip"
    path.write_bytes(b"first")
    time.sleep(0.1)  # a file that changed a moment ago is never taken from the cache
    with Store(workspace) as store:
        digest = file_digest(path, cache=store.file_digests)
        assert digest == hashlib.sha256(b"first").hexdigest()
        assert store.file_digests.lookup(str(path), file_state(path)) == digest
        store.file_digests.store([(str(path), file_state(path), "known")])
        assert file_digest(path, cache=store.file_digests) == "known"
        path.write_bytes(b"other words")
        assert file_digest(path, cache=store.file_digests) == hashlib.sha256(b"other words").hexdigest()
