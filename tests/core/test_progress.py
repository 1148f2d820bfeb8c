"""The progress of a run that was started from Python, and what its record looks like in a notebook."""

import io
import os
import pty
import subprocess
import sys
import types

import pytest

import mlops_core
from mlops_core.runners.observers import SilentObserver
from mlops_core.runners.progress import LineObserver, default_observer
from mlops_core.workspace.records import RunStatus, StepRecord, StepStatus

SCRIPT = "import mlops_core; mlops_core.run('TOY', workspace={!r}{})"


def on_a_terminal(code):
    """Run Python code with a pseudo terminal as its standard error; return what it shows."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # Linux reports the end of a pseudo terminal so
            chunk = b""
        if not chunk:
            break
        shown += chunk
    os.close(ours)
    assert process.stdout.read() == b""
    process.stdout.close()
    assert process.wait(60) == 0
    return shown.decode()


def test_a_script_on_a_terminal_shows_the_run_and_its_steps(toy, workspace):
    shown = on_a_terminal(SCRIPT.format(str(workspace), ""))
    assert "TOY (mlops-toy " in shown
    for step in ("preprocess", "train", "evaluate"):
        assert f"{step}: done " in shown


def test_a_silent_observer_shows_nothing_on_a_terminal(toy, workspace):
    assert on_a_terminal(SCRIPT.format(str(workspace), ", observer=mlops_core.SilentObserver()")) == ""


def test_a_script_in_a_log_shows_nothing(toy, workspace):
    command = [sys.executable, "-c", SCRIPT.format(str(workspace), "")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_notebook_shows_lines_in_its_output(monkeypatch, capsys, toy, workspace):
    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    mlops_core.run("TOY", workspace=workspace)
    output = capsys.readouterr()
    assert "train: done " in output.out
    assert output.err == ""


@pytest.mark.parametrize("shell", [None, types.SimpleNamespace()])
def test_ipython_that_is_no_notebook_counts_as_a_terminal(monkeypatch, shell):
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    assert isinstance(default_observer(), SilentObserver)  # standard error of a test is no terminal


def test_the_status_line_is_erased_by_the_line_of_the_step():
    stream = io.StringIO()
    observer = LineObserver(stream)
    observer.step_started("train")
    for epoch in range(100):
        observer.step_progress("train", "epoch", epoch, 100)
    observer.step_ended(StepRecord(name="train", status=StepStatus.FAILED, error="no"))
    assert stream.getvalue().endswith("\r  train: failed no\n")
    assert stream.getvalue().count("epoch") < 10


def test_a_closed_stream_does_not_stop_the_run():
    stream = io.StringIO()
    stream.close()
    observer = LineObserver(stream)
    observer.step_started("train")
    observer.note("text")


def test_the_repr_of_a_run_is_one_short_line(ran, workspace):
    record = ran
    assert record.status is RunStatus.ACCEPTED
    assert repr(record) == f"<RunRecord {record.run_id}: TOY accepted, {len(record.steps)} steps, model version 1>"
    assert repr(record.step("train")) == "<StepRecord train: done>"
    rows = (mlops_core.Prediction(sample="s", group="g", label="a", scores=(1.0,)),)
    assert repr(mlops_core.Predictions(classes=("a",), rows=rows)) == "<Predictions 1 rows, 1 classes>"
