"""What a step touches is seen by the interpreter itself, whatever library touches it."""

import os
import shutil
import socket
import tempfile
from pathlib import Path

import pytest

from mlops_core.processes.confinement import child_pids
from mlops_core.steps.observation import recorded
from mlops_core.testing.observation.execution import Surrounding, code_folders
from mlops_core.testing.observation.processes import Call, Processes
from mlops_core.testing.observation.trees import differences, is_below, tree


def observed(action):
    with recorded() as recorder:
        action()
    return recorder.events


def test_reads_and_writes_are_distinguished(tmp_path):
    path = tmp_path / "a.txt"
    assert ("write", str(path)) in observed(lambda: path.write_text("x"))
    assert observed(path.read_text) == {("read", str(path))}
    assert ("write", str(path)) in observed(lambda: os.close(os.open(path, os.O_RDWR)))


def test_a_relative_path_is_resolved_against_the_working_directory(tmp_path):
    Path("b.txt").write_text("x")
    assert observed(lambda: Path("b.txt").read_text()) == {("read", str(tmp_path / "b.txt"))}


def test_probing_for_a_missing_file_is_not_a_read(tmp_path):
    def probe():
        with pytest.raises(FileNotFoundError):
            (tmp_path / "none").read_text()

    assert observed(probe) == set()


@pytest.mark.parametrize(
    "action",
    [
        lambda folder: (folder / "x").rename(folder / "y"),
        lambda folder: (folder / "x").unlink(),
        lambda folder: (folder / "x").chmod(0o600),
        lambda folder: os.truncate(folder / "x", 0),
        lambda folder: shutil.copy(folder / "x", folder / "z"),
        lambda folder: (folder / "link").symlink_to("x"),
    ],
)
def test_every_kind_of_change_is_a_write(tmp_path, action):
    (tmp_path / "x").write_text("x")
    assert "write" in {kind for kind, _ in observed(lambda: action(tmp_path))}


def test_removing_a_temporary_folder_reports_absolute_paths():
    def make_and_remove():
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "deep").mkdir()
            (Path(folder) / "deep" / "file").touch()

    strangers = [path for _, path in observed(make_and_remove) if not is_below(path, [tempfile.gettempdir()])]
    assert strangers == []


def test_a_failed_connection_is_observed():
    def connect():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.connect(("127.0.0.1", 9))

    assert observed(connect) == {("connect", "127.0.0.1:9")}


def test_forked_workers_are_observed(tmp_path):
    (tmp_path / "in.txt").write_text("x")

    def fork():
        pid = os.fork()
        if pid == 0:
            (tmp_path / "in.txt").read_text()
            os._exit(0)
        os.waitpid(pid, 0)

    assert ("read", str(tmp_path / "in.txt")) in observed(fork)


def test_differences_between_trees_are_named(tmp_path):
    (tmp_path / "kept").write_text("a")
    (tmp_path / "changed").write_text("a")
    (tmp_path / "gone").write_text("a")
    before = tree(tmp_path)
    (tmp_path / "changed").write_text("b")
    (tmp_path / "gone").unlink()
    (tmp_path / "new").symlink_to("kept")
    assert differences(before, tree(tmp_path)) == ["changed has other content", "gone is missing", "new is new"]


def test_code_folders_contain_installed_packages():
    assert is_below(pytest.__file__, code_folders())


@pytest.fixture
def call(contract_processes, tmp_path):
    def make(function, **options):
        folder = tmp_path / f"call-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        return contract_processes.call(Call(function=function, arguments={}, folder=folder, **options))

    return make


@pytest.fixture
def module(tmp_path, monkeypatch):
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "asked.py").write_text(
        "import os, subprocess, sys, time\n"
        "def environment(arguments):\n"
        "    return [sys.flags.utf8_mode, time.tzname[0], os.getcwd(), os.environ['PYTHONHASHSEED']]\n"
        "def fails(arguments):\n    raise ValueError('no')\n"
        "def exits(arguments):\n    os._exit(7)\n"
        "def hangs(arguments):\n    time.sleep(60)\n"
        "def leaves(arguments):\n    subprocess.Popen(['sleep', '60'])\n"
        "def order(arguments):\n"
        "    from mlops_core.testing.inside.surroundings import reverse_listings\n"
        "    before = sorted(os.listdir('/'))\n"
        "    reverse_listings()\n"
        "    with os.scandir('/') as entries:\n"
        "        scanned = [entry.name for entry in entries]\n"
        "    return [before[::-1] == os.listdir('/'), before[::-1] == scanned]\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    return "asked"


def test_a_call_runs_in_the_requested_surroundings(call, module, tmp_path):
    plain = call(f"{module}:environment").result
    varied = call(
        f"{module}:environment",
        cwd=tmp_path,
        startup={"PYTHONUTF8": "1", "PYTHONHASHSEED": "4711"},
        environ={"TZ": "KIT-12:45"},
    ).result
    assert (plain[1] != "KIT", plain[3]) == (True, "0")
    assert varied == [1, "KIT", str(tmp_path), "4711"]


@pytest.mark.parametrize(
    ("function", "error", "timeout_s"),
    [
        ("fails", "ValueError: no", 60),
        ("exits", "its process exited with 7", 60),
        ("hangs", "longer than 0.5 s and was killed", 0.5),
    ],
)
def test_a_failed_call_does_not_affect_the_next_one(call, module, function, error, timeout_s):
    assert error in call(f"{module}:{function}", timeout_s=timeout_s).error
    assert call(f"{module}:environment").error == ""


def test_processes_that_a_call_leaves_behind_are_reported_and_killed(call, module):
    found = call(f"{module}:leaves")
    assert (found.error, found.has_left_processes) == ("", True)


def test_listings_can_be_reversed(call, module):
    assert call(f"{module}:order").result == [True, True]


def test_warm_processes_end_with_their_session(tmp_path, module):
    """An interpreter whose templates kept each other waiting would be killed, and end with another code."""
    before = set(child_pids(os.getpid()))
    processes = Processes()
    for number, package in enumerate(("colorsys", "wave", "colorsys")):
        folder = tmp_path / str(number)
        folder.mkdir()
        call = Call(function=f"{module}:environment", arguments={}, folder=folder, packages=(package,))
        assert processes.call(call).error == ""
    started = {pid for top in set(child_pids(os.getpid())) - before for pid in (top, *child_pids(top))}
    assert len(started) >= 3  # the interpreter and two templates at least
    assert processes.close() == (0,)
    assert set(child_pids(os.getpid())) <= before


def test_each_surrounding_has_a_check_of_its_own():
    from mlops_core.testing import all_checks

    names = {name.removeprefix("results_ignore_the_").removeprefix("results_ignore_") for name in all_checks()}
    assert {str(item) for item in Surrounding} - {"read_only_inputs"} <= names
