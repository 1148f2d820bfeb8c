"""Which data set is which: by where it comes from; of generated data also by seed and code."""

import uuid
from pathlib import Path

import mlops_core
from mlops_core import load_use_case
from mlops_core.datasets.catalogue import Dataset, GeneratedSource, Source
from mlops_core.errors import ExitCode
from mlops_core.runners.dataset_source import dataset_folder, source_identity


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
