"""Data that change while a run is under way: no result of them is kept as that of the data before."""

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time

import pytest

from mlops_core import run
from mlops_core.datasets.catalogue import DatasetChoice
from mlops_core.datasets.digests import tree_manifest
from mlops_core.datasets.tree_walk import tree_state
from mlops_core.errors import DatasetError, ExitCode
from mlops_core.runners.dataset_source import fetch_source
from mlops_core.runners.remote.stable_copies import copy_stable, place_files
from mlops_core.workspace.records import StepStatus
from mlops_core.workspace.store import Store

WORDS = [f"{'x' * n},{'long' if n > 6 else 'short'}" for n in range(1, 13)]
OTHER = [f"{'x' * n},{'short' if n > 6 else 'long'}" for n in range(1, 13)]


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "words.csv").write_text("\n".join(WORDS) + "\n")
    return folder


class Editor:
    """Edits the data when a step is about to start, and perhaps undoes it when the step has ended."""

    def __init__(self, edit, undo=None, *, step="preprocess"):
        self._edit, self._undo, self._step = edit, undo, step
        self.notes = []

    def run_started(self, record): ...

    def step_started(self, name):
        if name == self._step:
            self._edit()

    def step_progress(self, name, label, done, total): ...

    def step_ended(self, record):
        if record.name == self._step and self._undo:
            self._undo()

    def note(self, text):
        self.notes.append(text)


def replaced(path, lines):
    """Write other content and restore the times, as copying a backup does."""
    before = path.stat()
    path.write_text("\n".join(lines) + "\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_data_edited_before_a_step_and_restored_after_it_leave_no_result(toy, workspace, data):
    path = data / "words.csv"
    observer = Editor(lambda: replaced(path, OTHER), lambda: replaced(path, WORDS))
    settings = [f"dataset.path={data}"]
    failed = run(toy, overrides=settings, workspace=workspace, observer=observer)
    assert (failed.status, failed.exit_code) == ("failed", ExitCode.DATASET)
    assert "changed while the run was under way: words.csv" in failed.error
    right = run(toy, overrides=settings, workspace=workspace)
    assert right.step("preprocess").status is StepStatus.DONE
    fresh = run(toy, overrides=settings, workspace=workspace.with_name("other"))
    assert right.step("preprocess").outputs == fresh.step("preprocess").outputs


def test_a_file_that_appears_counts_as_a_change(toy, workspace, data):
    observer = Editor(lambda: (data / "more.csv").write_text("x"))
    record = run(toy, overrides=[f"dataset.path={data}"], workspace=workspace, observer=observer)
    assert record.exit_code == ExitCode.DATASET
    assert "more.csv" in record.error


def test_data_edited_during_a_step_and_restored_are_read_again(toy, workspace, data, tmp_path):
    """A change that was undone leaves nothing but times; the step is executed again, on data that stay."""
    path = data / "words.csv"
    path.write_text("\n".join(WORDS * 200) + "\n")  # enough for the step to take a while
    settings = [f"dataset.path={data}"]
    is_edited = threading.Event()

    def edit_while_it_runs():
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if any((workspace / "work").glob("*-preprocess-*/outputs/features/*")):
                    replaced(path, OTHER)
                    replaced(path, WORDS * 200)
                    is_edited.set()
                    return
            time.sleep(0.001)

    thread = threading.Thread(target=edit_while_it_runs)
    thread.start()
    record = run(toy, overrides=[*settings, "training.bias=0.5"], workspace=workspace)
    thread.join()
    assert is_edited.is_set()
    assert record.status == "accepted"
    assert "executed again: words.csv of the data set changed" in record.step("preprocess").warning
    fresh = run(toy, overrides=settings, workspace=tmp_path / "other")
    assert record.step("preprocess").outputs == fresh.step("preprocess").outputs


def test_a_data_set_that_is_only_touched_is_still_the_same(toy, workspace, data):
    observer = Editor(lambda: os.utime(data / "words.csv"))
    record = run(toy, overrides=[f"dataset.path={data}"], workspace=workspace, observer=observer)
    assert record.status == "accepted"
    assert record.step("preprocess").warning == ""


def test_a_fetched_data_set_is_watched_too(toy, workspace):
    def edit():
        (path,) = (workspace / "datasets").glob("words-*/words.csv")
        replaced(path, OTHER)

    record = run(toy, workspace=workspace, observer=Editor(edit))
    assert record.exit_code == ExitCode.DATASET
    assert "words.csv" in record.error


def test_a_data_folder_that_holds_the_workspace_is_refused(toy, data):
    record = run(toy, overrides=[f"dataset.path={data}"], workspace=data / ".mlops")
    assert record.exit_code == ExitCode.DATASET
    assert "holds the workspace" in record.error


def test_the_state_sees_what_a_reader_could_have_seen(data):
    before = tree_state(data)
    assert tree_state(data) == before
    (data / "new").write_text("x")
    (data / "new").unlink()
    assert tree_state(data) != before
    before = tree_state(data)
    replaced(data / "words.csv", WORDS)
    assert tree_state(data) != before
    assert tree_state(data).newest == "words.csv"


@pytest.mark.parametrize("way", ["a link to the folder", "a link above the folder", "a link to a link to a file"])
def test_the_state_sees_that_a_link_on_the_way_led_elsewhere_for_a_while(tmp_path, data, way):
    """A link that is retargeted and restored leaves the files as they were, though a step read others."""
    other = tmp_path / "elsewhere"
    shutil.copytree(data, other / data.name)
    link = tmp_path / "current"
    if way == "a link to the folder":
        folder, targets = link, (data, other / data.name)
    elif way == "a link above the folder":
        folder, targets = link / data.name, (data.parent, other)
    else:
        folder, targets = tmp_path / "links", (data / "words.csv", other / data.name / "words.csv")
        folder.mkdir()
        (folder / "words.csv").symlink_to(link)
    link.symlink_to(targets[0])
    before = tree_state(folder)
    assert tree_state(folder) == before
    for target in reversed(targets):
        (tmp_path / "next").symlink_to(target)
        (tmp_path / "next").replace(link)
    assert tree_state(folder) != before


# --- Data that cannot be read -----------------------------------------------------------------------------


@pytest.mark.representatives(2)
@pytest.mark.parametrize("command", [["run"], ["plan"], ["datasets", "check"], ["datasets", "stats"], ["fetch"]])
def test_a_link_that_leads_to_itself_is_named(toy, workspace, data, command):
    (data / "loop").symlink_to(data / "loop")
    main = [sys.executable, "-c", "from mlops_core.cli import main; main()", "--workspace", str(workspace)]
    arguments = [*main, *command, "-u", toy, "--set", f"dataset.path={data}"]
    result = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert result.returncode == ExitCode.DATASET, result.stderr
    assert f"{data}/loop: a link that leads to itself" in result.stderr
    assert "make room" not in result.stderr


UNREADABLE = {
    "link to itself": (lambda path: path.symlink_to(path), "a link that leads to itself"),
    "dangling link": (lambda path: path.symlink_to("gone"), "a link to gone, which does not exist"),
    "pipe": (os.mkfifo, "a pipe, socket or device"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "a pipe, socket or device"),
}


@pytest.mark.representatives(2)
@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_is_in_place_of_a_required_file_is_named(toy, workspace, data, kind):
    make, fault = UNREADABLE[kind]
    (data / "words.csv").rename(data / "other.csv")
    make(data / "words.csv")
    record = run(toy, overrides=[f"dataset.path={data}"], workspace=workspace)
    assert record.exit_code == ExitCode.DATASET
    assert f"words.csv is {fault}; the data set 'words' requires words.csv" in record.error


@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_is_in_place_of_the_folder_or_all_that_is_in_it_is_named(workspace, tmp_path, kind):
    make, fault = UNREADABLE[kind]
    make(tmp_path / "entry")
    (tmp_path / "folder").mkdir()
    make(tmp_path / "folder" / "entry")
    with Store(workspace) as store:
        with pytest.raises(DatasetError, match=f"entry is {fault}; expected the data set"):
            fetch_source(None, DatasetChoice(name="words", path=tmp_path / "entry"), store=store)
        if fault != UNREADABLE["link to itself"][1]:  # whether that is a folder cannot be asked
            with pytest.raises(DatasetError, match=f"folder has no file: entry is {fault}"):
                fetch_source(None, DatasetChoice(name="words", path=tmp_path / "folder"), store=store)


def test_an_error_while_a_file_is_read_names_the_file(workspace, data):
    (data / "memory").symlink_to("/proc/self/mem")  # can be opened, and not read from its beginning
    with Store(workspace) as store, pytest.raises(DatasetError, match=f"{data}/memory: Input/output error"):
        fetch_source(None, DatasetChoice(name="words", path=data), store=store)


# --- Others work meanwhile --------------------------------------------------------------------------------


def test_no_lock_is_held_while_files_are_hashed(workspace, data, monkeypatch):
    from mlops_core.datasets import digests

    hashed = digests._hash_files

    def while_hashing(paths, sizes):
        with Store(workspace) as other:
            other._db.execute("PRAGMA busy_timeout = 0")
            with other.transaction():
                pass
        return hashed(paths, sizes)

    monkeypatch.setattr(digests, "_hash_files", while_hashing)
    with Store(workspace) as store:
        first = tree_manifest(data, cache=store.file_digests)
        time.sleep(0.1)
        assert tree_manifest(data, cache=store.file_digests) == first


# --- Copies -----------------------------------------------------------------------------------------------


@pytest.fixture
def copied(workspace, data, tmp_path):
    """Return a function that copies the data while other functions edit and restore them, and returns the copy."""
    target = tmp_path / "copy"

    def run_copy(*edits):
        waiting = list(edits)

        def copy():
            edit = waiting.pop(0) if waiting else lambda: None
            edit()
            shutil.copytree(data, target)
            if edits and (data / "words.csv").read_text().split() != WORDS:
                replaced(data / "words.csv", WORDS)

        with Store(workspace) as store:
            choice = DatasetChoice(name="words", path=data)
            source = fetch_source(None, choice, store=store, seed=0, is_offline=True, progress=lambda *_: None)
            copy_stable(source, store=store, copy=copy, discard=lambda: shutil.rmtree(target))
        return (target / "words.csv").read_text().split()

    return run_copy


def test_a_copy_of_data_that_were_edited_and_restored_meanwhile_is_made_again(copied, data):
    assert copied(lambda: replaced(data / "words.csv", OTHER)) == WORDS


def test_data_that_change_during_every_copy_are_refused(copied, data, tmp_path):
    with pytest.raises(DatasetError, match="words.csv of the data set 'words' changed while it was copied, 3 times"):
        copied(*[lambda: replaced(data / "words.csv", OTHER)] * 3)
    assert not (tmp_path / "copy").exists()


def test_a_data_set_in_the_workspace_is_linked_which_is_no_change(workspace, tmp_path):
    with Store(workspace) as store:
        folder = store.datasets / "words"
        folder.mkdir(parents=True)
        (folder / "words.csv").write_text("a")
        choice = DatasetChoice(name="words", path=folder)
        source = fetch_source(None, choice, store=store, seed=0, is_offline=True, progress=lambda *_: None)
        target = tmp_path / "copy"
        copy_stable(source, store=store, copy=lambda: place_files(folder, target, own=store.home), discard=pytest.fail)
    assert (target / "words.csv").stat().st_nlink == 2
