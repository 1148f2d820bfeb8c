"""The progress of a run that was started from Python, and what its record looks like in a notebook."""

import io
import itertools
import os
import pty
import re
import subprocess
import sys
import threading
import time
import types
from dataclasses import replace

import pytest

import mlops_core
from mlops_core.runners.observers import SilentObserver
from mlops_core.runners.progress import LineObserver, default_observer
from mlops_core.runners.progress.notebook import DRAWING, INTERVAL_S, NotebookObserver
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


class Cell:
    """The output of a notebook's cell, which IPython's `display` fills and updates."""

    def __init__(self, *, breaks=False):
        self.outputs = []
        self.breaks = breaks
        self.times = []

    def display(self, data, *, raw, display_id):
        assert raw
        assert display_id
        self.outputs.append(data)
        return self

    def update(self, data, *, raw):
        assert raw
        if self.breaks:
            raise OSError("the front end has gone")
        self.outputs.append(data)
        self.times.append(time.monotonic())


@pytest.fixture
def cell(monkeypatch):
    """This process counts as the kernel of a notebook."""
    output = Cell()
    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    monkeypatch.setattr("IPython.display.display", output.display)
    return output


def rows(html):
    """Return the cells of each row of a table."""
    parts = (re.findall(r"<t[hd][ >].*?</t[hd]>", row) for row in re.findall(r"<tr.*?</tr>", html))
    return [[re.sub(r"<[^>]+>", "", part) for part in row] for row in parts]


def test_a_notebook_shows_one_table_that_is_updated(cell, capsys, toy, workspace):
    record = mlops_core.run("TOY", workspace=workspace)
    first, last = (rows(cell.outputs[position]["text/html"]) for position in (0, -1))
    assert {row[1] for row in first[1:]} == {"• waiting"}
    assert [row[:2] for row in last[1:]] == [[name, "✓ done"] for name in ("fetch", "preprocess", "train", "evaluate")]
    assert "✓</span> accepted" in cell.outputs[-1]["text/html"]
    assert "registered as version 1" in cell.outputs[-1]["text/html"]
    assert cell.outputs[-1]["text/plain"].startswith(f"run {record.run_id}: TOY accepted, ")
    pauses = [after - before for before, after in itertools.pairwise(cell.times[:-1])]  # the last is drawn at the end
    assert all(pause >= INTERVAL_S for pause in pauses)
    assert capsys.readouterr() == ("", "")
    assert DRAWING not in {thread.name for thread in threading.enumerate()}


def test_a_notebook_shows_progress_and_escapes_what_a_run_says(cell, ran):
    running = replace(ran, status=RunStatus.RUNNING, use_case="<img src=x>")
    with NotebookObserver() as observer:
        observer.run_started(running)
        observer.step_progress("train", "<b>epoch</b>", 3, 12)
        observer.step_ended(StepRecord(name="evaluate", status=StepStatus.FAILED, error="<script>1</script>\x1b[2J"))
        observer.note("</style><svg onload=1>")
        deadline = time.monotonic() + 60
        while "3/12" not in cell.outputs[-1]["text/html"]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    shown = next(output for output in cell.outputs if "3/12" in output["text/html"])
    assert 'width="25%"' in shown["text/html"]
    for hostile in ("<img", "<b>", "<script", "<svg onload", "\x1b"):
        assert hostile not in cell.outputs[-1]["text/html"]
    assert "\x1b" not in cell.outputs[-1]["text/plain"]


def test_a_notebook_shows_that_a_run_was_interrupted(cell, ran):
    def interrupted(observer):
        with observer:
            observer.run_started(replace(ran, status=RunStatus.RUNNING))
            observer.step_started("train")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted(NotebookObserver())
    assert ["train", "! stopped"] in [row[:2] for row in rows(cell.outputs[-1]["text/html"])]
    assert f"run {ran.run_id}: TOY stopped" in cell.outputs[-1]["text/plain"]


def test_a_front_end_that_has_gone_does_not_stop_the_run(cell, toy, workspace):
    cell.breaks = True
    assert mlops_core.run("TOY", workspace=workspace).status is RunStatus.ACCEPTED


def test_a_notebook_in_plain_mode_shows_lines(cell, monkeypatch, capsys, toy, workspace):
    with monkeypatch.context() as patch:
        patch.setenv("MLOPS_PLAIN", "1")
        mlops_core.run("TOY", workspace=workspace, only=["preprocess"])
    assert "preprocess: done " in capsys.readouterr().out
    assert cell.outputs == []


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
