"""A stored run is executed again and compared; what differs is named, and what could explain it."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from mlops_core import run
from mlops_core.api import reproduce, run_folder
from mlops_core.cli import cli
from mlops_core.errors import DatasetError, MlopsError, NotVerifiedError, StepError, UsageError
from mlops_core.runners.observers import SilentObserver
from mlops_core.trust.agreement import Agreement
from mlops_core.workspace.registry import Registry
from mlops_core.workspace.store import Store

TOY = Path(__file__).parents[1] / "toy"
DIGEST = "0" * 64


@pytest.fixture
def own_toy(tmp_path, monkeypatch):
    """A copy of the use case TOY whose code a test may change."""
    shutil.copytree(TOY, tmp_path / "toy")
    monkeypatch.syspath_prepend(str(tmp_path / "toy"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "toy"))
    imported = forget_toy()
    yield tmp_path / "toy" / "mlops_toy"
    forget_toy()
    sys.modules.update(imported)


def forget_toy():
    return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "mlops_toy"}


def again(run_id, workspace, **options):
    return reproduce(run_id, workspace=workspace, observer=SilentObserver(), **options)


def edit(workspace, run_id, change):
    """Change the record of a run as if another machine had written it."""
    path = run_folder(run_id, workspace=workspace) / "run.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def step_of(record, name):
    return next(step for step in record["steps"] if step["name"] == name)


def words(folder, count=60):
    folder.mkdir(exist_ok=True)
    lines = [f"{'x' * (n % 12 + 1)},{'long' if n % 12 + 1 > 6 else 'short'}" for n in range(count)]
    (folder / "words.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_a_run_is_reproduced_to_the_same_bytes(toy, workspace):
    record = run(toy, overrides=["training.bias=0.5"], parameters={"q_acc": "0.4"}, seed=3, workspace=workspace)
    result = again(record.run_id, workspace)
    assert [step.step for step in result.steps] == [step.name for step in record.steps]
    assert {step.agreement for step in result.steps} == {Agreement.SAME}
    assert (result.agreement, result.is_reproduced, result.other_differences) == (Agreement.SAME, True, ())
    assert [(metric.metric, metric.before == metric.now) for metric in result.metrics] == [("acc", True)]


def test_a_reproduction_leaves_the_workspace_as_it_was(toy, ran, workspace):
    again(ran.run_id, workspace)
    with Store(workspace) as store:
        assert [known.run_id for known in store.runs.newest()] == [ran.run_id]
        assert [version.version for version in Registry(store).versions(toy)] == [1]
        assert not list(store.work.iterdir())


@pytest.mark.slow_suite
def test_no_step_is_reused(toy, ran, workspace, tmp_path):
    result = again(ran.run_id, workspace, keep=tmp_path / "kept")
    with Store(tmp_path / "kept") as store:
        (new,) = store.runs.newest()
        assert {step.status for step in store.runs.load(new.run_id).steps} == {"done"}
        assert Registry(store).versions(toy) == ()
    assert result.folder == str(tmp_path / "kept")


def test_a_step_that_is_not_deterministic_is_named_and_nothing_explains_it(toy, workspace):
    record = run(toy, overrides=["training.behaviour=random"], workspace=workspace)
    result = again(record.run_id, workspace)
    by_name = {step.step: step for step in result.steps}
    assert by_name["preprocess"].agreement is Agreement.SAME
    assert by_name["train"].agreement is Agreement.DIFFERENT
    assert [output.files for output in by_name["train"].outputs] == [("noise",)]
    assert (by_name["train"].is_origin, by_name["train"].causes) == (True, ())
    assert result.agreement is Agreement.WITHIN


def test_changed_code_is_named_where_the_outputs_begin_to_differ(own_toy, workspace):
    record = run("TOY", workspace=workspace)
    (own_toy / "helper.py").write_text("FACTOR = 0.5\n")
    result = again(record.run_id, workspace)
    by_name = {step.step: step for step in result.steps}
    assert by_name["preprocess"].agreement is Agreement.SAME
    assert [change.component for change in by_name["train"].causes] == ["code mlops_toy.helper"]
    assert (by_name["evaluate"].agreement, by_name["evaluate"].is_origin) == (Agreement.DIFFERENT, False)
    assert result.metrics[0].now < result.metrics[0].before
    assert not result.is_reproduced


@pytest.mark.representatives(1)
@pytest.mark.parametrize(("tolerance", "agreement"), [(0.05, Agreement.WITHIN), (0.04, Agreement.DIFFERENT)])
def test_the_tolerance_of_the_run_decides(ran, workspace, tolerance, agreement):

    def change(data):
        data["pipeline"]["metrics"][0]["tolerance"] = tolerance
        step_of(data, "evaluate")["outputs"]["evaluation"] = DIGEST

    edit(workspace, ran.run_id, change)
    path = run_folder(ran.run_id, workspace=workspace) / "evaluation.json"
    evaluation = json.loads(path.read_text())
    evaluation["classification_metrics"]["acc"]["value"] = 0.95
    path.write_text(json.dumps(evaluation))
    result = again(ran.run_id, workspace)
    assert (result.steps[-1].agreement, result.metrics[0].agreement, result.agreement) == (agreement,) * 3


@pytest.mark.slow_suite
def test_packages_and_processor_explain_only_the_step_that_depends_on_them(ran, workspace):

    def change(data):
        step_of(data, "train")["outputs"]["model"] = DIGEST
        step_of(data, "train")["key_components"]["package numpy"] = "1.0"
        data["environment"] |= {"numpy": "1.0", "soxr": "0.1", "processor": "Another One"}
        del data["environment"]["cores"]

    edit(workspace, ran.run_id, change)
    result = again(ran.run_id, workspace)
    train = next(step for step in result.steps if step.step == "train")
    assert [change.component for change in train.causes] == ["package numpy", "processor"]
    assert train.causes[1].old == "Another One"
    assert "package soxr" in [change.component for change in result.other_differences]
    assert result.unrecorded == ("cores",)


@pytest.mark.slow_suite
def test_a_record_without_keys_is_explained_by_its_environment(ran, workspace):

    def change(data):
        for step in data["steps"]:
            step["key_components"] = {}
        step_of(data, "train")["outputs"]["model"] = DIGEST
        data["environment"]["python"] = "3.1.0"

    edit(workspace, ran.run_id, change)
    result = again(ran.run_id, workspace)
    assert [change.component for step in result.steps for change in step.causes] == ["python"]


def test_changed_data_is_refused_before_anything_runs(toy, workspace, tmp_path):
    record = run(toy, overrides=[f"dataset.path={words(tmp_path / 'data')}"], workspace=workspace)
    (tmp_path / "data" / "words.csv").write_text("x,short\n")
    with pytest.raises(
        DatasetError, match=rf"'words' in .*data is not the one that run {record.run_id} read: words.csv: its"
    ):
        again(record.run_id, workspace)


@pytest.mark.slow_suite
def test_missing_data_is_refused_and_can_be_named(toy, workspace, tmp_path):
    record = run(toy, overrides=[f"dataset.path={words(tmp_path / 'data')}"], workspace=workspace)
    (tmp_path / "data").rename(tmp_path / "moved")
    with pytest.raises(DatasetError, match="read the data set 'words' in .*data, which is gone; name .* --dataset"):
        again(record.run_id, workspace)
    assert again(record.run_id, workspace, dataset=tmp_path / "moved").agreement is Agreement.SAME


@pytest.mark.slow_suite
def test_generated_data_that_was_removed_is_generated_again(toy, workspace):
    record = run(toy, workspace=workspace)
    shutil.rmtree(record.dataset.path)
    assert again(record.run_id, workspace).agreement is Agreement.SAME


@pytest.mark.slow_suite
def test_a_run_whose_artifacts_are_gone_is_compared_by_digest(toy, workspace):
    record = run(toy, overrides=["training.behaviour=random"], workspace=workspace)
    for path in (workspace / "objects", workspace / "manifests"):
        for folder in (path, *path.rglob("*")):
            if folder.is_dir():
                folder.chmod(0o700)
        shutil.rmtree(path)
    result = again(record.run_id, workspace)
    by_name = {step.step: step for step in result.steps}
    assert by_name["train"].outputs[0].files == ()
    assert (by_name["evaluate"].agreement, result.agreement) == (Agreement.SAME, Agreement.WITHIN)


@pytest.mark.slow_suite
def test_without_the_metrics_of_the_run_no_tolerance_applies(toy, workspace):
    record = run(toy, overrides=["training.behaviour=random"], workspace=workspace)
    (run_folder(record.run_id, workspace=workspace) / "evaluation.json").unlink()
    with Store(workspace) as store:
        store.artifacts.discard(record.step("evaluate").outputs["evaluation"])
    result = again(record.run_id, workspace)
    assert (result.has_evaluation, result.agreement) == (False, Agreement.DIFFERENT)


@pytest.mark.slow_suite
def test_a_run_of_some_steps_is_reproduced(toy, workspace):
    record = run(toy, only=["preprocess"], workspace=workspace)
    result = again(record.run_id, workspace)
    assert [(step.step, step.agreement) for step in result.steps] == [("preprocess", Agreement.SAME)]


def test_the_steps_that_a_failed_run_finished_are_compared_and_its_failure_is_not_repeated(toy, workspace):
    record = run(toy, overrides=["training.behaviour=raise"], workspace=workspace)
    assert [step.step for step in again(record.run_id, workspace).steps] == ["preprocess"]


@pytest.mark.slow_suite
def test_a_failure_of_the_reproduction_has_its_exit_code(own_toy, workspace):
    record = run("TOY", workspace=workspace)
    (own_toy / "helper.py").write_text("FACTOR = 1 / 0\n")
    with pytest.raises(
        StepError, match=rf"run {record.run_id} cannot be reproduced: step 'preprocess' failed: .*--keep FOLDER"
    ):
        again(record.run_id, workspace)


@pytest.mark.representatives(2)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.update(dataset=None), "does not say which data set it read"),
        (lambda data: [step.update(outputs={}) for step in data["steps"]], "has no digest of an output"),
        (lambda data: data.update(status="stopped"), "it is stopped; resume it first: mlops run --resume"),
        (
            lambda data: [step.update(name=f"old-{step['name']}") for step in data["steps"]],
            "has none of its steps; install",
        ),
        (lambda data: data.update(use_case="GONE"), "no use case 'GONE'"),
    ],
)
def test_a_run_without_what_is_needed_is_refused_in_one_line(ran, workspace, change, message):
    edit(workspace, ran.run_id, change)
    with pytest.raises(MlopsError, match=message) as caught:
        again(ran.run_id, workspace)
    assert "\n" not in str(caught.value)


def test_a_secret_that_changed_is_refused(toy, workspace, tmp_path, monkeypatch):
    (tmp_path / "c.yaml").write_text("dataset: {path: '${TOKEN_DIR}'}\n")
    monkeypatch.setenv("TOKEN_DIR", str(words(tmp_path / "first")))
    record = run(toy, config=tmp_path / "c.yaml", workspace=workspace)
    monkeypatch.setenv("TOKEN_DIR", str(words(tmp_path / "second")))
    with pytest.raises(UsageError, match=r"cannot be reproduced: dataset.path \(\$\{TOKEN_DIR\}\) has another value"):
        again(record.run_id, workspace)
    monkeypatch.setenv("TOKEN_DIR", str(tmp_path / "first"))
    assert again(record.run_id, workspace).agreement is Agreement.SAME
    monkeypatch.delenv("TOKEN_DIR")


def command(capsys, *arguments):
    code = cli.main(args=["reproduce", *arguments], standalone_mode=False)
    return code, capsys.readouterr().out


def test_the_command_prints_steps_metrics_and_a_conclusion(own_toy, workspace, capsys, monkeypatch):
    monkeypatch.setenv("MLOPS_HOME", str(workspace))
    record = run("TOY", workspace=workspace)
    code, text = command(capsys, "latest")
    assert code == 0
    assert f"reproduced: all outputs of run {record.run_id} of TOY are the same bytes" in text
    (own_toy / "helper.py").write_text("FACTOR = 0.5\n")
    code, text = command(capsys, record.run_id)
    assert code == 3
    assert "of what the step depends on, this differs" in text
    assert "code mlops_toy.helper" in text
    assert f"not reproduced: run {record.run_id} of TOY has other results here" in text


def test_the_command_prints_json(toy, workspace, capsys, monkeypatch):
    monkeypatch.setenv("MLOPS_HOME", str(workspace))
    record = run(toy, workspace=workspace)
    code, text = command(capsys, "latest", "--json")
    data = json.loads(text)
    assert (code, data["original"], data["agreement"]) == (0, record.run_id, "same bytes")
    assert [step["agreement"] for step in data["steps"]] == ["same bytes"] * 3


def test_a_bundle_is_verified_and_reproduced_without_the_workspace_of_its_run(evidence, tmp_path):
    evidence.write(tmp_path / "b.tar")
    shutil.rmtree(evidence.workspace)
    result = again(tmp_path / "b.tar", tmp_path / "elsewhere", keys=evidence.keys)
    assert (result.original, result.agreement) == (evidence.runs[1], Agreement.SAME)
    assert all(metric.before == metric.now is not None for metric in result.metrics)


def test_nothing_of_a_bundle_is_run_that_is_not_verified(evidence, tmp_path):
    evidence.write(tmp_path / "b.tar")
    content = bytearray((tmp_path / "b.tar").read_bytes())
    place = content.index(b"training:")
    content[place : place + 8] = b"trainEng"
    (tmp_path / "b.tar").write_bytes(content)
    with pytest.raises(NotVerifiedError, match=r"b.tar is not verified: .*; nothing was run"):
        again(tmp_path / "b.tar", tmp_path / "elsewhere", keys=evidence.keys)
    with pytest.raises(NotVerifiedError, match="nothing was run"):
        again(evidence.bundle, tmp_path / "elsewhere")
