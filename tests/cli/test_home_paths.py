"""Paths of the command line that begin with a tilde, that no system has, or that are not text."""

import errno
import os
import shutil
import subprocess
import sys

import pytest

from mlops_core.cli import _exit_code
from mlops_core.reading import copying_fault

MLOPS = [sys.executable, "-c", "from mlops_core.cli import main; main()"]


@pytest.fixture
def mlops(toy, workspace, tmp_path):
    def call(*arguments, code=0):
        (tmp_path / "home").mkdir(exist_ok=True)
        environ = {**os.environ, "HOME": str(tmp_path / "home"), "MLOPS_HOME": str(workspace)}
        done = subprocess.run(
            [*MLOPS, *arguments], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
        return done.stderr

    return call


COMMANDS = [
    ("--workspace", "~nosuch-user/x", "list"),
    ("predict", "-u", "TOY", "~nosuch-user/x.txt"),
    ("run", "-u", "TOY", "--config", "~nosuch-user/c.yaml"),
    ("run", "-u", "TOY", "--artifacts-dir", "~nosuch-user/a"),
    ("compile", "-u", "TOY", "--runner", "sagemaker", "--output=~nosuch-user/d.json"),
    ("models", "export", "1", "~nosuch-user/model", "-u", "TOY"),
    ("keys", "new", "~nosuch-user/key.pem"),
    ("verify", "~nosuch-user/b.tar"),
    ("serve", "-u", "TOY", "--capture", "~nosuch-user/c"),
    ("plugin", "new", "BIRDS", "--into", "~nosuch-user/x"),
    ("sagemaker", "check", "~nosuch-user/d.json"),
    ("azureml", "check", "~nosuch-user/job.yml"),
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_the_home_of_an_unknown_user_is_a_usage_error_in_every_command(mlops, tmp_path, arguments):
    assert "the home folder of ~nosuch-user is not known" in mlops(*arguments, code=2)
    assert not list(tmp_path.rglob("~*"))


def test_a_tilde_that_a_shell_leaves_is_the_home_folder(mlops, tmp_path):
    mlops("keys", "new", "~/key.pem")
    mlops("compile", "-u", "TOY", "--runner", "sagemaker", "--output=~/definition.json")
    assert {path.name for path in (tmp_path / "home").iterdir()} >= {"key.pem", "definition.json"}
    assert not list(tmp_path.rglob("~*"))


def test_a_file_whose_name_begins_with_a_tilde_is_used(mlops, tmp_path):
    (tmp_path / "~draft.yaml").write_text("training: {bias: nonsense}\n")
    assert "~draft.yaml: training.bias" in mlops("run", "-u", "TOY", "--config", "~draft.yaml", code=2)


LONG = "x" * 300
TOO_LONG = [
    (("--workspace", LONG, "runs", "list"), 2),
    (("predict", "-u", "TOY", LONG), 2),
    (("models", "export", "1", LONG, "-u", "TOY"), 2),
    (("keys", "new", LONG), 2),
    (("run", "-u", "TOY", "--artifacts-dir", f"{LONG}/a"), 2),
    (("serve", "-u", "TOY", "--model", f"{LONG}/"), 2),
    (("fetch", "-u", "TOY", "--set", f"dataset.path={LONG}"), 5),
    (("run", "-u", "TOY", "--set", f"dataset.path={LONG}"), 5),
]


@pytest.mark.parametrize(("arguments", "code"), TOO_LONG, ids=[" ".join(each)[:40] for each, _ in TOO_LONG])
def test_a_name_that_no_system_has_is_no_defect(mlops, arguments, code):
    message = mlops(*arguments, code=code)
    assert "defect" not in message
    assert any(part in message for part in ("File name too long", "no folder", "does not exist"))


NOT_TEXT = os.fsdecode(b"caf\xe9")


@pytest.mark.parametrize(
    "arguments",
    [
        ("runs", "show", NOT_TEXT),
        ("runs", "compare", NOT_TEXT, NOT_TEXT),
        ("run", "-u", "TOY", f"--resume={NOT_TEXT}"),
        ("models", "list", "-u", NOT_TEXT),
        ("gc", "-u", NOT_TEXT),
        ("reproduce", NOT_TEXT),
        ("bundle", NOT_TEXT, "-o", "b.tar"),
        ("run", "-u", "TOY", "--set", f"dataset.path={NOT_TEXT}"),
    ],
    ids=ascii,
)
def test_an_argument_that_is_not_text_is_no_defect(toy, workspace, capsys, arguments):
    assert _exit_code(["--workspace", str(workspace), *arguments]) == 2
    assert "is not UTF-8 text" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "make room on the disk"),
        (errno.EDQUOT, "within the quota"),
        (errno.EROFS, "can be written"),
        (errno.EACCES, "who may read"),
        (errno.ELOOP, "leads to itself"),
        (errno.EMFILE, "ulimit -n"),
    ],
)
def test_what_the_system_refuses_is_no_defect_and_is_reported_as_it_is(
    toy, workspace, capsys, monkeypatch, number, advice
):
    def refuse(*_arguments, **_options):
        raise OSError(number, os.strerror(number), "/data/x")

    monkeypatch.setattr("mlops_core.workspace.runs.RunStore.newest", refuse)
    assert _exit_code(["--workspace", str(workspace), "runs", "list"]) == 4
    message = capsys.readouterr().err
    assert f"mlops: error: /data/x: {os.strerror(number)}; " in message
    assert advice in message


def test_a_folder_that_cannot_be_written_is_reported_with_its_own_reason(mlops, tmp_path):
    mlops("run", "-u", "TOY")
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "file").write_text("")
    assert "Too many levels of symbolic links" in mlops("models", "export", "1", "circle/m", "-u", "TOY", code=2)
    assert "Not a directory" in mlops("models", "export", "1", "file/m", "-u", "TOY", code=2)
    assert "circle is a link that leads to itself" in mlops("run", "-u", "TOY", "--artifacts-dir", "circle/a", code=2)


def test_why_a_folder_cannot_be_copied_is_one_reason_without_a_list(tmp_path):
    rows = [("/a/x", "/b/x", "[Errno 28] No space left on device: '/a/x' -> '/b/x'"), ("/a/y", "/b/y", "[Errno 28] z")]
    assert copying_fault(shutil.Error(rows)) == "No space left on device (/a/x and 1 others)"
    assert copying_fault(OSError(errno.EROFS, "Read-only file system", "/b")) == "Read-only file system"
