import fcntl
import os
import signal
import subprocess
import sys
import time

import pytest

import mlops_core
from mlops_core.errors import ConfigError, PluginError, UsageError
from mlops_core.observers import delivery as delivery_module
from mlops_core.observers import queue as queue_module
from mlops_core.observers.delivery import Delivery, delivery_lock
from mlops_core.observers.discovery import active_observers, find_observer, load_observer
from mlops_core.observers.events import EventPhase
from mlops_core.observers.queue import EventQueue, QueuedEvent
from mlops_core.workspace.registry import Registry
from mlops_core.workspace.store import Store


def run(workspace, *overrides, **arguments):
    return mlops_core.run("TOY", workspace=workspace, overrides=overrides, **arguments)


def kinds(recorder):
    return [(event["kind"], event.get("phase")) for event in recorder.events()]


def state(workspace):
    with Store(workspace) as store:
        return EventQueue(workspace, "recorder").state(store)


def wait_until_idle(workspace):
    """Wait for the processes that deliver: they hold the lock."""
    with delivery_lock(EventQueue(workspace, "recorder").folder):
        return


def flush(call, workspace):
    return call("--workspace", str(workspace), "observers", "flush")


def test_a_run_is_observed_from_its_start_to_its_model(recorder, workspace):
    record = run(workspace, "features.scale=2")
    recorder.wait_for(lambda: ("run", "ended") in kinds(recorder) and recorder.events()[-1]["kind"] == "alias")
    events = recorder.events()
    started, ended = (event for event in events if event["kind"] == "run")
    assert (started["phase"], started["run"], started["scale"]) == ("started", record.run_id, 2)
    assert (ended["status"], ended["has_report"]) == ("accepted", True)
    assert ended["metrics"] == {"acc": 1.0}
    steps = [(event["name"], event["phase"]) for event in events if event["kind"] == "step"]
    assert set(steps) == {(step.name, phase) for step in record.steps for phase in ("started", "ended")} | {
        ("fetch", "started"),
        ("fetch", "ended"),
    }
    assert [event for event in events if event["kind"] == "model"] == [
        {"kind": "model", "version": record.model_version, "status": "PendingManualApproval", "has_files": True}
    ]
    wait_until_idle(workspace)
    assert state(workspace).waiting == 0


def test_approvals_and_aliases_are_observed_outside_of_runs(recorder, workspace, call):
    run(workspace)
    recorder.wait_for(lambda: len([event for event in recorder.events() if event["kind"] == "model"]) == 1)
    code, *_ = call("--workspace", workspace, "models", "approve", "-u", "TOY", "1", "--why", "looked at it")
    assert code == 0
    code, *_ = call("--workspace", workspace, "models", "alias", "-u", "TOY", "production", "1", "--why", "ships")
    assert code == 0
    code, *_ = call("--workspace", workspace, "models", "alias", "-u", "TOY", "production", "--remove", "--why", "no")
    assert code == 0
    recorder.wait_for(lambda: {"kind": "alias", "alias": "production", "version": None} in recorder.events())
    events = [event for event in recorder.events() if event["kind"] in ("model", "alias")]
    assert {"kind": "model", "version": 1, "status": "Approved", "has_files": True} in events
    assert {"kind": "alias", "alias": "production", "version": 1} in events


def test_what_was_before_the_observer_is_not_delivered(recorder, workspace, call, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("mlops_core.observers.publishing.active_observers", lambda *_: ())
        run(workspace)
    assert recorder.calls() == []
    assert flush(call, workspace) == (0, "recorder: 0 events delivered\n", "")
    assert recorder.calls() == []


def test_events_of_an_unavailable_service_are_kept_and_delivered_in_order(recorder, workspace, call, monkeypatch):
    recorder.behave("unavailable")
    record = run(workspace)
    assert record.status == "accepted"
    code, _, err = flush(call, workspace)
    assert code == 4
    assert "observer 'recorder': the recorder is away; start it;" in err
    assert "mlops observers flush recorder" in err
    assert state(workspace).failed == 0
    recorder.behave("")
    assert flush(call, workspace)[0] == 0
    assert kinds(recorder)[0] == ("run", "started")
    assert ("run", "ended") in kinds(recorder)
    assert state(workspace) == queue_module.QueueState(waiting=0, failed=0, dropped=0, unread=0, last_error="")


def test_an_event_that_is_refused_three_times_is_put_aside_and_can_be_tried_again(recorder, workspace, call):
    recorder.behave("raise")
    with Store(workspace) as store:
        queue = EventQueue(workspace, "recorder")
        queue.start(store)
    run_id = run_without_observers(workspace)
    queue.append_or_drop(QueuedEvent(phase=EventPhase.STARTED, run_id=run_id))
    queue.move_cursor(100)
    with Store(workspace) as store, Delivery(store, "recorder") as delivery:
        errors = [delivery.deliver().error for _ in range(4)]
    assert errors == ["ValueError: a defect of the recorder"] * 3 + [""]
    assert (len(recorder.calls()), state(workspace).failed) == (3, 1)
    assert "a defect of the recorder" in (queue.folder / "delivery.log").read_text()
    recorder.behave("")
    assert flush(call, workspace)[0] == 0
    assert (kinds(recorder)[0], state(workspace).failed) == (("run", "started"), 0)


def run_without_observers(workspace):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mlops_core.observers.publishing.active_observers", lambda *_: ())
        return run(workspace).run_id


def deliver_in_a_process(workspace, limit_s):
    """Start the process of the observer with another limit, tell it that no events follow, and return its exit code."""
    code = (
        "import sys; from mlops_core.observers import delivery; "
        f"delivery.HOOK_LIMIT_S = {limit_s}; sys.exit(delivery.main(sys.argv[1], 'recorder'))"
    )
    command = [sys.executable, "-c", code, str(workspace)]
    return subprocess.run(command, check=False, stdin=subprocess.DEVNULL, timeout=120).returncode


@pytest.mark.parametrize(("behaviour", "code"), [("hang", 75), ("exit", 3)])
def test_a_hook_that_hangs_or_ends_its_process_keeps_its_event(recorder, workspace, call, behaviour, code):
    recorder.behave(behaviour)
    queue = EventQueue(workspace, "recorder")
    queue.append_or_drop(QueuedEvent(phase=EventPhase.STARTED, run_id=run_without_observers(workspace)))
    queue.move_cursor(100)
    assert [deliver_in_a_process(workspace, 0.5) for _ in range(4)] == [code, code, code, 0]
    assert (len(recorder.calls()), state(workspace).failed) == (3, 1)
    recorder.behave("")
    assert flush(call, workspace)[0] == 0
    assert kinds(recorder)[0] == ("run", "started")


@pytest.mark.parametrize("behaviour", ["hang", "exit", "flood"])
def test_a_run_is_accepted_whatever_its_observer_does(recorder, workspace, behaviour):
    recorder.behave(behaviour)
    record = run(workspace)
    assert record.status == "accepted"
    recorder.wait_for(lambda: len(recorder.calls()) >= 1)
    recorder.behave("")
    end_deliveries(recorder)


def end_deliveries(recorder):
    """End the processes that deliver and hang; they are named by their calls."""
    for pid in {int(pid) for pid in recorder.calls()}:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def test_the_end_of_a_run_whose_driver_was_killed_is_delivered(recorder, workspace):
    code = (
        "import os, sys, mlops_core\n"
        "class Killer(mlops_core.SilentObserver):\n"
        "    def step_ended(self, record):\n"
        "        if record.name == 'preprocess': os.kill(os.getpid(), 9)\n"
        "mlops_core.run('TOY', workspace=sys.argv[1], observer=Killer())\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(workspace)], check=False, capture_output=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    recorder.wait_for(lambda: ("run", "ended") in kinds(recorder))
    assert next(event for event in recorder.events() if event.get("phase") == "ended" and event["kind"] == "run")[
        "status"
    ] == ("stopped")
    wait_until_idle(workspace)
    assert EventQueue(workspace, "recorder").open_runs() == ()


def test_events_of_a_removed_run_are_skipped(recorder, workspace, call):
    queue = EventQueue(workspace, "recorder")
    queue.append_or_drop(QueuedEvent(run_id="20200101-000000-aaaaaa"))
    with Store(workspace):
        queue.move_cursor(0)
    assert flush(call, workspace)[0] == 0
    assert recorder.calls() == []


def test_a_full_queue_drops_and_counts_further_events(recorder, workspace, monkeypatch):
    monkeypatch.setattr(queue_module, "QUEUE_LIMIT", 2)
    queue = EventQueue(workspace, "recorder")
    for number in range(5):
        queue.append_or_drop(QueuedEvent(run_id=f"run-{number}"))
    assert (state(workspace).waiting, state(workspace).dropped) == (2, 3)


def test_the_ledger_waits_where_the_queue_has_no_room(recorder, workspace, monkeypatch):
    run_without_observers(workspace)
    monkeypatch.setattr(queue_module, "QUEUE_LIMIT", 1)
    queue = EventQueue(workspace, "recorder")
    queue.move_cursor(0)
    with Store(workspace) as store, Delivery(store, "recorder") as delivery:
        assert len(Registry(store).history()) >= 2
        while delivery.deliver().delivered:
            pass
    assert {event["kind"] for event in recorder.events()} == {"model", "alias"}
    assert state(workspace).dropped == 0


def test_events_are_delivered_by_one_process_at_a_time(recorder, workspace):
    queue = EventQueue(workspace, "recorder")
    queue.append_or_drop(QueuedEvent(run_id=run_without_observers(workspace)))
    queue.move_cursor(100)
    with delivery_lock(queue.folder), (queue.folder / "delivery.lock").open("w") as stream:
        with pytest.raises(OSError, match="unavailable"):
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        waiting = subprocess.Popen(
            [sys.executable, "-m", "mlops_core.observers.delivery", str(workspace), "recorder"],
            stdin=subprocess.DEVNULL,
        )
        time.sleep(0.5)
        assert recorder.calls() == []
    assert waiting.wait(60) == 0
    assert kinds(recorder) == [("run", "ended")]


def test_an_observer_that_cannot_be_imported_harms_no_run(tmp_path, toy, workspace, call, monkeypatch):
    broken = tmp_path / "broken"
    (broken / "mlops_broken-0.1.0.dist-info").mkdir(parents=True)
    (broken / "mlops_broken-0.1.0.dist-info" / "METADATA").write_text("Name: mlops-broken\nVersion: 0.1.0\n")
    points = "[mlops.observers]\nbroken = mlops_broken\n"
    (broken / "mlops_broken-0.1.0.dist-info" / "entry_points.txt").write_text(points)
    (broken / "mlops_broken.py").write_text("raise RuntimeError('half installed')\n")
    monkeypatch.syspath_prepend(str(broken))
    monkeypatch.setenv("PYTHONPATH", f"{os.environ['PYTHONPATH']}:{broken}")
    with monkeypatch.context() as patch:
        patch.setenv("MLOPS_OBSERVERS", "recorder, broken")
        assert run(workspace).status == "accepted"
    with pytest.raises(PluginError, match=r"observer 'broken' \(mlops-broken 0\.1\.0\): RuntimeError: half installed"):
        load_observer(find_observer("broken"))
    code, out, _ = call("--workspace", workspace, "observers", "list")
    assert code == 0
    assert "broken" in out


def test_a_misspelt_hook_is_refused(tmp_path, monkeypatch):
    (tmp_path / "misspelt-0.1.dist-info").mkdir()
    (tmp_path / "misspelt-0.1.dist-info" / "METADATA").write_text("Name: misspelt\nVersion: 0.1\n")
    (tmp_path / "misspelt-0.1.dist-info" / "entry_points.txt").write_text("[mlops.observers]\nwrong = misspelt\n")
    text = "from mlops_core.observers import hookimpl\n@hookimpl\ndef mlops_observe_runs(run, context): pass\n"
    (tmp_path / "misspelt.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(PluginError, match="mlops_observe_runs"):
        load_observer(find_observer("wrong"))


def test_an_unknown_observer_is_refused_with_a_suggestion(recorder):
    with pytest.raises(UsageError, match="no observer 'recorde'; did you mean 'recorder'"):
        find_observer("recorde")


def test_settings_that_are_no_section_are_refused(recorder, workspace):
    (workspace / "workspace.yaml").write_text("observers:\n  recorder: http://localhost\n")
    with Store(workspace) as store, pytest.raises(ConfigError, match=r"observers\.recorder is 'http://localhost'"):
        Delivery(store, "recorder")


def test_the_section_of_the_configuration_beats_the_settings_of_the_workspace():
    from mlops_core.observers.facts import section_settings

    assert section_settings("mlflow:\n  uri: http://h\n  experiment: null\n", "mlflow") == {"uri": "http://h"}
    assert section_settings("mlflow: 3\n", "mlflow") == {}
    assert section_settings("[", "mlflow") == {}
    assert delivery_module.HOOK_LIMIT_S == 60


def test_an_observer_is_active_only_where_it_is_asked_for(recorder, workspace, monkeypatch):
    class Config:
        def __init__(self, sections):
            self.sections = lambda: sections

    def names(sections=None):
        config = None if sections is None else Config(sections)
        return [observer.name for observer in active_observers(workspace, config) if observer.name == "recorder"]

    assert names({}) == ["recorder"]
    (workspace / "workspace.yaml").unlink()
    assert names({}) == names({"recorder": {"uri": None}}) == names() == []
    assert names({"recorder": {"uri": "http://h"}}) == ["recorder"]
    with monkeypatch.context() as patch:
        patch.setenv("MLOPS_OBSERVERS", "other, Recorder")
        assert names({}) == ["recorder"]
    EventQueue(workspace, "recorder").move_cursor(0)
    assert (names(), names({})) == (["recorder"], [])
