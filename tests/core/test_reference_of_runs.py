"""Reference statistics travel: with the run, the model version and its export."""

import json
from dataclasses import replace

import pytest

import mlops_core
from mlops_core import file_digest
from mlops_core.cli import cli
from mlops_core.errors import DatasetError
from mlops_core.evaluation.reference_statistics import REFERENCE_FILE, read_reference
from mlops_core.serving.drift.replay.references import find_reference
from mlops_core.serving.models import find_model
from mlops_core.workspace.maintenance.housekeeping import find_garbage, remove_garbage
from mlops_core.workspace.registry import Registry
from mlops_core.workspace.store import Store


def show(capsys, workspace, *arguments):
    cli.main(["--workspace", str(workspace), "models", "show", "-u", "TOY", *arguments], standalone_mode=False)
    return capsys.readouterr().out


def test_the_reference_of_a_run_is_part_of_its_version_and_of_an_export(toy, workspace, tmp_path, capsys):
    record = mlops_core.run("TOY", workspace=workspace)
    path = workspace / "runs" / record.run_id / REFERENCE_FILE
    kept = read_reference(path)
    assert kept.source == "scores"
    with Store(workspace) as store:
        version = Registry(store).version("TOY", 1)
        remove_garbage(store, find_garbage(store, keep=0))
    assert version.reference == file_digest(path) == kept.digest
    assert json.loads(show(capsys, workspace, "--json"))["reference"] == kept.digest
    assert f"drift: no alarms; reference: {len(kept)} samples" in show(capsys, workspace)
    mlops_core.api.export_model("TOY", 1, tmp_path / "out", workspace=workspace)
    exported = find_model("TOY", f"{tmp_path / 'out'}/")
    assert find_reference(exported, workspace=tmp_path / "elsewhere") == kept


def test_another_reference_than_the_registered_one_is_refused(toy, workspace):
    record = mlops_core.run("TOY", workspace=workspace)
    path = workspace / "runs" / record.run_id / REFERENCE_FILE
    path.write_text(path.read_text().replace('"samples":["', '"samples":["x'))
    with pytest.raises(DatasetError, match="is not the reference with which TOY version 1 was registered"):
        find_reference(find_model("TOY", workspace=workspace), workspace=workspace)


def test_a_model_that_was_registered_without_a_reference_is_registered_again_with_one(toy, workspace):
    mlops_core.run("TOY", workspace=workspace)
    with Store(workspace) as store:
        registry = Registry(store)
        version = registry.version("TOY", 1)
        without = registry.register(replace(version, reference=""))  # as an older version of core did
        assert registry.register(version).version == 1
    assert without.version == 2
