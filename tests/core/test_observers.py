"""Observers of a run: they receive every event, and can never fail a run."""

import warnings
from dataclasses import replace

import pytest

from mlops_core.api import prepare_run
from mlops_core.runners.lifecycle.new_records import new_record
from mlops_core.runners.observers import GuardedObserver
from mlops_core.workspace.records import RunStatus, StepStatus


class Recorder:
    """Keeps every event."""

    def __init__(self):
        self.events = []

    def run_started(self, record):
        self.events.append(("run_started", record.status))

    def step_started(self, name):
        self.events.append(("step_started", name))

    def step_progress(self, name, label, done, total):
        self.events.append(("step_progress", name, label, done, total))

    def step_ended(self, record):
        self.events.append(("step_ended", record.name, record.status))

    def note(self, text):
        self.events.append(("note", text))


def test_guarded_observer_passes_every_event_on(toy):
    record, observer = new_record(prepare_run("TOY"), runner="local"), Recorder()
    guarded = GuardedObserver(observer)
    guarded.run_started(record)
    guarded.step_started("train")
    guarded.step_progress("train", "epochs", 1, 3)
    guarded.step_ended(replace(record.steps[0], status=StepStatus.DONE))
    guarded.note("text")
    assert observer.events == [
        ("run_started", RunStatus.RUNNING),
        ("step_started", "train"),
        ("step_progress", "train", "epochs", 1, 3),
        ("step_ended", "preprocess", StepStatus.DONE),
        ("note", "text"),
    ]


def test_observer_that_raises_receives_no_further_events():
    class Broken(Recorder):
        def note(self, text):
            super().note(text)
            raise OSError("the terminal is gone")

    broken = Broken()
    guarded = GuardedObserver(broken)
    with pytest.warns(UserWarning, match="the run's observer raised .*the terminal is gone.*no further events"):
        guarded.note("first")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        guarded.note("second")
    assert broken.events == [("note", "first")]
