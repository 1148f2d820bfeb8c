"""The driver's side: events of a run go into the queue of every installed observer, and a process delivers them.

A run pays for one small file per event and for the start of one process per observer. Whatever goes wrong here is a
note of the run, never its failure.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from mlops_core.errors import ConfigError, MlopsError
from mlops_core.observers.discovery import active_observers
from mlops_core.observers.events import EventPhase
from mlops_core.observers.progress_file import ProgressFileObserver
from mlops_core.observers.queue import EventQueue, QueuedEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mlops_core.config_files.loaded import LoadedConfig
    from mlops_core.observers.discovery import InstalledObserver
    from mlops_core.runners.observers import RunObserver
    from mlops_core.workspace.records import RunRecord, StepRecord
    from mlops_core.workspace.store import Store

_STARTS = 3
"""Number of times that a run starts the process of an observer."""


class PublishingObserver:
    """Passes the events of a run to an observer of this process, and to the queues of the installed ones."""

    def __init__(self, observer: RunObserver, store: Store, installed: tuple[InstalledObserver, ...]) -> None:
        """Pass events on to `observer`, and to the queues of `installed` in the workspace."""
        self._observer = observer
        self._deliveries = [_Delivery(store, one) for one in installed]
        self._run_id = ""

    def run_started(self, record: RunRecord) -> None:
        """Queue the start of the run."""
        self._run_id = record.run_id
        self._observer.run_started(record)
        self._publish(QueuedEvent(phase=EventPhase.STARTED, run_id=record.run_id))

    def step_started(self, name: str) -> None:
        """Queue the start of a step."""
        from mlops_core.workspace.records import StepRecord

        self._observer.step_started(name)
        self._publish(QueuedEvent(phase=EventPhase.STARTED, run_id=self._run_id, step=StepRecord(name=name)))

    def step_progress(self, name: str, label: str, done: int, total: int) -> None:
        """Pass the progress on; installed observers do not receive it."""
        self._observer.step_progress(name, label, done, total)

    def step_ended(self, record: StepRecord) -> None:
        """Queue the end of a step."""
        self._observer.step_ended(record)
        self._publish(QueuedEvent(phase=EventPhase.ENDED, run_id=self._run_id, step=record))

    def note(self, text: str) -> None:
        """Pass the message on."""
        self._observer.note(text)

    def close(self) -> None:
        """Queue the end of the run, and let the processes deliver what is left after this one has ended."""
        if self._run_id:
            self._publish(QueuedEvent(phase=EventPhase.ENDED, run_id=self._run_id))
        for delivery in self._deliveries:
            delivery.close()

    def _publish(self, event: QueuedEvent) -> None:
        if not self._run_id:  # steps belong to a run that has begun
            return
        for delivery in self._deliveries:
            delivery.publish(event, note=self._observer.note)


@contextlib.contextmanager
def published(observer: RunObserver, store: Store, config: LoadedConfig) -> Iterator[RunObserver]:
    """Return an observer that also publishes the run: to the active observers, and to `mlops runs watch`.

    Args:
        observer: that of this process.
        store: the workspace.
        config: of the run.

    Raises:
        ConfigError: ``workspace.yaml`` is wrong.
    """
    recorded = ProgressFileObserver(observer, store)
    publishing = PublishingObserver(recorded, store, active_observers(store.home, config))
    try:
        yield publishing
    finally:
        recorded.close()
        publishing.close()


@contextlib.contextmanager
def announced_models(store: Store) -> Iterator[None]:
    """Let the active observers read what the body changes about models and aliases.

    Observers raise nothing here: what cannot be delivered now is delivered with the next run, or by ``mlops observers
    flush``.
    """
    active: tuple[InstalledObserver, ...] = ()
    with contextlib.suppress(ConfigError):  # a command about models says nothing about observers
        active = active_observers(store.home)
    for observer in active:
        with contextlib.suppress(MlopsError, OSError):
            EventQueue(store.home, observer.name).start(store)
    yield
    for observer in active:
        with contextlib.suppress(OSError):
            start_delivery(store.home, observer.name).close()


class _Delivery:
    """The queue and the process of one observer, during one run."""

    def __init__(self, store: Store, installed: InstalledObserver) -> None:
        self._store = store
        self._name = installed.name
        self._queue = EventQueue(store.home, installed.name)
        self._process: DeliveryProcess | None = None
        self._starts = 0
        self._is_given_up = False

    def publish(self, event: QueuedEvent, *, note: Callable[[str], None]) -> None:
        """Queue an event and wake the process up; where that is impossible, `note` says so once."""
        if self._is_given_up:
            return
        try:
            if self._process is None:
                self._queue.start(self._store)
            self._queue.append_or_drop(event)
            self._wake_up()
        except Exception as error:  # noqa: BLE001  an observer can never fail a run
            self._is_given_up = True
            note(f"observer '{self._name}' receives no further events: {error}")

    def _wake_up(self) -> None:
        if self._process is not None and self._process.wake_up():
            return
        if self._starts < _STARTS:
            self._starts += 1
            if self._process is not None:
                self._process.close()
            self._process = start_delivery(self._store.home, self._name)

    def close(self) -> None:
        """Tell the process that no further events follow."""
        if self._process is not None:
            self._process.close()


class DeliveryProcess:
    """A process that delivers the events of one observer; it outlives this one."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        """Hold the pipe whose end tells the process that no further events follow."""
        self._process = process
        assert process.stdin is not None  # noqa: S101  it was started with a pipe
        self._pipe = process.stdin
        os.set_blocking(self._pipe.fileno(), False)

    def wake_up(self) -> bool:
        """Say that there is a new event; return whether the process is alive."""
        if self._process.poll() is not None:
            return False
        try:
            os.write(self._pipe.fileno(), b".")
        except BlockingIOError:  # it has much to read already
            return True
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close the pipe; the process delivers what is left and ends by itself."""
        with contextlib.suppress(OSError):
            self._pipe.close()
        self._process.returncode = self._process.poll() or 0  # it is nobody's to wait for


def start_delivery(home: Path, name: str) -> DeliveryProcess:
    """Start the process that delivers the events of an observer, with the least claim to the processor.

    Raises:
        OSError: no process can be started.
    """
    process = subprocess.Popen(  # noqa: S603  our own module
        [sys.executable, "-P", "-m", "mlops_core.observers.delivery", str(home.absolute()), name],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        close_fds=True,
    )
    return DeliveryProcess(process)
