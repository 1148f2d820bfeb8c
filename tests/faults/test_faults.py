"""What breaks while a run is going on: kills at any moment, many at once, a full disk, the clock, a read-only disk.

How often each is tried is set by ``MLOPS_FAULT_ROUNDS`` (`make test-faults` sets 200); a few in the default suite.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mlops_core
from mlops_core.workspace.maintenance.housekeeping import database_fault, find_damage
from mlops_core.workspace.registry import Registry
from mlops_core.workspace.store import Store

ROUNDS = int(os.environ.get("MLOPS_FAULT_ROUNDS", "2"))
CHAIN = Path(__file__).parents[2] / "benchmarks" / "chain_plugin"
MLOPS = [sys.executable, "-c", "from mlops_core.cli import main; main()"]


def command(workspace, *arguments):
    return [*MLOPS, "--workspace", str(workspace), *arguments]


def mlops(workspace, *arguments):
    return subprocess.run(command(workspace, *arguments), capture_output=True, text=True, check=False, timeout=120)


def outputs(record):
    return {step.name: dict(step.outputs) for step in record.steps}


def assert_is_consistent(workspace):
    with Store(workspace) as store:
        assert database_fault(store) == ""
        assert list(find_damage(store)) == []


def descendants(pid):
    found = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                found += [int(child), *descendants(int(child))]
    return found


@pytest.fixture
def reference(toy, tmp_path):
    record = mlops_core.run("TOY", workspace=tmp_path / "reference")
    return outputs(record)


@pytest.mark.parametrize("victim", ["driver", "any process"])
def test_a_run_that_is_killed_at_any_moment_is_resumed_to_the_same_artifacts(reference, tmp_path, victim):
    chance = random.Random(f"kill {victim}")
    began = time.monotonic()
    assert mlops(tmp_path / "timing", "run", "-u", "TOY").returncode == 0
    duration = time.monotonic() - began
    for number in range(ROUNDS):
        workspace = tmp_path / f"killed-{number}"
        driver = subprocess.Popen(
            command(workspace, "run", "-u", "TOY"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(chance.uniform(0.05, duration * 1.1))
        processes = [driver.pid, *descendants(driver.pid)]
        with contextlib.suppress(ProcessLookupError):
            os.kill(driver.pid if victim == "driver" else chance.choice(processes), signal.SIGKILL)
        driver.wait(timeout=60)
        deadline = time.monotonic() + 10
        while any(Path(f"/proc/{pid}").exists() for pid in processes) and time.monotonic() < deadline:
            time.sleep(0.01)
        finished = {}
        if (workspace / "mlops.db").exists() and any((workspace / "runs").glob("*/run.json")):
            with contextlib.suppress(mlops_core.MlopsError):
                before = mlops_core.open_run(workspace=workspace)
                assert before.status != "running"
                finished = {step.name for step in before.steps if step.status in ("done", "reused")}
        again = ["run", "--resume", "latest"] if finished else ["run", "-u", "TOY"]
        result = mlops(workspace, *again)
        assert result.returncode == 0, result.stderr
        record = mlops_core.open_run(workspace=workspace)
        assert outputs(record) == reference
        assert {step.name for step in record.steps if step.status == "reused"} >= set(finished)
        assert_is_consistent(workspace)
        shutil.rmtree(workspace)


def test_many_runs_of_two_use_cases_at_once_in_one_workspace_end_well(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{os.environ['PYTHONPATH']}{os.pathsep}{CHAIN}")
    workspace = tmp_path / "shared"
    for number in range(max(1, ROUNDS // 10)):
        variants = [["-u", "TOY", "--set", f"training.bias={(number * 8 + index) / 1000}"] for index in range(3)]
        variants += [["-u", "TOY"], ["-u", "TOY", "--force", "preprocess"], ["-u", "TOY", "--force", "train"]]
        variants += [["-u", "CHAIN"], ["-u", "CHAIN", "--seed", str(number)]]
        drivers = [
            subprocess.Popen(command(workspace, "run", *variant), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for variant in variants
        ]
        for driver in drivers:
            _, err = driver.communicate(timeout=300)
            assert driver.returncode == 0, err.decode()
    assert_is_consistent(workspace)
    with Store(workspace) as store:
        versions = Registry(store).versions("TOY")
        assert sorted(version.version for version in versions) == list(range(1, len(versions) + 1))
        assert sum("best" in version.aliases for version in versions) == 1


def test_a_full_disk_fails_the_run_in_one_line_and_loses_nothing(reference, small_disk):
    sizes = [100 + 12 * index for index in range(max(3, min(ROUNDS, 60)))]
    refused = 0
    for kib in sizes:
        place = small_disk(kib)
        result = mlops(place / "workspace", "run", "-u", "TOY")
        refused += result.returncode != 0
        if result.returncode:
            assert result.returncode in (4, 5), result.stderr
            assert result.stderr.count("mlops: error:") == 1
            assert "Traceback" not in result.stderr
        small_disk(64_000)
        result = mlops(place / "workspace", "run", "-u", "TOY")
        assert result.returncode == 0, result.stderr
        record = mlops_core.open_run(workspace=place / "workspace")
        assert outputs(record) == reference
        assert_is_consistent(place / "workspace")
        shutil.rmtree(place / "workspace")
    assert refused


@pytest.mark.slow_suite
def test_a_read_only_workspace_is_said_in_one_line(toy, small_disk):
    place = small_disk(64_000)
    assert mlops(place / "workspace", "run", "-u", "TOY").returncode == 0
    small_disk(64_000, ",ro")
    result = mlops(place / "workspace", "run", "-u", "TOY")
    assert result.returncode == 4
    assert result.stderr.count("\n") == 1
    assert "set MLOPS_HOME to another folder" in result.stderr
    small_disk(64_000, ",rw")
    assert mlops(place / "workspace", "run", "-u", "TOY").returncode == 0


@pytest.mark.skipif(shutil.which("faketime") is None, reason="needs the program faketime to set the clock back")
def test_a_clock_that_is_set_back_changes_neither_order_nor_reuse(toy, workspace):
    assert mlops(workspace, "run", "-u", "TOY").returncode == 0
    first = mlops_core.open_run(workspace=workspace)
    back = ["faketime", "2001-02-03 04:05:06", *command(workspace, "run", "-u", "TOY")]
    assert subprocess.run(back, capture_output=True, check=False, timeout=120).returncode == 0
    second = mlops_core.open_run(workspace=workspace)
    assert second.created < first.created
    assert second.run_id != first.run_id
    assert {str(step.status) for step in second.steps} == {"reused"}


@pytest.mark.slow_suite
def test_ten_flipped_bits_are_found_and_made_good(ran, workspace):
    chance = random.Random(10)
    files = [path for path in (workspace / "objects").rglob("*") if path.is_file()]
    for _ in range(10):
        path = chance.choice(files)
        state = path.stat()
        data = bytearray(path.read_bytes())
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.chmod(0o644)
        path.write_bytes(data)
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    damaged = json.loads(mlops(workspace, "doctor", "--json").stdout)
    named = [finding for finding in damaged if finding["subject"].startswith("artifact ") and not finding["is_good"]]
    assert named
    assert all("has changed" in finding["detail"] for finding in named)
    assert mlops(workspace, "doctor", "--repair").returncode == 4
    assert mlops(workspace, "run", "--resume", ran.run_id).returncode == 0
    assert mlops_core.open_run(workspace=workspace).step("train").outputs == ran.step("train").outputs
    assert mlops(workspace, "doctor").returncode == 0


def test_a_second_interrupt_ends_at_once_and_leaves_a_run_that_can_be_resumed(toy, workspace):
    driver = subprocess.Popen(
        command(workspace, "run", "-u", "TOY", "--set", "training.behaviour=sleep"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not list((workspace / "runs").glob("*/logs/train.log")):
        time.sleep(0.02)
    driver.send_signal(signal.SIGINT)
    driver.send_signal(signal.SIGINT)
    assert driver.wait(timeout=5) == 130
    assert mlops_core.open_run(workspace=workspace).status == "stopped"
    assert mlops_core.run("TOY", workspace=workspace).step("preprocess").status == "reused"
