"""What `mlops ui` shows of a run while it is carried out, and that it stops one."""

import http.client
import json
import signal
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

import mlops_core
from mlops_core.errors import UsageError
from mlops_core.workspace.store import Store
from tests.web.conftest import DEADLINE_S, MLOPS, wait_for

PLUGIN = Path(__file__).parent / "waiting"


@pytest.fixture
def waiting(monkeypatch):
    monkeypatch.syspath_prepend(str(PLUGIN))
    monkeypatch.setenv("PYTHONPATH", str(PLUGIN))


@pytest.fixture
def running(waiting, workspace, tmp_path):
    """A run that waits in its training, and the file for which it waits."""
    assert (
        mlops_core.run("WAITING", workspace=workspace).status == "accepted"
    )  # the data set is there, and an index has something to show
    go = tmp_path / "go"
    command = [*MLOPS, "--workspace", str(workspace), "run", "-u", "WAITING", "--set", f"training.until={go}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def started():
        assert process.poll() is None
        with Store(workspace) as store:
            record = store.runs.load("latest")
        train = record.step("train")
        return record if record.status == "running" and train and train.status == "running" else None

    try:
        yield wait_for(started, "the training"), go, process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(DEADLINE_S)


class Events:
    """The events of a page."""

    def __init__(self, ui, path):
        self._connection = http.client.HTTPConnection(ui.host, ui.port, timeout=DEADLINE_S)
        self._connection.request("GET", path)
        self._answer = self._connection.getresponse()
        assert self._answer.getheader("content-type").startswith("text/event-stream")

    def next(self):
        """Return name and data of the next event; None at the end."""
        name = None
        while line := self._answer.readline().decode():
            if line.startswith("event: "):
                name = line[7:].strip()
            elif line.startswith("data: ") and name:
                return name, json.loads(line[6:])
        return None

    def close(self):
        self._answer.close()
        self._connection.close()


def test_a_run_is_shown_while_it_is_carried_out_until_its_report_is_there(running, workspace, start):
    record, go, process = running
    ui = start(workspace)
    path = f"/runs/{record.run_id}/"
    status, page = ui.page(path)
    assert status == 200
    assert "Stop the run" in page
    assert f'data-events="/events/runs/{record.run_id}"' in page
    assert "epoch 1 of &lt;b&gt;many&lt;/b&gt;" in page or "of &lt;b&gt;many&lt;/b&gt;" in page
    with closing(Events(ui, f"/events/runs/{record.run_id}")) as events, closing(Events(ui, "/events/runs")) as listing:
        name, first = events.next()
        assert name == "parts"
        assert {"summary", "steps", "curves", "log", "metrics"} <= first.keys()
        seen = {}
        while not {"steps", "curves", "log"} <= seen.keys():  # progress, history and log grow
            name, parts = events.next()
            assert name == "parts"
            seen |= parts
        assert "of 10,000 epoch" in seen["steps"]
        assert "curve-chart" in seen["curves"]
        go.touch()
        assert process.wait(DEADLINE_S) == 0
        while (event := events.next())[0] == "parts":
            pass
        assert event[0] == "reload"
        assert events.next() is None
        assert listing.next()[0] == "changed"
    assert (workspace / path[1:] / "report.html").exists()  # before, the page would have to say that it is missing
    status, page = ui.page(path)
    assert "Stop the run" not in page
    assert "Report as a file" in page


def test_the_stop_button_ends_a_run_as_ctrl_c_does(running, workspace, start):
    record, _, process = running
    ui = start(workspace)
    path = f"/runs/{record.run_id}/stop"
    assert "Stop the run?" in ui.page(path)[1]
    assert ui.request(path, method="POST", form={"confirmed": "yes"})[0] == 403
    assert process.poll() is None
    status, headers, _ = ui.post(path, {"confirmed": "yes"}, page=path)
    assert (status, headers["location"]) == (303, f"/runs/{record.run_id}/?done=stop")
    assert process.wait(DEADLINE_S) == 130
    with Store(workspace) as store:
        assert store.runs.load(record.run_id).status == "stopped"
    assert ui.request(path)[0] == 303


def test_a_run_of_another_process_is_never_taken_for_one_that_holds_the_lock(running, workspace):
    record, _, process = running
    with Store(workspace) as store:
        lock = store.runs.folder(record.run_id) / "run.lock"
        other = subprocess.Popen(["sleep", "100"])
        try:
            for content in (str(other.pid), "", "abc", "0", "1", "-1", str(2**40)):
                lock.write_text(content)
                with pytest.raises(UsageError, match="press Ctrl-C where it was started"):
                    store.runs.interrupt(record.run_id)
            assert other.poll() is None
            lock.write_text(str(process.pid))
            store.runs.interrupt(record.run_id)
            assert process.wait(DEADLINE_S) == 130
            with pytest.raises(UsageError, match="is not being carried out by a process of this machine"):
                store.runs.interrupt(record.run_id)
        finally:
            other.kill()
            other.wait(DEADLINE_S)


def test_a_killed_run_is_shown_as_stopped_and_open_pages_do_not_keep_the_server(running, workspace, start):
    record, _, process = running
    ui = start(workspace)
    with closing(Events(ui, f"/events/runs/{record.run_id}")) as events:
        process.kill()
        process.wait(DEADLINE_S)
        while (event := events.next())[0] == "parts":
            pass
        assert event[0] == "reload"
    assert "stopped" in ui.page("/?status=stopped")[1]
    assert record.run_id in ui.page("/?status=stopped")[1]
    assert record.run_id not in ui.page("/?status=running")[1]
    with closing(Events(ui, "/events/runs")) as events:
        ui.process.send_signal(signal.SIGTERM)
        assert ui.process.wait(DEADLINE_S) == 0
        assert events.next() is None
