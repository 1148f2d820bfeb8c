"""The files and tags about a model for other programs are written from the registry, and name one best version."""

import json
import math

import pytest

import mlops_core
from mlops_core.cli import _exit_code
from mlops_core.workspace.metadata.model_files import model_metadata, model_tags, tag_changes
from mlops_core.workspace.model_versions import ModelVersion


def test_the_name_of_the_model_elsewhere_comes_from_the_environment(toy, workspace, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("MODEL_BASE_NAME", "pid_object_detection_model")
        record = mlops_core.run("TOY", workspace=workspace)
    for file in ("model_metadata.json", "best_model_metadata.json"):
        data = json.loads((workspace / "runs" / record.run_id / file).read_text())
        assert data["name"] == "pid_object_detection_model"


def test_a_run_writes_the_metadata_of_its_model_and_of_the_best_one(toy, workspace, tmp_path, capfd):
    first = mlops_core.run("TOY", workspace=workspace)
    folder = workspace / "runs" / first.run_id
    assert json.loads((folder / "model_metadata.json").read_text()) == {"name": "TOY", "version": "1", "acc": 1.0}
    assert json.loads((folder / "best_model_metadata.json").read_text()) == {"name": "TOY", "version": "1"}
    second = mlops_core.run("TOY", workspace=workspace, overrides=["training.bias=3"])
    assert second.model_version == 2
    folder = workspace / "runs" / second.run_id
    assert json.loads((folder / "model_metadata.json").read_text())["version"] == "2"
    assert json.loads((folder / "best_model_metadata.json").read_text())["version"] == "1"
    words = [
        "--workspace",
        str(workspace),
        "models",
        "metadata",
        "-u",
        "TOY",
        "best",
        "--output",
        str(tmp_path / "out"),
    ]
    assert _exit_code([*words, "--name", "symbols", "--json"]) == 0
    answer = json.loads(capfd.readouterr().out)
    assert answer["tags"]["best_model"] == "true"
    assert answer["tags"]["acc"] == "1.0"
    assert answer["tags"]["build_id"] == "local"
    assert json.loads((tmp_path / "out" / "model_metadata.json").read_text())["name"] == "symbols"


def test_metrics_that_are_no_numbers_become_no_tags():
    version = ModelVersion(
        use_case="TOY", version=4, run_id="r", created="", artifact="a", metrics={"acc": 0.5, "f1": math.nan},
        dataset_digest="ab" * 32, aliases=("best",),
    )  # fmt: skip
    assert model_metadata(version) == {"name": "TOY", "version": "4", "acc": 0.5}
    assert model_tags(version, environ={"BUILD_ID": "77", "BUILD_SOURCE": "main"}) == {
        "acc": "0.5", "best_model": "true", "build_source": "main", "build_id": "77", "dataset_version": "abababababab",
        "run_id": "r",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("tags", "best", "changes"),
    [
        ({"1": {}}, "1", (("1", "true"),)),
        ({"1": {"best_model": "true"}}, "1", ()),
        ({"1": {"best_model": "TRUE "}, "2": {}}, "2", (("1", "false"), ("2", "true"))),
        ({"1": {"best_model": "true"}, "2": {"best_model": "true"}}, "2", (("1", "false"),)),
        ({"1": {"best_model": "true"}}, "", (("1", "false"),)),
        ({"1": {"best_model": "None"}}, "", ()),
    ],
)
def test_the_old_mark_is_removed_before_the_new_one_is_set(tags, best, changes):
    assert tag_changes(tags, best) == changes
    after = dict({version: each.get("best_model", "") for version, each in tags.items()}, **dict(changes))
    assert [version for version, mark in after.items() if mark.strip().lower() == "true"] == ([best] if best else [])
