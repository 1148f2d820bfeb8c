"""The process of one observer: reads its queue and the ledger, and calls the observer's hooks.

Started by a run with a pipe on standard input: a byte means a new event, the end of the pipe that no more follow. An
event stays in the queue until its hooks have returned. When the observer's service cannot be reached
(`ObserverUnavailableError`), the event waits; after any other error it is tried again, and put aside after the third
time. A hook that takes longer than the limit ends this process; the event is tried again by the next one.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import logging.handlers
import os
import select
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from mlops_core.config_files.workspace_settings import read_workspace_settings
from mlops_core.errors import MlopsError, ObserverUnavailableError
from mlops_core.observers.discovery import find_observer, load_observer
from mlops_core.observers.events import AliasEvent, EventPhase, ModelEvent, ObserverContext
from mlops_core.observers.facts import (
    find_entry,
    observed_entry,
    observed_run,
    observed_step,
    section_settings,
    version_config,
)
from mlops_core.observers.queue import ATTEMPTS, EventQueue, QueuedEvent
from mlops_core.workspace.records import RunStatus
from mlops_core.workspace.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pluggy

    from mlops_core.workspace.records import RunRecord

HOOK_LIMIT_S = 60.0
"""How long a hook may take before the process is ended."""
_PATIENCE_S = 10.0
"""How long events are tried again after the run has ended."""
_LOG_BYTES = 1 << 20
_NICENESS = 19
_STOPPED_BY_WATCH = 75


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryResult:
    """What one pass over the queue and the ledger achieved.

    Attributes:
        delivered: number of events that were delivered.
        error: why an event has to wait; empty when nothing is left.
    """

    delivered: int
    error: str = ""


class Delivery:
    """Calls the hooks of one observer with the events of one workspace."""

    def __init__(self, store: Store, name: str) -> None:
        """Load the observer.

        Args:
            store: the workspace.
            name: the observer's.

        Raises:
            UsageError: the observer is not installed.
            PluginError: it cannot be loaded.
            ConfigError: ``workspace.yaml`` is wrong.
        """
        installed = find_observer(name)
        self._store = store
        self.queue = EventQueue(store.home, installed.name)
        self._name = installed.name
        self._settings = read_workspace_settings(store.home).observers.get(installed.name, {})
        self._log = _open_log(self.queue.folder, installed.name)
        self._hooks: pluggy.HookRelay = load_observer(installed).hook

    def __enter__(self) -> Self:
        """Return the delivery."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the log."""
        for handler in self._log.handlers:
            handler.close()

    def deliver(self) -> DeliveryResult:
        """Deliver what is in the queue and new in the ledger; stop at the first event that has to wait."""
        delivered, error = 0, ""
        self.queue.take_from_ledger(self._store)
        while not error and (path := self.queue.first()) is not None:
            error = self._deliver_file(path)
            delivered += not error
        self.queue.write_error(error)
        return DeliveryResult(delivered=delivered, error=error)

    def deliver_lost_ends(self) -> None:
        """Deliver the end of runs whose driver was killed before it could queue it, or that a service has ended."""
        for run_id in self.queue.open_runs():
            record = self._record(run_id)
            if record is None:
                self.queue.mark_ended(run_id)
            elif record.status is not RunStatus.RUNNING:
                self.queue.append_or_drop(QueuedEvent(run_id=run_id))
        self.deliver()

    def _deliver_file(self, path: Path) -> str:
        """Deliver one event; return why it has to wait, or nothing when it was delivered or put aside."""
        attempt = self.queue.begin_attempt(path)
        if self.queue.attempts(attempt) > ATTEMPTS:
            self._log.error("put aside after %d attempts: %s", ATTEMPTS, attempt.name)
            self.queue.put_aside(attempt)
            return ""
        try:
            self._call_for(self.queue.read(attempt))
        except ObserverUnavailableError as unavailable:
            self._log.warning("%s", unavailable)
            self.queue.take_back_attempt(attempt)
            return str(unavailable) or "the observer is not available"
        except Exception as failure:  # noqa: BLE001  the observer is foreign code, and its event is kept
            self._log.exception("%s", attempt.name)
            return f"{type(failure).__name__}: {failure}"
        attempt.unlink(missing_ok=True)
        return ""

    def _call_for(self, event: QueuedEvent) -> None:
        if event.sequence:
            self._call_for_entry(event.sequence)
            return
        record = self._record(event.run_id)
        if record is None:
            self._log.warning("run %s was removed; its %s event is skipped", event.run_id, event.phase)
        elif event.step is None:
            run = observed_run(self._store, record, phase=event.phase)
            self._call("mlops_observe_run", record.config, run=run)
            if event.phase is EventPhase.STARTED or record.status is RunStatus.RUNNING:
                self.queue.mark_open(event.run_id)
            else:
                self.queue.mark_ended(event.run_id)
        else:
            step = observed_step(self._store, record, event.step, phase=event.phase)
            self._call("mlops_observe_step", record.config, step=step)

    def _call_for_entry(self, sequence: int) -> None:
        entry = find_entry(self._store, sequence)
        subject = None if entry is None else observed_entry(self._store, entry)
        if isinstance(subject, ModelEvent):
            self._call("mlops_observe_model", subject.version.config, model=subject)
        elif isinstance(subject, AliasEvent):
            config = version_config(self._store, subject.use_case, subject.version)
            self._call("mlops_observe_alias", config, alias=subject)

    def _call(self, hook: str, config: str, **arguments: object) -> None:
        settings = {**self._settings, **section_settings(config, self._name)}
        context = ObserverContext(name=self._name, workspace=self._store.home, settings=settings, log=self._log)
        with _limited(HOOK_LIMIT_S, hook, self._log):
            getattr(self._hooks, hook)(context=context, **arguments)

    def _record(self, run_id: str) -> RunRecord | None:
        try:
            return self._store.runs.load(run_id)
        except MlopsError:
            return None


@contextlib.contextmanager
def _limited(limit_s: float, hook: str, log: logging.Logger) -> Iterator[None]:
    """End this process when the body takes longer; nothing else stops a thread that hangs in foreign code."""

    def end() -> None:
        log.error("%s takes longer than %g s; the process is ended and the event tried again", hook, limit_s)
        os._exit(_STOPPED_BY_WATCH)

    timer = threading.Timer(limit_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _open_log(folder: Path, name: str) -> logging.Logger:
    """Return the log of a delivery: a file of at most 1 MiB and the one before."""
    folder.mkdir(parents=True, exist_ok=True)
    log = logging.Logger(f"mlops.observers.{name}", logging.INFO)  # noqa: LOG001  each workspace has its own file
    handler = logging.handlers.RotatingFileHandler(
        folder / "delivery.log", maxBytes=_LOG_BYTES, backupCount=1, encoding="utf-8", delay=True
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    return log


# --- The process ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def delivery_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of an observer in a workspace: events are delivered by one process at a time, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "delivery.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _wait(timeout_s: float) -> bool:
    """Wait for a byte on standard input, its end, or the time; return whether the pipe is open."""
    readable, _, _ = select.select([0], [], [], timeout_s)
    return not readable or bool(os.read(0, 65_536))


def _deliver_until_the_end(delivery: Delivery) -> None:
    """Deliver events while the driver lives, then what is left, for a limited time."""
    is_open, pause_s, ended = True, 0.0, 0.0
    while True:
        result = delivery.deliver()
        if not is_open and (not result.error or time.monotonic() - ended > _PATIENCE_S):
            return
        pause_s = min(5.0, 2 * pause_s or 0.25) if result.error else 0.0
        if not is_open:
            time.sleep(min(pause_s, 1.0))
        elif not _wait(pause_s or 3600.0):
            is_open, ended = False, time.monotonic()


def main(home: str, name: str) -> int:
    """Deliver the events of the observer `name` in the workspace `home`; return the exit code."""
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)
    with (
        Store(Path(home)) as store,
        delivery_lock(EventQueue(store.home, name).folder),
        Delivery(store, name) as delivery,
    ):
        _deliver_until_the_end(delivery)
        delivery.deliver_lost_ends()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
