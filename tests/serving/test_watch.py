"""Drift detection of a running server: reference, alarm, proposal, state after a kill, refusals."""

import json
import random
import signal
import subprocess
import time

import pytest

from mlops_core.errors import ExitCode, StoreError
from mlops_core.evaluation.reference_statistics import ReferenceStatistics, write_reference
from mlops_core.serving.drift import DriftAlarm
from mlops_core.serving.watch.records import recorded_alarms

from .conftest import COMMAND

RATE = ("--drift-false-alarms", "1 in 1 day", "--drift-requests-per-hour", "20")


def vectors(count, *, shift=0.0, seed=0):
    source = random.Random(seed)
    return [(round(source.gauss(shift, 1), 4), round(source.gauss(0, 1), 4)) for _ in range(count)]


def reference(count=120, **changes):
    samples = tuple(f"sample-{number}" for number in range(count))
    fields = {"features": ("first", "second"), "source": "description", "samples": samples, "groups": ()}
    return ReferenceStatistics(**{**fields, "vectors": tuple(vectors(count)), **changes})


@pytest.fixture
def watch(start, model_folder, tmp_path):
    """Return a function that starts a server of a model with a reference."""

    def begin(*arguments, known=None, settings="describing", state=tmp_path / "state", is_ready=True, limit=None):
        folder = model_folder(settings)
        write_reference(folder, known or reference())
        options = ["serve", "-u", "ECHO", "--model", f"{folder}/", "--port", "0", "--workers", "1", *arguments]
        if state:
            options += ["--state-dir", str(state)]
        limited = ["bash", "-c", f'ulimit -f {limit}; exec "$@"', "bash"] if limit else []
        server = start(command=[*limited, *COMMAND, *options], is_ready=is_ready)
        if is_ready:
            wait_for(lambda: any("drift" in note for note in server.notes))
        return server

    return begin


def wait_for(condition, limit_s=120):  # thresholds are calibrated at a low priority
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def send(server, rows):
    body = "".join(f"{one},{other}\n" for one, other in rows).encode()
    status, _, answer = server.send(body, content_type="text/csv")
    assert status == 200, answer


def logged_alarms(server):
    return [line["alarm"] for line in server.log() if line.get("event") == "drift_alarm"]


def saved_seen(folder):
    path = folder / "state.json"
    return json.loads(path.read_text())["state"]["counters"][0] if path.exists() else 0


def recorded_ids(folder):
    path = folder / "alarms.jsonl"
    return [json.loads(line)["id"] for line in path.read_text().splitlines()] if path.exists() else []


def total(server, name):
    return server.metric(f"drift_{name}_total")


def test_shifted_requests_raise_an_alarm_and_one_proposal_and_the_state_survives_a_kill(watch, tmp_path):
    server = watch(*RATE)
    send(server, vectors(60, seed=1))
    assert (total(server, "seen"), total(server, "alarms")) == (60, 0)
    send(server, vectors(60, seed=2, shift=2.5))
    count = total(server, "alarms")
    assert count >= 1
    wait_for(lambda: len(logged_alarms(server)) == count)
    raised = logged_alarms(server)
    assert raised[0]["features"][0]["name"] == "first"
    assert [bool(alarm["proposal"]) for alarm in raised] == [True] + [False] * (len(raised) - 1)
    assert server.wait_for_note("mlops run -u ECHO; nothing was started or deployed")
    page = server.get("/", accept="text/html")[2].decode()
    assert page.count('class="curve-chart"') == 2
    assert "Last alarm on" in page
    assert "one in 1 day at 20 requests per hour" in page
    assert "half of the reference is too small" in page.partition("On held-out data")[2]
    folder = tmp_path / "state"
    wait_for(lambda: recorded_ids(folder) == [alarm["id"] for alarm in raised])  # a thread writes them
    wait_for(lambda: saved_seen(folder) >= 110)
    server.stop(signal.SIGKILL)

    again = watch(*RATE)
    assert total(again, "alarms") == len(raised)
    assert 110 <= total(again, "seen") <= 120
    document = json.loads(again.get("/")[2])["drift"]
    assert document["last_alarm"]["id"] == raised[-1]["id"]
    send(again, vectors(60, seed=3, shift=-2.5))
    assert total(again, "alarms") > len(raised)
    total_seen = total(again, "seen")
    assert again.stop() == 0
    later = [json.loads(line) for line in (folder / "alarms.jsonl").read_text().splitlines()[len(raised) :]]
    assert later
    assert not any(alarm["proposal"] for alarm in later)  # the cool-down lasts

    third = watch(*RATE)
    assert total(third, "seen") == total_seen
    assert third.stop() == 0


def test_the_state_of_another_reference_is_refused_by_name(watch):
    assert watch(*RATE).stop() == 0
    other = reference(features=("first", "second"), vectors=tuple(vectors(120, seed=9)))
    server = watch(*RATE, known=other, is_ready=False)
    wait_for(lambda: server.process.poll() is not None)
    server.stop()  # reads its last lines
    assert server.process.returncode == StoreError.exit_code
    note = server.notes[-1]
    assert "state.json is of another reference" in note
    assert "use another folder, or remove the file to begin anew" in note


def test_a_reference_that_is_too_small_is_said_and_the_model_is_served(watch):
    server = watch(known=reference(count=20), state=None)
    wait_for(lambda: any("drift is not watched" in note for note in server.notes))
    note = next(note for note in server.notes if "drift is not watched" in note)
    assert "the reference has 20 samples" in note
    assert "use a larger reference" in note
    send(server, vectors(3))
    assert "Not available" in server.get("/", accept="text/html")[2].decode()


def test_a_server_that_is_asked_to_watch_and_cannot_ends(watch):
    server = watch(*RATE, known=reference(count=20), is_ready=False)
    wait_for(lambda: server.process.poll() is not None)
    server.stop()  # reads its last lines
    assert server.process.returncode == ExitCode.DATASET
    assert "drift cannot be watched" in server.notes[-1]
    assert "--no-drift" in server.notes[-1]


def test_a_model_with_other_features_than_its_reference_is_not_watched(watch):
    server = watch(settings="", state=None)
    wait_for(lambda: any("drift is not watched" in note for note in server.notes))
    note = next(note for note in server.notes if "drift is not watched" in note)
    assert "the reference has the descriptions 'first', 'second', the model has none" in note


def test_the_scores_are_watched_where_samples_are_not_described(watch):
    source = random.Random(4)
    scores = tuple((source.random(), source.random(), source.random()) for _ in range(120))
    known = reference(features=("a", "b, c", 'd"e'), source="scores", vectors=scores)
    server = watch("--no-request-log", known=known, state=None)
    assert any("watching drift of 3 features of the scores" in note for note in server.notes)
    send(server, vectors(5))
    assert total(server, "seen") == 5


def test_no_drift_means_no_detector(watch):
    server = watch("--no-drift", state=None, is_ready=False).wait_until_ready()
    assert "drift" not in server.get("/metrics")[2].decode()


@pytest.mark.parametrize("rate", ["often", "0 in 3 days", "1 in 0 days", "1 per day"])
def test_a_rate_in_other_words_is_refused(watch, rate):
    server = watch("--drift-false-alarms", rate, is_ready=False)
    wait_for(lambda: server.process.poll() is not None)
    server.stop()  # reads its last lines
    assert server.process.returncode == ExitCode.USAGE
    assert len(server.notes) == 1
    assert "expected" in server.notes[0]


def test_alarms_are_records_of_the_workspace_and_change_no_model(watch, tmp_path, monkeypatch):
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    monkeypatch.setenv("MLOPS_HOME", str(workspace))
    server = watch(*RATE, state=None)
    send(server, vectors(60, seed=2, shift=2.5))
    assert total(server, "alarms") >= 1
    second = watch(*RATE, state=None)  # has a folder of its own
    assert server.stop() == second.stop() == 0
    assert len(list(workspace.glob("drift/ECHO/folder-*/state.json"))) == 2

    def listed(*arguments):
        done = subprocess.run([*COMMAND, "drift", *arguments], capture_output=True, text=True, check=True)
        return done.stdout

    raised = json.loads(listed("alarms", "--json"))
    assert {alarm["use_case"] for alarm in raised} == {"ECHO"}
    [proposal] = json.loads(listed("proposals", "--json"))
    assert proposal["command"] == "mlops run -u ECHO"
    assert proposal["alarm"] == raised[-1]["id"]
    assert "retrain" in listed("alarms")
    assert "mlops run -u ECHO" in listed("proposals", "-u", "ECHO")
    assert sorted(path.name for path in workspace.iterdir()) == ["drift"]  # no run, no registry


def test_servers_that_start_at_the_same_time_use_folders_of_their_own(watch, tmp_path, monkeypatch):
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    monkeypatch.setenv("MLOPS_HOME", str(workspace))
    servers = [watch(*RATE, state=None, is_ready=False) for _ in range(2)]  # both calibrate
    for server in servers:
        assert server.wait_for_note("watching drift of 2 features")
        assert server.wait_until_ready().stop() == 0
    assert len(list(workspace.glob("drift/ECHO/folder-*/calibration.json"))) == 2


def test_alarms_of_equal_times_are_listed_by_age(tmp_path):
    folder = tmp_path / "drift" / "ECHO" / "folder-1"
    folder.mkdir(parents=True)
    fields = {"model": "m", "statistic": "cusum", "value": 9.0, "threshold": 8.0, "window": 5, "observed": 5}
    moments = {30: "2026-05-01T00:00:00.001Z", 35: "2026-05-01T00:00:00.001Z", 7: "2026-05-01T00:00:00.000Z"}
    alarms = [DriftAlarm(id=f"a{seen}", raised_at=at, seen=seen, **fields) for seen, at in moments.items()]
    (folder / "alarms.jsonl").write_text("".join(f"{alarm.to_json()}\n" for alarm in alarms))
    assert [one.alarm.seen for one in recorded_alarms(tmp_path)] == [35, 30, 7]


@pytest.mark.slow_suite
def test_a_full_disk_is_noted_once_and_drift_goes_on(watch, tmp_path):
    """A limit on the size of files stands for a full disk."""
    assert watch(*RATE).stop() == 0  # has calibrated
    server = watch(*RATE, limit=1)
    for number in range(6):
        send(server, vectors(20, seed=number))
    send(server, vectors(60, seed=9, shift=2.5))
    wait_for(lambda: any("File too large" in note for note in server.notes))
    assert total(server, "alarms") >= 1
    assert server.stop() == 0
    assert sum("drift state" in note for note in server.notes) == 1
