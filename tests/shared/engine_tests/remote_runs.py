"""Runs that a service carries out: from Python with an observer, and by commands in processes of their own."""

import os
import subprocess
import sys
from contextlib import contextmanager

from mlops_core import api

COMMAND = [sys.executable, "-c", "from mlops_core.cli import main; main()"]


class Notes:
    """An observer that records events."""

    def __init__(self):
        self.notes, self.steps = [], []

    def run_started(self, record):
        self.run_id = record.run_id

    def step_started(self, name):
        self.steps.append((name, "started"))

    def step_progress(self, *_):
        pass

    def step_ended(self, record):
        self.steps.append((record.name, str(record.status)))

    def note(self, text):
        self.notes.append(text)


class RemoteRuns:
    """A workspace whose runs a service carries out; an engine's test derives from it.

    Attributes:
        runner: name of the runner.
        options: makes its options from keywords.
    """

    runner = ""
    options = None

    def __init__(self, workspace):
        self.workspace = workspace
        self.observer = Notes()

    def run(self, *overrides, usecase="TOY", parameters=None, resume="", artifacts_dir=None, **options):
        return api.run(
            "" if resume else usecase,
            overrides=overrides,
            parameters=parameters,
            resume=resume,
            runner="" if resume else self.runner,
            workspace=self.workspace,
            artifacts_dir=artifacts_dir,
            options=self.options(**options),
            observer=self.observer,
        )

    def mlops(self, *arguments, code=0):
        """Carry out a command, which ends with this code, and return what it prints."""
        command = [*COMMAND, "--workspace", str(self.workspace), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr.replace("    Traceback", "")
        return done.stdout + done.stderr


@contextmanager
def variables(**values):
    """Set environment variables."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
