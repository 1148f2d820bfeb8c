"""What a confined process can do to its driver, in processes of their own."""

import os
import stat
import subprocess
import sys

import pytest

from mlops_core.datasets.digests import iter_tree
from mlops_core.processes.confinement import landlock_version
from mlops_core.workspace.files import read_only_mode, write_atomically
from mlops_core.workspace.store import Store

SCRIPT = """
import os, signal, socket, sys
from pathlib import Path
from mlops_core.processes.confinement import confine_writes, hide_memory

driver = os.getpid()
listening = socket.socket(socket.AF_UNIX)
listening.bind(f"\\0mlops-test-{driver}")
listening.listen(1)
signal.signal(signal.SIGWINCH, signal.SIG_IGN)
if sys.argv[1] == "hidden":
    hide_memory()

def attempt(name, action):
    try:
        action()
        print(name, "possible")
    except PermissionError:
        print(name, "refused")

def kill_own_child():
    child = os.fork()
    if child == 0:
        signal.pause()
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL

if os.fork() == 0:
    assert confine_writes([Path(sys.argv[2])])
    attempt("signal", lambda: os.kill(driver, signal.SIGWINCH))
    attempt("abstract socket", lambda: socket.socket(socket.AF_UNIX).connect(f"\\0mlops-test-{driver}"))
    attempt("environment", lambda: Path(f"/proc/{driver}/environ").read_bytes())
    attempt("memory", lambda: Path(f"/proc/{driver}/mem").open("rb"))
    attempt("write", lambda: Path(sys.argv[2]).with_name("elsewhere").touch())
    attempt("own folder", lambda: (Path(sys.argv[2]) / "file").touch())
    attempt("own child", kill_own_child)
    if os.fork() == 0:
        os.execv(sys.executable, [sys.executable, "-c",
            "import sys\\ntry: open(f'/proc/{sys.argv[1]}/environ', 'rb').read(); print('after exec possible')\\n"
            "except PermissionError: print('after exec refused')", str(driver)])
    os.wait()
    os._exit(0)
os.wait()
"""
needs_scopes = pytest.mark.skipif(landlock_version() < 6, reason="needs Landlock's scopes (Linux 6.12)")


def attempts(tmp_path, driver):
    (tmp_path / "own").mkdir()
    command = [sys.executable, "-c", SCRIPT, driver, str(tmp_path / "own")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())


@needs_scopes
def test_a_confined_process_reaches_its_own_processes_only(tmp_path):
    assert attempts(tmp_path, "plain") == {
        "signal": "refused",
        "abstract socket": "refused",
        "environment": "refused",
        "memory": "refused",
        "write": "refused",
        "own folder": "possible",
        "own child": "possible",
        "after exec": "refused",
    }


@needs_scopes
def test_a_driver_that_hides_its_memory_cannot_be_read_even_as_root(tmp_path):
    result = attempts(tmp_path, "hidden")
    assert (result["environment"], result["memory"], result["after exec"]) == ("refused", "refused", "refused")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the command line hides its memory on Linux only")
def test_the_command_line_hides_its_memory_while_it_runs_steps(toy, workspace, tmp_path):
    code = (
        "import ctypes, sys\n"
        "from mlops_core.cli import _exit_code\n"
        f"code = _exit_code(['--workspace', {str(workspace)!r}, 'run', '-u', 'TOY'])\n"
        "print('dumpable', ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), code)\n"  # PR_GET_DUMPABLE
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "dumpable 0 0", done.stderr


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_files_of_a_run_have_the_modes_that_the_umask_allows(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        write_atomically(tmp_path / "run.json", "{}")
        with Store(tmp_path / "workspace") as store:
            folder = store.work_folder("step")
            (folder / "out").mkdir()
            (folder / "out" / "file").write_text("x")
            digest = store.artifacts.add(folder / "out")
            kept = store.artifacts.path(digest)
        assert read_only_mode() == mode & 0o444
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "run.json").stat().st_mode) == mode
    assert stat.S_IMODE((kept / "file").stat().st_mode) == mode & 0o444
    assert [file.path for file in iter_tree(kept)] == ["file"]
