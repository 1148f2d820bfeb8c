"""Containers without Docker: what becomes of them when the emulator is killed."""

import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from mlops_sagemaker.emulator.jobs.containers import can_mount

EMULATOR = """\
import sys
from pathlib import Path
from mlops_sagemaker.emulator.jobs.containers import ContainerOrder, ProcessContainers
from mlops_sagemaker.emulator.jobs.tree import Tree

folder, has_mounts = Path(sys.argv[1]), sys.argv[2] == "mount"
code = "import os, time; print(os.getpid(), flush=True); time.sleep(120)"
order = ContainerOrder(
    command=("python3", "-c", code), environment={}, tree=Tree(folder / "tree"), log=folder / "log", timeout_s=120
)
ProcessContainers(has_mounts=has_mounts).run(order)
"""


def wait_for(condition, *, what, timeout_s=30.0):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.05)


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
@pytest.mark.parametrize("kind", ["mount", "rewrite"])
def test_container_ends_when_the_emulator_is_killed(tmp_path, kind):
    if kind == "mount" and not can_mount():
        pytest.skip("this system does not allow mount namespaces")
    log = tmp_path / "log"
    emulator = subprocess.Popen([sys.executable, "-c", textwrap.dedent(EMULATOR), str(tmp_path), kind])
    wait_for(lambda: log.exists() and log.read_text().endswith("\n"), what="the container has started")
    pid = int(log.read_text())
    emulator.kill()
    emulator.wait()
    wait_for(lambda: not is_running(pid), what="the container has ended")
