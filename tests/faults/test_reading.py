"""Reading a workspace while it is written, and where nothing can be written."""

import os
import shutil
import subprocess
import sys
import time

import pytest

from mlops_core.errors import ExitCode
from mlops_core.workspace.store import Store

READING = (
    ["models", "list"],
    ["models", "show", "-u", "TOY"],
    ["runs", "list"],
    ["runs", "show", "latest"],
    ["plan", "-u", "TOY"],
    ["plan", "-u", "TOY", "--set", "training.bias=3"],
    ["why", "latest", "train"],
    ["datasets", "check", "-u", "TOY"],
    ["gc", "--dry-run"],
    ["predict", "-u", "TOY", "/etc/hosts"],
)
QUICK_S = 15.0


def mlops(workspace, *arguments):
    began = time.monotonic()
    main = [sys.executable, "-c", "from mlops_core.cli import main; main()", "--workspace", str(workspace)]
    result = subprocess.run([*main, *arguments], capture_output=True, text=True, check=False, timeout=120)
    assert time.monotonic() - began < QUICK_S, f"{arguments} waited"
    return result


@pytest.fixture
def assert_everything_can_be_read(call):
    """Return a function that carries out every command that only reads."""

    def read(workspace):
        for arguments in READING:
            code, output, errors = call("--workspace", workspace, *arguments)
            assert code == 0, f"{arguments}: {errors}"
            assert output

    return read


def test_readers_do_not_wait_for_a_writer(ran, workspace, assert_everything_can_be_read):
    with Store(workspace) as store, store.transaction():
        assert_everything_can_be_read(workspace)


def test_a_full_disk_can_be_read_and_says_so_at_once(toy, small_disk, assert_everything_can_be_read):
    place = small_disk(8_000)
    workspace = place / "workspace"
    assert mlops(workspace, "run", "-u", "TOY").returncode == 0
    fill(place)
    assert_everything_can_be_read(workspace)
    for arguments in (["run", "-u", "TOY"], ["models", "approve", "1", "-u", "TOY", "--why", "good"]):
        result = mlops(workspace, *arguments)
        assert result.returncode == ExitCode.STEP
        assert "make room" in result.stderr


def fill(place):
    with (place / "filling").open("wb", buffering=0) as stream:
        for size in (1 << 20, 1 << 12, 1):
            while True:
                try:
                    stream.write(b"x" * size)
                except OSError:
                    break


KILLED = """
import os, sys
from pathlib import Path
from mlops_core.workspace.store import Store
store = Store(Path(sys.argv[1]))
store._db.execute("PRAGMA wal_autocheckpoint = 0")
store._db.execute("UPDATE runs SET duration_s = 7200")
os._exit(0)
"""


@pytest.mark.representatives(1)
@pytest.mark.parametrize("is_in_use", [False, True], ids=["closed", "killed"])
def test_a_read_only_workspace_can_be_read_as_it_is(toy, small_disk, is_in_use, assert_everything_can_be_read):
    place = small_disk(8_000)
    workspace = place / "workspace"
    assert mlops(workspace, "run", "-u", "TOY").returncode == 0
    if is_in_use:  # what a killed process committed is in the log only
        subprocess.run([sys.executable, "-c", KILLED, str(workspace)], check=True)
        (workspace / "mlops.db-shm").unlink()
    small_disk(8_000, ",ro")
    before = {path: path.stat().st_mtime_ns for path in workspace.rglob("*")}
    assert_everything_can_be_read(workspace)
    assert ("2 h" in mlops(workspace, "runs", "list").stdout) is is_in_use
    result = mlops(workspace, "models", "approve", "1", "-u", "TOY", "--why", "good")
    assert result.returncode == ExitCode.STEP
    assert "it can be read, but not written" in result.stderr
    assert {path: path.stat().st_mtime_ns for path in workspace.rglob("*")} == before
    small_disk(8_000, ",rw")


BEFORE = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1] + "/mlops.db")
database.executescript(
    "DROP INDEX runs_by_use_case; ALTER TABLE runs DROP COLUMN artifacts; DROP INDEX model_versions_by_identity;"
    "DROP INDEX model_versions_by_use_case; ALTER TABLE model_versions DROP COLUMN identity;"
    "DROP INDEX ledger_by_use_case; DROP TABLE ledger_head; PRAGMA user_version = 2"
)
"""


def test_a_read_only_workspace_of_an_older_version_can_be_read_as_it_is(toy, small_disk, assert_everything_can_be_read):
    place = small_disk(8_000)
    workspace = place / "workspace"
    assert mlops(workspace, "run", "-u", "TOY").returncode == 0
    subprocess.run([sys.executable, "-c", BEFORE, str(workspace)], check=True)
    small_disk(8_000, ",ro")
    before = (workspace / "mlops.db").read_bytes()
    assert_everything_can_be_read(workspace)
    result = mlops(workspace, "models", "approve", "1", "-u", "TOY", "--why", "good")
    assert result.returncode == ExitCode.STEP
    assert "it can be read, but not written" in result.stderr
    assert (workspace / "mlops.db").read_bytes() == before
    small_disk(8_000, ",rw")


@pytest.mark.parametrize("is_replaced", [False, True], ids=["removed", "replaced"])
def test_a_workspace_that_disappears_during_a_run_is_said_to_have_disappeared(toy, workspace, is_replaced):
    arguments = ["--workspace", str(workspace), "run", "-u", "TOY", "--set", "training.behaviour=sleep"]
    driver = subprocess.Popen(
        [sys.executable, "-c", "from mlops_core.cli import main; main()", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ},
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not list((workspace / "runs").glob("*/logs/train.log")):
        time.sleep(0.02)
    time.sleep(0.3)
    if is_replaced:
        workspace.rename(workspace.with_name("earlier"))
        Store(workspace).close()
    else:
        shutil.rmtree(workspace)
    _, errors = driver.communicate(timeout=60)
    assert driver.returncode == ExitCode.STEP, errors
    assert "has disappeared" in errors
    assert "no run" not in errors
    assert workspace.exists() == is_replaced
