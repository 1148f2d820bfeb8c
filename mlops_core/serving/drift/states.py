"""The folder of a monitor: its state, whole or not at all, and its alarms; a thread writes, so that no answer waits."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_core.errors import StoreError
from mlops_core.serving.drift.alarms import DriftAlarm
from mlops_core.serving.drift.reference import FolderInUseError
from mlops_core.workspace.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

STATE_FILE = "state.json"
ALARMS_FILE = "alarms.jsonl"
_LOCK_FILE = "lock"
_FORMAT = 1


class StateFolder:
    """The folder of a monitor; one process at a time.

    Attributes:
        path: of the folder.
    """

    def __init__(self, path: Path, *, reference: str, policy: str) -> None:
        """Lock the folder.

        Args:
            path: created where it is missing.
            reference: digest.
            policy: digest.

        Raises:
            FolderInUseError: another process uses it.
            StoreError: it cannot be written.
        """
        self.path = path
        self._identity = {"format": _FORMAT, "reference": reference, "policy": policy}
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(path / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"drift: cannot use {path}: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise FolderInUseError(
                f"drift: another process keeps its state in {path}; use a folder for each server"
            ) from None
        except OSError:  # a file system without locks
            pass
        self._files: dict[str, Callable[[], str]] = {}
        self._alarms: deque[DriftAlarm] = deque()
        self._is_noted = False
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def read(self) -> dict[str, Any] | None:
        """Return the state, with its arrays; None if there is none yet.

        Raises:
            StoreError: it is of another reference or policy, or damaged.
        """
        path = self.path / STATE_FILE
        try:
            data = json.loads(path.read_bytes())
            found = {name: data[name] for name in self._identity}
            state = _decoded(data["state"])
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"drift: cannot read {path}: {error.strerror}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(f"drift: {path} is damaged ({error}); remove it to begin anew") from error
        for name, expected in self._identity.items():
            if found[name] != expected:
                raise StoreError(
                    f"drift: {path} is of another {name} ({str(found[name])[:12]} instead of {str(expected)[:12]}); "
                    "use another folder, or remove the file to begin anew"
                )
        assert isinstance(state, dict)  # noqa: S101  it was written as one
        return state

    def save(self, state: Mapping[str, Any]) -> None:
        """Have the state written soon; a newer one replaces one that waits. Its arrays must not change any more."""
        self.write(STATE_FILE, lambda: json.dumps({**self._identity, "state": _encoded(state)}) + "\n")

    def write(self, name: str, text: Callable[[], str]) -> None:
        """Have a file written soon, after the alarms; newer content replaces content that is waiting."""
        with self._changed:
            self._files[name] = text
            self._wake()

    def append_alarm(self, alarm: DriftAlarm) -> None:
        """Have an alarm appended soon."""
        with self._changed:
            self._alarms.append(alarm)
            self._wake()

    def alarms_after(self, count: int) -> tuple[int, list[DriftAlarm]]:
        """Return how many alarms are recorded, and those after the first `count` ones; damaged ones are only counted.

        Raises:
            StoreError: they cannot be read.
        """
        path = self.path / ALARMS_FILE
        total = 0
        found = []
        try:
            with path.open("rb") as stream:
                for line in stream:
                    total += bool(line.strip())
                    if total > count:
                        with contextlib.suppress(ValueError, KeyError, TypeError):
                            found.append(DriftAlarm.from_json(line))
        except FileNotFoundError:
            return 0, []
        except OSError as error:
            raise StoreError(f"drift: cannot read {path}: {error.strerror}") from error
        return total, found

    def _append(self, alarm: DriftAlarm) -> None:
        """Append a line to the alarms, beginning on a line of its own also after a torn one."""
        path = self.path / ALARMS_FILE
        with path.open("a+b") as stream:
            if stream.seek(0, os.SEEK_END):
                stream.seek(-1, os.SEEK_END)
                if stream.read(1) != b"\n":
                    stream.write(b"\n")
            stream.write(f"{alarm.to_json()}\n".encode())
            stream.flush()

    def close(self) -> None:
        """Write what is waiting, and release the folder."""
        with self._changed:
            if self._is_closed:
                return
            self._is_closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
        os.close(self._lock)

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="drift state", daemon=True)
            self._thread.start()
        self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._alarms or self._files or self._is_closed)
                alarms, self._alarms = self._alarms, deque()
                files, self._files = self._files, {}
            if not alarms and not files:
                return
            for alarm in alarms:
                try:
                    self._append(alarm)
                except OSError as error:
                    _warn(f"drift alarm {alarm.id} is not recorded: {error.strerror}")
            for name, text in files.items():
                try:
                    write_atomically(self.path / name, text())
                except OSError as error:
                    if not self._is_noted:
                        _warn(f"drift state in {self.path}: {error.strerror}")
                    self._is_noted = True


def _warn(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"mlops: warning: {text}\n")


def _encoded(value: object) -> object:
    if isinstance(value, np.ndarray):
        raw = np.ascontiguousarray(value, np.float64)
        return {"shape": list(raw.shape), "float64": base64.b64encode(raw.astype("<f8").tobytes()).decode("ascii")}
    if isinstance(value, dict):
        return {name: _encoded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_encoded(each) for each in value]
    return value


def _decoded(value: object) -> object:
    if isinstance(value, dict):
        if value.keys() == {"shape", "float64"}:
            raw = np.frombuffer(base64.b64decode(value["float64"], validate=True), "<f8")
            return raw.astype(np.float64).reshape(value["shape"])
        return {name: _decoded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_decoded(each) for each in value]
    return value
