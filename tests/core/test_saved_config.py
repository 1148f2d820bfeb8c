"""A resumed run uses the values with which it began, or says which one it cannot have."""

import json

import pytest

from mlops_core import open_run, run
from mlops_core.api import run_folder
from mlops_core.config_files.loaded import REDACTED
from mlops_core.errors import UsageError
from mlops_core.workspace.records import RunStatus


@pytest.fixture
def stopped(toy, workspace, tmp_path, monkeypatch):
    """A run whose data folder comes from a variable with a secret's name, and whose training failed."""
    for name, word in (("first", "x"), ("second", "yy")):
        (tmp_path / name).mkdir()
        lines = [f"{word * n},{'long' if n > 6 else 'short'}" for n in range(1, 13)]
        (tmp_path / name / "words.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "c.yaml").write_text("dataset: {path: '${TOKEN_DIR}'}\ntraining: {behaviour: raise}\n")
    monkeypatch.setenv("TOKEN_DIR", str(tmp_path / "first"))
    record = run(toy, config=tmp_path / "c.yaml", workspace=workspace)
    assert record.status is RunStatus.FAILED
    yield record
    monkeypatch.delenv("TOKEN_DIR", raising=False)


def mend(workspace, run_id):
    """Let the training of the saved run succeed."""
    path = run_folder(run_id, workspace=workspace) / "config.yaml"
    path.write_text(path.read_text().replace("behaviour: raise", "behaviour: normal"))


def test_a_secret_is_kept_as_a_reference_and_resolved_again(stopped, workspace, tmp_path):
    folder = run_folder(stopped.run_id, workspace=workspace)
    assert "${TOKEN_DIR}" in (folder / "config.yaml").read_text()
    assert str(tmp_path) not in (folder / "config.yaml").read_text() + (folder / "secrets.json").read_text()
    mend(workspace, stopped.run_id)
    resumed = run(resume=stopped.run_id, workspace=workspace)
    assert resumed.status is RunStatus.ACCEPTED
    assert resumed.dataset.digest == stopped.dataset.digest
    assert resumed.dataset.path == str(tmp_path / "first")


def test_a_secret_that_changed_is_refused_by_name(stopped, workspace, tmp_path, monkeypatch):
    monkeypatch.setenv("TOKEN_DIR", str(tmp_path / "second"))
    with pytest.raises(UsageError, match=r"dataset.path \(\$\{TOKEN_DIR\}\) has another value than when the run began"):
        run(resume=stopped.run_id, workspace=workspace)
    assert open_run(stopped.run_id, workspace=workspace).status is RunStatus.FAILED


def test_a_secret_that_is_missing_is_refused_by_name(stopped, workspace, monkeypatch):
    monkeypatch.delenv("TOKEN_DIR")
    with pytest.raises(Exception, match="dataset.path needs the environment variable TOKEN_DIR, which is not set"):
        run(resume=stopped.run_id, workspace=workspace)


@pytest.mark.slow_suite
def test_a_secret_that_was_not_saved_is_refused(stopped, workspace):
    path = run_folder(stopped.run_id, workspace=workspace) / "config.yaml"
    path.write_text(path.read_text().replace("${TOKEN_DIR}", REDACTED))
    with pytest.raises(UsageError, match="the value of dataset.path is secret and was not saved"):
        run(resume=stopped.run_id, workspace=workspace)


@pytest.mark.slow_suite
def test_a_literal_dollar_sign_means_itself_after_a_resume(toy, workspace, tmp_path):
    folder = tmp_path / "${HOME}"
    folder.mkdir()
    (folder / "words.csv").write_text("\n".join(f"{'x' * n},{'long' if n > 6 else 'short'}" for n in range(1, 13)))
    settings = [f"dataset.path={folder}", "training.behaviour=raise"]
    record = run(toy, overrides=settings, workspace=workspace)
    assert record.dataset.path == str(folder)
    mend(workspace, record.run_id)
    resumed = run(resume=record.run_id, workspace=workspace)
    assert (resumed.status, resumed.dataset.path) == (RunStatus.ACCEPTED, str(folder))


@pytest.mark.slow_suite
def test_a_relative_data_folder_is_not_another_one_after_a_resume(stopped, toy, workspace, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    record = run(toy, overrides=["dataset.path=first", "training.behaviour=raise"], workspace=workspace)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "second").rename(tmp_path / "elsewhere" / "first")
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="dataset.path 'first' leads to .*elsewhere/first; resume it in the folder"):
        run(resume=record.run_id, workspace=workspace)


def test_a_run_without_secrets_keeps_no_digests(ran, workspace):
    assert not (run_folder(ran.run_id, workspace=workspace) / "secrets.json").exists()
    saved = json.loads((run_folder(ran.run_id, workspace=workspace) / "run.json").read_text())
    assert saved["config"] == (run_folder(ran.run_id, workspace=workspace) / "config.yaml").read_text()
