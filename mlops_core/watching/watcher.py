"""`mlops watch`: a folder, rules, a journal and runs, in one loop that can be killed at any moment.

Whatever is decided is in the journal before it is done. After a restart the folder is compared with the journal, and
each start that is not finished is found again by the id of its run.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.datasets.digests import file_digest, tree_manifest
from mlops_core.datasets.ingestion import Ingestion, ingest
from mlops_core.errors import DatasetError, ExitCode, MlopsError, UsageError
from mlops_core.runners.lifecycle.new_records import new_run_id
from mlops_core.watching.folder import WatchedFolder
from mlops_core.watching.journal import Reception, StartJournal, StartRecord, StartStatus
from mlops_core.watching.notices import open_notices
from mlops_core.watching.rules import ObjectRule, PrefixRule, TriggerRule
from mlops_core.watching.runs import RunProcesses
from mlops_core.workspace.database import disappeared
from mlops_core.workspace.files import write_atomically
from mlops_core.workspace.store import Store

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Sequence

    from mlops_core.watching.arrivals import Arrival

_TICK_S = 0.2
_ATTEMPTS = 3
"""How often a run that is killed is resumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderOptions:
    """How a folder is watched.

    Attributes:
        bucket: the name of the folder in rules.
        poll_s: look at the folder so often instead of using notices of the system; None for notices.
        settle_s: a file is complete when it has not changed for this long, in seconds.
        includes_existing: existing files arrive, too, when the folder is first watched.
        is_once: end when nothing waits and no run is going on.
        run_arguments: more arguments of ``mlops run``.
        use_case: the one for rules that name none; each has a journal of its own. Empty if all rules name theirs.
    """

    bucket: str
    poll_s: float | None = None
    settle_s: float = 1.0
    includes_existing: bool = False
    is_once: bool = False
    run_arguments: tuple[str, ...] = ()
    use_case: str = ""


@dataclass(slots=True)
class _Attempts:
    """What was tried since the watcher started.

    Attributes:
        counts: run id -> how often it was resumed.
        refused: name of a rule -> how many arrivals wait since a start of it was refused; more of them try it again.
        exit_code: the worst one of the runs, with that of a rejected model as the least.
    """

    counts: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    exit_code: int = 0

    def add(self, run_id: str) -> int:
        self.counts[run_id] = self.counts.get(run_id, 0) + 1
        return self.counts[run_id]

    def note_exit_code(self, code: int) -> None:
        self.exit_code = max(self.exit_code, int(code), key=lambda each: (each != ExitCode.REJECTED and each, each))


class Watcher:
    """Watches one folder by the rules of one file."""

    def __init__(
        self,
        folder: Path,
        rules: Sequence[TriggerRule],
        *,
        workspace: Path,
        options: FolderOptions,
        report: Callable[[str], None],
    ) -> None:
        """Watch `folder`, start runs in `workspace`, and report each event in one line.

        Raises:
            UsageError: the folder does not exist, no rule is about it, or runs would write into it.
        """
        self._folder = folder.absolute()
        self._rules = {rule.name: rule for rule in rules if rule.is_enabled and _is_about(rule, options.bucket)}
        self._workspace = workspace.absolute()
        self._options = options
        self._report = report
        self._attempts = _Attempts()
        _check(self._folder, self._workspace, rules, options)
        named = f"\0{options.use_case}" if options.use_case else ""
        identity = hashlib.sha256(f"{self._folder}\0{options.bucket}{named}".encode()).hexdigest()[:16]
        self._home = self._workspace / "watch" / identity
        self._lock = self._home / "lock"
        self._processes = RunProcesses(self._home / "runs", workspace=self._workspace)

    def watch(self, stop: threading.Event) -> int:
        """Watch until `stop` is set; runs that are going on continue.

        Returns:
            The worst exit code of the runs that ended or could not start meanwhile.

        Raises:
            UsageError: another process watches this folder.
            StoreError: the journal cannot be written, or the workspace disappeared.
            OSError: the folder cannot be read.
        """
        with Store(self._workspace):  # so that it exists, and refuses here what a run would refuse
            pass
        with self._only_watcher(), StartJournal(self._home / "journal.db") as journal:
            known = journal.known_files()
            watched = WatchedFolder(
                self._folder, bucket=self._options.bucket, known=known, settle_s=self._options.settle_s
            )
            if not known and not self._options.includes_existing and not (self._home / "begun").exists():
                self._take_stock(journal)
                watched = WatchedFolder(
                    self._folder,
                    bucket=self._options.bucket,
                    known=journal.known_files(),
                    settle_s=self._options.settle_s,
                )
            write_atomically(self._home / "begun", "")
            self._loop(journal, watched, stop)
        return self._attempts.exit_code

    def _loop(self, journal: StartJournal, watched: WatchedFolder, stop: threading.Event) -> None:
        notices = open_notices(self._folder, poll_s=self._options.poll_s, stop=stop)
        paths: set[str] | None = None
        while not stop.is_set():
            self._require_workspace()
            found = watched.look(paths)
            if found.files or found.removed:
                self._receive(journal, found.arrivals, files=dict(found.files), removed=found.removed)
            is_idle = not found.is_settling
            for rule in self._rules.values():
                is_idle &= self._advance(journal, rule)
            if is_idle and self._options.is_once and paths is None:
                return
            paths = notices.wait(_TICK_S)
            if self._options.is_once:
                paths = None

    def _require_workspace(self) -> None:
        """Raise a `StoreError` if the workspace was removed: nothing is recorded any more, and half of one misleads."""
        if not self._lock.exists():
            raise disappeared(self._workspace)

    @contextlib.contextmanager
    def _only_watcher(self) -> Iterator[None]:
        self._home.mkdir(parents=True, exist_ok=True)
        with self._lock.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UsageError(f"another process watches {self._folder} for this workspace; end it first") from None
            yield

    def _take_stock(self, journal: StartJournal) -> None:
        """Record the existing files when the folder is first watched, without a start."""
        found = WatchedFolder(self._folder, bucket=self._options.bucket, known={}, settle_s=0)
        found.look()
        stock = found.look()
        journal.receive([], files=dict(stock.files))
        self._report(f"watching {self._folder}: {_counted(len(stock.files), 'existing file')}")

    # --- Arrivals -----------------------------------------------------------------------------------------

    def _receive(
        self,
        journal: StartJournal,
        arrivals: Sequence[Arrival],
        *,
        files: dict[str, tuple[str, str]],
        removed: Sequence[str],
    ) -> None:
        accepted = []
        for arrival in arrivals:
            names = tuple(name for name, rule in self._rules.items() if rule.accepts(arrival))
            made_by = journal.maker_of(arrival.version) if names else ""
            if made_by:
                self._report(
                    f"{arrival.key}: run {made_by} made this file, and it would start the next one: ignored; let runs "
                    f"write outside of {self._folder}"
                )
                names = ()
            accepted.append((arrival, names))
        for arrival, name, reception in journal.receive(accepted, files=files, removed=removed):
            if reception is Reception.NEW:
                self._report(f"{name}: {arrival.key} arrived")

    # --- Starts -------------------------------------------------------------------------------------------

    def _advance(self, journal: StartJournal, rule: TriggerRule) -> bool:
        """Look after the start of a rule, or begin the next one; return whether nothing is going on or waits."""
        now = time.time()
        start = journal.unfinished(rule.name)
        if start is not None:
            if not self._processes.is_alive(start.run_id):
                self._look_after(journal, rule, start)
            return False
        waiting = journal.waiting(rule)
        if waiting is None or waiting.count == self._attempts.refused.get(rule.name):
            return True
        start = journal.start(rule, run_id=new_run_id(), now=now)
        if start is None:
            return False
        self._attempts.refused.pop(rule.name, None)
        self._begin(journal, rule, start)
        return False

    def _begin(self, journal: StartJournal, rule: TriggerRule, start: StartRecord) -> None:
        """Start the run of a start, or skip it where an earlier run had the same data."""
        self._require_workspace()
        try:
            digest = self._data_digest(rule)
            earlier = journal.earlier_with(digest, rule=rule.name)
            if earlier is not None:
                journal.note_data(start, digest)
                journal.finish(
                    start, StartStatus.SKIPPED, now=time.time(), note=f"run {earlier.run_id} had the same data"
                )
                self._report(f"{rule.name}: nothing to run: run {earlier.run_id} had the same data")
                return
            path, digest = self._data(rule, digest)
            journal.note_data(start, digest)
            arguments = self._arguments(rule, path)
            self._processes.start(start.run_id, arguments)
        except (MlopsError, OSError) as error:
            self._require_workspace()
            code = error.exit_code if isinstance(error, MlopsError) else ExitCode.DEFECT
            self._release(journal, rule, start, note=str(error), code=code)
            return
        count = len(journal.keys_of(start))
        self._report(f"{rule.name}: run {start.run_id} starts, with {_counted(count, 'object')}")

    def _release(self, journal: StartJournal, rule: TriggerRule, start: StartRecord, *, note: str, code: int) -> None:
        """Let what a start took wait again; the next arrival, or the next watcher, tries it again."""
        journal.release(start, now=time.time(), note=note)
        waiting = journal.waiting(rule)
        count = waiting.count if waiting else 0
        self._attempts.refused[rule.name] = count
        self._attempts.note_exit_code(code)
        self._report(
            f"{rule.name}: not started: {note.removeprefix('mlops: error: ')}; {_counted(count, 'object')} still "
            f"{'waits' if count == 1 else 'wait'} for the next arrival, or the next start of mlops watch"
        )

    def _look_after(self, journal: StartJournal, rule: TriggerRule, start: StartRecord) -> None:
        """Finish a start whose process has ended; begin or resume its run where it was cut off."""
        outcome = self._processes.outcome(start.run_id)
        ended_here = self._processes.exit_code(start.run_id) is not None
        if outcome.is_missing:
            if ended_here:
                self._processes.forget(start.run_id)
                self._release(journal, rule, start, note=outcome.note, code=outcome.exit_code)
            else:
                self._begin(journal, rule, start)
            return
        if outcome.is_cut_off and self._attempts.add(start.run_id) <= _ATTEMPTS:
            self._report(f"{rule.name}: run {start.run_id} was cut off, and is resumed")
            self._processes.resume(start.run_id)
            return
        journal.note_outputs(start.run_id, self._processes.output_digests(start.run_id))
        journal.finish(start, outcome.status, now=time.time(), note=outcome.note)
        self._attempts.note_exit_code(ExitCode.DEFECT if outcome.is_cut_off else outcome.exit_code)
        self._processes.forget(start.run_id)
        self._report(f"{rule.name}: run {start.run_id} ended: {outcome.note}")

    # --- Data ---------------------------------------------------------------------------------------------

    def _places(self, rule: TriggerRule) -> tuple[Path, Path | None]:
        """Return the data and the annotations of a rule."""
        if isinstance(rule, ObjectRule):
            return self._folder / rule.key, None
        assert isinstance(rule, PrefixRule)  # noqa: S101  for mypy: no other rule accepts an arrival
        if rule.dataset_key:
            return self._folder / rule.dataset_key, self._folder / rule.prefix
        return self._folder / rule.prefix, None

    def _data_digest(self, rule: TriggerRule) -> str:
        """Return the digest of everything that a run of a rule reads."""
        parts = []
        for place in self._places(rule):
            if place is not None and place.is_file():
                parts.append(file_digest(place))
            elif place is not None and place.is_dir():
                parts.append(tree_manifest(place).digest)
            else:
                parts.append("")
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def _data(self, rule: TriggerRule, digest: str) -> tuple[Path, str]:
        """Return the folder that a run of a rule reads, which later arrivals do not change, and the digest of its data.

        Raises:
            DatasetError: what arrived is not a data set, or it changes all the time.
        """
        for _ in range(_ATTEMPTS):
            target = self._workspace / "datasets" / f"arrived-{digest[:32]}"
            if target.is_dir():
                return target, digest
            aside = target.with_name(f"{target.name}.partial")
            shutil.rmtree(aside, ignore_errors=True)
            try:
                made = self._ingest(rule, aside)
                now = self._data_digest(rule)
                if now == digest:
                    aside.rename(target)
                    self._tell(rule, made, digest)
                    return target, digest
                digest = now  # something arrived while the data was copied
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        raise DatasetError(f"{self._folder} changes while it is copied; wait until the upload has ended")

    def _ingest(self, rule: TriggerRule, target: Path) -> Ingestion:
        source, annotations = self._places(rule)
        return ingest(source, target, annotations=annotations)

    def _tell(self, rule: TriggerRule, made: Ingestion, digest: str) -> None:
        text = json.dumps(made.to_json(), indent=2)
        write_atomically(self._home / f"ingestion-{digest[:32]}.json", f"{text}\n")
        self._report(f"{rule.name}: data set of {made.summary()}")
        for conflict in made.conflicts:
            self._report(f"{rule.name}: conflict: {conflict}")

    def _arguments(self, rule: TriggerRule, data: Path) -> list[str]:
        named = ["--usecase", rule.use_case] if rule.use_case else []
        parameters = [text for name, value in rule.parameters.items() for text in ("--param", f"{name}={value}")]
        return [*named, "--set", f"dataset.path={json.dumps(str(data))}", *parameters, *self._options.run_arguments]


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _is_about(rule: TriggerRule, bucket: str) -> bool:
    return isinstance(rule, ObjectRule | PrefixRule) and rule.bucket == bucket


def _check(folder: Path, workspace: Path, rules: Sequence[TriggerRule], options: FolderOptions) -> None:
    if not folder.is_dir():
        raise UsageError(f"no folder {folder}; expected the folder to which data is uploaded")
    if set(options.bucket) & set(":/\\"):
        name = options.bucket.rstrip("/").rpartition("/")[2].rpartition(":")[2]
        raise UsageError(
            f"--bucket: {options.bucket!r} is not the bare name of a bucket; pass --bucket {name or 'NAME'}"
        )
    if not any(_is_about(rule, options.bucket) for rule in rules):
        names = sorted({rule.bucket for rule in rules if isinstance(rule, ObjectRule | PrefixRule)})
        raise UsageError(
            f"no rule is about the bucket '{options.bucket}', for which {folder} stands; rules are about: "
            f"{', '.join(names) or 'none'}; pass --bucket NAME"
        )
    inner = workspace.resolve()
    outputs = [inner, *(Path(path).absolute().resolve() for path in _folders_in(options.run_arguments))]
    for output in outputs:
        if output.is_relative_to(folder.resolve()):
            raise UsageError(
                f"runs write to {output}, which is in the watched folder {folder}, so that each run would start "
                "another; choose a folder outside of it"
            )


def _folders_in(arguments: Sequence[str]) -> Iterator[str]:
    """Yield the folders to which arguments of ``mlops run`` let it write."""
    for position, argument in enumerate(arguments):
        name, separator, value = argument.partition("=")
        if name == "--artifacts-dir":
            yield value if separator else next(iter(arguments[position + 1 :]), "")
