"""Runs: a folder with the record of each run, the journal of its steps, its lock, and the table ``runs``.

``runs/<run-id>/run.json`` is the record. While a run is carried out, each finished step is a line of ``steps.jsonl``,
and the process holds a lock on ``run.lock``, which the system releases when the process ends; its id is in that file.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.errors import StoreError, UsageError
from mlops_core.workspace.files import write_atomically
from mlops_core.workspace.records import RunRecord, RunStatus, StepRecord, step_or_mapping

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping

JOURNAL = "steps.jsonl"
PROGRESS = "progress.json"
LOCK = "run.lock"
_READABLE_STEPS = 200
"""Up to so many steps, the record has one line per value."""
_SUMMARY = "run_id, use_case, status, created, runner, duration_s, model_version"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One line of ``mlops runs list``."""

    run_id: str
    use_case: str
    status: RunStatus
    created: str
    runner: str
    duration_s: float
    model_version: int | None


def is_damaged(row: sqlite3.Row) -> bool:
    """Return whether a row of ``runs`` holds values that are none of a run's."""
    texts = ("run_id", "use_case", "created", "runner")
    return not (
        all(isinstance(row[column], str) for column in texts)
        and row["status"] in set(RunStatus)
        and isinstance(row["duration_s"], int | float)
        and isinstance(row["model_version"], int | None)
    )


class RunStore:
    """The runs of one workspace."""

    def __init__(self, root: Path, database: sqlite3.Connection) -> None:
        """Keep runs below the folder `root` and list them in an open database of the present schema."""
        self.root = root
        self._db = database

    def folder(self, run_id: str) -> Path:
        """Return the folder of a run."""
        return self.root / run_id

    @contextlib.contextmanager
    def lock(self, run_id: str) -> Iterator[None]:
        """Hold the lock of a run; the operating system releases it when this process ends.

        Raises:
            UsageError: another process holds it.
        """
        folder = self.folder(run_id)
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        with (folder / LOCK).open("a") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UsageError(f"run {run_id} is being carried out by another process") from None
            stream.truncate(0)
            stream.write(f"{os.getpid()}\n")
            stream.flush()
            yield

    def interrupt(self, run_id: str) -> None:
        """Ask the process of this machine that carries out a run to stop it, as Ctrl-C does; return at once.

        Raises:
            UsageError: no process of this machine carries it out, or not one that may be asked.
        """
        path = self.folder(run_id) / LOCK
        if not self.is_alive(run_id):
            raise UsageError(f"run {run_id} is not being carried out by a process of this machine")
        try:
            pid = int(path.read_text(encoding="ascii"))
            fault = "" if pid > 1 and _holds(pid, path) else f"process {pid} does not hold it"
            if not fault:
                os.kill(pid, signal.SIGINT)
        except (OSError, ValueError, OverflowError) as error:
            fault = str(error)
        if fault:
            raise UsageError(
                f"run {run_id} cannot be stopped from here: {path}: {fault}; press Ctrl-C where it was started"
            )

    def is_alive(self, run_id: str) -> bool:
        """Return whether a process of this machine carries out the run."""
        try:
            with (self.folder(run_id) / LOCK).open("r") as stream:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False

    def save(self, record: RunRecord) -> None:
        """Write ``run.json`` and the row of the run, and remove the journal of its steps, which the record includes."""
        folder = self.folder(record.run_id)
        if self.root.is_dir():  # not: the workspace was removed, and half of one would hide that
            (folder / "logs").mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "run.json", _record_text(record))
        self._write_row(record)
        (folder / JOURNAL).unlink(missing_ok=True)

    def _write_row(self, record: RunRecord) -> None:
        artifacts = sorted({digest for step in record.steps for digest in step.outputs.values()})
        self._db.execute(
            "INSERT INTO runs (run_id, use_case, status, created, runner, duration_s, model_version, artifacts) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (run_id) DO UPDATE SET status = excluded.status, "
            "duration_s = excluded.duration_s, model_version = excluded.model_version, artifacts = excluded.artifacts",
            (
                record.run_id,
                record.use_case,
                record.status,
                record.created,
                record.runner,
                record.duration_s,
                record.model_version,
                json.dumps(artifacts),
            ),
        )

    def list_again(self, run_id: str) -> None:
        """Write the row of a run whose record is in its folder; a folder without a record stays as it is."""
        try:
            data = json.loads((self.folder(run_id) / "run.json").read_text(encoding="utf-8"))
            self._write_row(RunRecord.from_json(data))
        except (OSError, ValueError, KeyError, TypeError):
            return

    def append_step(self, run_id: str, step: StepRecord) -> None:
        """Append a step to the journal of a run, so that the cost per step does not grow with the number of steps."""
        line = json.dumps(step.to_json(), ensure_ascii=False) + "\n"
        with (self.folder(run_id) / JOURNAL).open("a", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(line)

    def write_progress(self, run_id: str, progress: Mapping[str, tuple[str, int, int]]) -> None:
        """Write what the running steps of a run report; without any, remove it. It is lost when the machine stops.

        Args:
            run_id: the run.
            progress: name of each running step -> (what is counted, done, total); total is 0 if nothing is counted.
        """
        path = self.folder(run_id) / PROGRESS
        if not progress:
            path.unlink(missing_ok=True)
            return
        partial = path.with_name(f".{PROGRESS}")
        partial.write_text(json.dumps(progress, ensure_ascii=False), encoding="utf-8", errors="backslashreplace")
        partial.replace(path)

    def progress(self, run_id: str) -> dict[str, tuple[str, int, int]]:
        """Return what the running steps of a run reported last, as in `write_progress`; empty for a run that ended."""
        try:
            data = json.loads((self.folder(run_id) / PROGRESS).read_text(encoding="utf-8"))
            return {str(name): (str(label), int(done), int(total)) for name, (label, done, total) in data.items()}
        except (OSError, ValueError, TypeError, AttributeError):  # none, or of another version
            return {}

    def forget(self, run_id: str) -> None:
        """Remove the folder and the row of a run; its artifacts stay until `housekeeping` removes them."""
        self._db.execute("DELETE FROM runs WHERE run_id = ?", (run_id,))
        shutil.rmtree(self.folder(run_id), ignore_errors=True)

    def newest(self, *, use_case: str | None = None, limit: int = 50) -> tuple[RunSummary, ...]:
        """Return the newest `limit` runs (-1: all), newest first; a run whose process is gone counts as stopped."""
        condition, values = ("WHERE use_case = ? COLLATE NOCASE ", (use_case,)) if use_case is not None else ("", ())
        rows = self._db.execute(
            f"SELECT {_SUMMARY} FROM runs {condition}ORDER BY sequence DESC LIMIT ?",  # noqa: S608
            (*values, limit),
        )
        return tuple(self._run_summary(row) for row in rows)

    def artifacts(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield each run, oldest first, with the digests of the artifacts that its steps wrote.

        They are in the table, except those of a run that an older version wrote or that has not finished. A record that
        cannot be read names none.
        """
        for run_id, status, listed in self._db.execute("SELECT run_id, status, artifacts FROM runs ORDER BY sequence"):
            if listed is not None and status != RunStatus.RUNNING:
                try:
                    yield run_id, tuple(map(str, json.loads(listed)))
                    continue
                except (ValueError, TypeError):
                    pass
            yield run_id, self._recorded_artifacts(run_id)

    def _recorded_artifacts(self, run_id: str) -> tuple[str, ...]:
        """Return the artifacts in the record and the journal of a run, without checking the rest of them."""
        path = self.folder(run_id) / "run.json"
        try:
            steps = json.loads(path.read_text(encoding="utf-8"))["steps"]
            steps += [step.to_json() for step in _read_journal(path.with_name(JOURNAL))]
            return tuple({str(digest) for step in steps for digest in step["outputs"].values()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return ()

    def _run_summary(self, row: sqlite3.Row) -> RunSummary:
        if is_damaged(row):
            raise StoreError(
                f"run {row['run_id']}: its row in mlops.db is damaged; mend it with: mlops doctor --repair"
            )
        status = self.status_now(RunStatus(row["status"]), row["run_id"])
        return RunSummary(**{**dict(row), "status": status})

    def status_now(self, status: RunStatus, run_id: str) -> RunStatus:
        """Return a recorded status; a run counts as stopped that nothing carries out any more."""
        is_gone = status is RunStatus.RUNNING and not self.is_alive(run_id) and not self._is_remote(run_id)
        return RunStatus.STOPPED if is_gone else status

    def _is_remote(self, run_id: str) -> bool:
        """Return whether a service carries out the run, which needs no process of this machine."""
        try:
            data = json.loads((self.folder(run_id) / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return isinstance(data, dict) and bool(data.get("remote"))

    def load(self, run_id: str) -> RunRecord:
        """Return the record of a run, by its id, an unambiguous prefix of it, or ``latest``.

        Raises:
            UsageError: no run matches, or several do.
            StoreError: the record is damaged.
        """
        return self._read(self.full_id(run_id))

    def _read(self, run_id: str) -> RunRecord:
        path = self.folder(run_id) / "run.json"
        try:
            parsed = json.loads(path.read_text(encoding="utf-8"), object_hook=step_or_mapping)
            record = RunRecord.from_json(parsed)
            journal = {step.name: step for step in _read_journal(path.with_name(JOURNAL))}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"run record {path} cannot be read: {error}") from error
        steps = tuple(journal.get(step.name, step) for step in record.steps)
        return replace(record, steps=steps, status=self.status_now(record.status, record.run_id))

    def full_id(self, run_id: str) -> str:
        """Return the id of the only run that begins with `run_id`, or of the newest for ``latest``.

        Raises:
            UsageError: no run matches, or several do.
        """
        if run_id == "latest":
            rows = self._db.execute("SELECT run_id FROM runs ORDER BY sequence DESC LIMIT 1").fetchall()
        else:
            rows = self._db.execute("SELECT run_id FROM runs WHERE run_id = ?", (run_id,)).fetchall()
            rows = rows or self._beginning_with(run_id)
        if not rows:
            raise UsageError(f"no run '{run_id}' in {self.root.parent}; list them with mlops runs list")
        if len(rows) > 1:
            raise UsageError(
                f"run '{run_id}' is ambiguous: {', '.join(row[0] for row in rows)}, ...; give more characters"
            )
        return str(rows[0][0])

    def _beginning_with(self, prefix: str) -> list[sqlite3.Row]:
        """Return up to three ids that begin with `prefix`; a range, so that the index is used."""
        return self._db.execute(
            "SELECT run_id FROM runs WHERE run_id >= ?1 AND run_id < ?1 || char(1114111) ORDER BY run_id LIMIT 3",
            (prefix,),
        ).fetchall()


def _holds(pid: int, path: Path) -> bool:
    """Return whether a process has the file open; True where the system does not say."""
    try:
        places = [link.readlink() for link in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:  # another system, or a process that hides what it does
        return True
    return path.resolve() in places


def _record_text(record: RunRecord) -> Iterator[str]:
    """Yield the text of a record; that of many steps has one line per step, each made when it is written."""
    if len(record.steps) <= _READABLE_STEPS:
        yield json.dumps(record.to_json(), indent=1, ensure_ascii=False) + "\n"
        return
    rest = replace(record, steps=()).to_json()
    del rest["steps"]
    yield json.dumps(rest, ensure_ascii=False)[:-1] + ', "steps": ['
    separator = "\n"
    for step in record.steps:
        yield separator + json.dumps(step.to_json(), ensure_ascii=False)
        separator = ",\n"
    yield "\n]}\n"


def _read_journal(path: Path) -> Iterator[StepRecord]:
    """Yield the complete lines of a journal; the last one may have been cut off when the driver was killed."""
    if not path.exists():
        return
    text = path.read_text(encoding="utf-8")
    for line in text.split("\n")[:-1]:  # not splitlines: a message may hold other separators of lines
        yield StepRecord.from_json(json.loads(line))
