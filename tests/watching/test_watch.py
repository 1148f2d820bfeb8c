"""`mlops watch`: data that arrives starts runs, once each, whatever is killed and in whatever order notices come."""

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

from mlops_core.errors import StoreError, UsageError
from mlops_core.watching import Arrival, ObjectRule, PrefixRule
from mlops_core.watching.folder import WatchedFolder
from mlops_core.watching.journal import Reception, StartJournal, StartStatus
from mlops_core.watching.watcher import FolderOptions, Watcher
from mlops_core.workspace.store import Store

MLOPS = [sys.executable, "-c", "from mlops_core.cli import main; main()"]
DEADLINE_S = 90
RULE = PrefixRule(name="words", use_case="TOY", bucket="arriving", prefix="data/", quiet_s=60, max_wait_s=600)


def put(folder, *, mark=0):
    """Upload words for TOY, other ones for each mark, in one step."""
    words = [f"{'x' * (n % 12 + 1)},{'long' if n % 12 + 1 > 6 else 'short'}" for n in range(60)]
    aside = folder / "words.csv.tmp"
    aside.write_text("\n".join([*words, f"{'x' * (20 + mark)},long"]) + "\n")
    aside.rename(folder / "words.csv")


@pytest.fixture
def arriving(tmp_path):
    folder = tmp_path / "arriving"
    folder.mkdir()
    return folder


def wait_until(condition, what, *, alive=None):
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if condition():
            return
        assert alive is None or alive.poll() is None, f"the watcher ended before {what}"
        time.sleep(0.05)
    pytest.fail(f"not within {DEADLINE_S} s: {what}")


def starts(workspace):
    for path in workspace.glob("watch/*/journal.db"):
        with contextlib.suppress(sqlite3.OperationalError), contextlib.closing(sqlite3.connect(path, timeout=30)) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute("SELECT * FROM starts ORDER BY start_id")]
    return []


def runs_of(workspace):
    with Store(workspace) as store:
        return {summary.run_id: store.runs.load(summary.run_id) for summary in store.runs.newest(limit=-1)}


def watch(arriving, workspace, *arguments):
    command = [*MLOPS, "--workspace", str(workspace), "watch", str(arriving), "-u", "TOY", "--settle", "0.1",
               "--quiet", "0.3", *arguments]  # fmt: skip
    log = (workspace.parent / "watch.log").open("ab")
    with log:
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def end(process):
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=DEADLINE_S)


# --- The journal ------------------------------------------------------------------------------------------


def arrival(key, version="v1", at=0.0, sequencer=""):
    return Arrival(bucket="arriving", key=key, version=version, at=at, sequencer=sequencer)


def test_a_thousand_uploads_in_a_minute_are_one_start():
    with StartJournal(None) as journal:
        for number in range(1000):
            at = number * 0.06
            assert journal.start(RULE, run_id=f"early-{number}", now=at) is None
            journal.receive([(arrival(f"data/{number}", at=at), ("words",))])
        assert journal.start(RULE, run_id="r0", now=999 * 0.06 + 59) is None
        start = journal.start(RULE, run_id="r1", now=999 * 0.06 + 60)
        assert len(journal.keys_of(start)) == 1000
        assert journal.start(RULE, run_id="r2", now=10_000) is None
        journal.finish(start, StartStatus.DONE, now=10_000)
        assert journal.start(RULE, run_id="r3", now=20_000) is None


def test_doubled_late_and_reordered_arrivals_start_nothing_more():
    with StartJournal(None) as journal:
        order = [("v2", "0A0"), ("v1", "09F"), ("v2", "0A0"), ("v1", "09F"), ("v3", "0A")]
        seen = [
            journal.receive([(arrival("data/a", version, at=1, sequencer=number), ("words",))])[0][2]
            for version, number in order
        ]
        assert seen == [Reception.NEW, Reception.SUPERSEDED, Reception.DOUBLED, Reception.DOUBLED, Reception.NEW]
        start = journal.start(RULE, run_id="r1", now=100)
        assert start is not None
        journal.finish(start, StartStatus.DONE, now=200)
        journal.receive([(arrival("data/a", "v2", at=300, sequencer="0A0"), ("words",))])
        assert journal.waiting(RULE) is None


def test_one_start_of_a_rule_is_pending_while_its_run_goes_on():
    with StartJournal(None) as journal:
        journal.receive([(arrival("data/a"), ("words",))])
        first = journal.start(RULE, run_id="r1", now=100)
        for number in range(5):
            journal.receive([(arrival(f"data/{number}", at=200 + number), ("words",))])
            assert journal.start(RULE, run_id=f"x{number}", now=5000 + number) is None
        journal.finish(first, StartStatus.FAILED, now=6000)
        second = journal.start(RULE, run_id="r2", now=6000)
        assert len(journal.keys_of(second)) == 5


# --- The folder -------------------------------------------------------------------------------------------


def test_files_arrive_when_they_no_longer_change_and_once_per_content(arriving):
    watched = WatchedFolder(arriving, bucket="arriving", known={}, settle_s=0.0)
    (arriving / "a.csv").write_text("1")
    (arriving / "b.csv.part").write_text("1")
    (arriving / ".hidden").write_text("1")
    assert watched.look().is_settling
    found = watched.look()
    assert [each.key for each in found.arrivals] == ["a.csv"]
    assert watched.look().files == {}
    os.utime(arriving / "a.csv", (1, 1))
    watched.look()
    found = watched.look()
    assert (found.arrivals, list(found.files)) == ((), ["a.csv"])  # only the time changed
    (arriving / "a.csv").write_text("2")
    watched.look(["a.csv"])
    assert [each.key for each in watched.look(["a.csv"]).arrivals] == ["a.csv"]
    (arriving / "a.csv").unlink()
    assert watched.look([]).removed == ()
    assert watched.look().removed == ("a.csv",)


def test_a_file_that_is_still_written_does_not_arrive(arriving):
    watched = WatchedFolder(arriving, bucket="arriving", known={}, settle_s=3600)
    (arriving / "a.csv").write_text("1")
    for _ in range(3):
        found = watched.look()
        assert (found.arrivals, found.is_settling) == ((), True)


# --- Refusals ---------------------------------------------------------------------------------------------


def watcher(folder, workspace, *rules, **options):
    options = FolderOptions(**{"bucket": folder.name, **options})
    return Watcher(folder, rules or (RULE,), workspace=workspace, options=options, report=lambda _: None)


def test_a_folder_into_which_runs_write_is_refused(arriving, tmp_path):
    with pytest.raises(UsageError, match="each run would start another"):
        watcher(arriving, arriving / "workspace")
    with pytest.raises(UsageError, match="each run would start another"):
        watcher(arriving, tmp_path / "w", run_arguments=("--artifacts-dir", str(arriving / "out")))


def test_a_missing_folder_and_rules_about_another_bucket_are_refused(arriving, tmp_path):
    with pytest.raises(UsageError, match="no folder"):
        watcher(tmp_path / "missing", tmp_path / "w")
    rule = ObjectRule(name="zip", use_case="TOY", bucket="uploads", key="intel.zip")
    with pytest.raises(UsageError, match="rules are about: uploads; pass --bucket NAME"):
        watcher(arriving, tmp_path / "w", rule)


def test_two_processes_cannot_watch_one_folder(arriving, tmp_path):
    first = watcher(arriving, tmp_path / "w", poll_s=0.1)
    stop = threading.Event()
    thread = threading.Thread(target=first.watch, args=(stop,))
    thread.start()
    try:
        wait_until(lambda: list(tmp_path.glob("w/watch/*/begun")), "the watcher has begun")
        with pytest.raises(UsageError, match="another process watches"):
            watcher(arriving, tmp_path / "w").watch(threading.Event())
    finally:
        stop.set()
        thread.join(timeout=DEADLINE_S)


@pytest.mark.parametrize(("arguments", "words"), [
    (("-u", "NOPE"), "no use case 'NOPE'"),
    (("-u", "TOY", "--", "--bogus", "1"), "No such option '--bogus'"),
    (("-u", "TOY", "--", "--set", "features.scal=2"), "features.scal"),
    (("-u", "TOY", "--", "--param", "q_acx=1"), "q_acx"),
    (("-u", "TOY", "--", "--only", "trian"), "trian"),
    (("-u", "TOY", "--", "-u", "OTHER"), "--usecase after --"),
    (("-u", "TOY", "--bucket", "arn:x:y:::data"), "pass --bucket data"),
])  # fmt: skip
def test_runs_that_could_never_start_are_refused_before_anything_is_watched(
    toy, call, arriving, workspace, arguments, words
):
    put(arriving)
    code, out, err = call("--workspace", workspace, "watch", arriving, "--once", "--include-existing", *arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert not list(workspace.glob("watch/*/journal.db"))


def test_a_use_case_that_contradicts_the_rules_is_refused(toy, call, arriving, workspace):
    rules = arriving.parent / "triggers.yaml"
    rules.write_text("use_case: OTHER\nrules:\n- {name: all, kind: prefix, bucket: arriving, prefix: in/}\n")
    code, _, err = call("--workspace", workspace, "watch", arriving, "-u", "TOY", "--rules", rules)
    assert code == 2
    assert "rule 'all' is for the use case OTHER, not for TOY" in err


def test_what_could_not_start_waits_and_the_exit_code_says_so(arriving, tmp_path):
    with zipfile.ZipFile(arriving / "d.zip", "w") as archive:
        archive.writestr("../evil.txt", "x")
    lines = []
    rule = ObjectRule(name="zip", use_case="TOY", bucket="arriving", key="d.zip", quiet_s=0)
    options = FolderOptions(bucket="arriving", settle_s=0, poll_s=0.1, includes_existing=True, is_once=True)

    def once():
        lines.clear()
        made = Watcher(arriving, [rule], workspace=tmp_path / "w", options=options, report=lines.append)
        return made.watch(threading.Event())

    for _ in range(2):  # the second one has seen no new file, and says it again
        assert once() == 5
        assert "zip: not started: d.zip holds '../evil.txt'" in lines[-1]
        assert "1 object still waits" in lines[-1]
    (arriving / "d.zip").unlink()
    assert (once(), lines) == (0, [])


@pytest.mark.parametrize("moment", ["nothing happens", "words.csv arrived"])
def test_a_workspace_that_is_removed_ends_the_watcher(arriving, tmp_path, moment):
    put(arriving)

    def remove(line):
        if line.endswith(moment):
            shutil.rmtree(tmp_path / "w")

    class Stop(threading.Event):
        def is_set(self):
            remove("nothing happens")
            return super().is_set()

    options = FolderOptions(bucket="arriving", settle_s=0, poll_s=0.1, includes_existing=True)
    rule = PrefixRule(name="folder", use_case="TOY", bucket="arriving", prefix="", quiet_s=0)
    made = Watcher(arriving, [rule], workspace=tmp_path / "w", options=options, report=remove)
    with pytest.raises(StoreError, match=f"workspace {tmp_path / 'w'} has disappeared"):
        made.watch(Stop())
    assert not (tmp_path / "w").exists()


def test_each_use_case_has_a_journal_of_its_own(toy, arriving, tmp_path):
    put(arriving)
    for use_case in ("TOY", "OTHER"):
        lines = []
        rule = PrefixRule(name="folder", use_case=use_case, bucket="arriving", prefix="", quiet_s=0)
        options = FolderOptions(
            bucket="arriving", settle_s=0, poll_s=0.1, includes_existing=True, is_once=True, use_case=use_case,
            run_arguments=("--bogus", "1"),
        )  # fmt: skip
        made = Watcher(arriving, [rule], workspace=tmp_path / "w", options=options, report=lines.append)
        assert made.watch(threading.Event()) == 2
        assert "folder: words.csv arrived" in lines


def test_a_run_that_fails_is_the_exit_code_of_once(arriving, workspace, ran):
    (arriving / "words.csv").write_text("nonsense\n")
    assert watch(arriving, workspace, "--include-existing", "--once").wait(timeout=DEADLINE_S) in {4, 5}
    assert [each["status"] for each in starts(workspace)] == ["failed"]


# --- Runs -------------------------------------------------------------------------------------------------


def test_a_zip_starts_a_run_with_its_content_and_a_copy_of_it_starts_none(arriving, workspace, ran):
    rules = workspace.parent / "triggers.yaml"
    rules.write_text(
        "use_case: TOY\nrules:\n"
        "- {name: zip, kind: object, bucket: uploads, key: in/words.zip, parameters: {q_acc: 0.25}}\n"
        "- {name: weekly, kind: schedule, expression: rate(7 days)}\n"
    )
    before = set(runs_of(workspace))
    (arriving / "in").mkdir()
    with zipfile.ZipFile(arriving / "in" / "words.zip", "w") as archive:
        archive.writestr("words.csv", Path(ran.dataset.path, "words.csv").read_text())
    arguments = ("--rules", str(rules), "--bucket", "uploads", "--once", "--include-existing")
    assert watch(arriving, workspace, *arguments).wait(timeout=DEADLINE_S) == 0
    (run_id,) = set(runs_of(workspace)) - before
    record = runs_of(workspace)[run_id]
    assert (record.status, record.parameters["q_acc"]) == ("accepted", 0.25)
    assert record.dataset.digest == ran.dataset.digest
    os.utime(arriving / "in" / "words.zip", (1, 1))
    assert watch(arriving, workspace, *arguments).wait(timeout=DEADLINE_S) == 0
    assert len(runs_of(workspace)) == len(before) + 1


def test_a_file_that_a_run_made_starts_no_other(arriving, workspace, ran):
    put(arriving)
    log = workspace.parent / "watch.log"
    process = watch(arriving, workspace, "--include-existing")
    try:
        wait_until(lambda: [each["status"] for each in starts(workspace)] == ["done"], "a run ended", alive=process)
        (done,) = starts(workspace)
        report = workspace / "runs" / done["run_id"] / "evaluation.json"
        (arriving / "evaluation.json").write_bytes(report.read_bytes())
        wait_until(lambda: "made this file" in log.read_text(), "the loop was found", alive=process)
    finally:
        end(process)
    assert len(starts(workspace)) == 1


def test_a_watcher_that_is_killed_at_any_moment_loses_and_doubles_no_start(arriving, workspace, ran):
    _kill_repeatedly(arriving, workspace, rounds=2)


@pytest.mark.slow_suite
def test_a_watcher_that_is_killed_many_times_loses_and_doubles_no_start(arriving, workspace, ran):
    _kill_repeatedly(arriving, workspace, rounds=int(os.environ.get("MLOPS_FAULT_ROUNDS", "25")))


def _kill_repeatedly(arriving, workspace, *, rounds):
    """Kill the watcher, and every second time its runs too, while data arrives."""
    chance = random.Random(5)
    before = set(runs_of(workspace))
    watch(arriving, workspace, "--once").wait(timeout=DEADLINE_S)  # takes stock of the empty folder
    for number in range(rounds):
        process = watch(arriving, workspace)
        time.sleep(chance.uniform(0.0, 1.5))
        put(arriving, mark=number + 1)
        time.sleep(chance.uniform(0.3, 2.5))
        process.kill()
        process.wait(timeout=DEADLINE_S)
        if number % 2:
            _kill_runs(workspace)
    put(arriving, mark=rounds + 1)
    last = watch(arriving, workspace)
    try:
        wait_until(lambda: _is_settled(workspace, rounds), "the last data was run", alive=last)
    finally:
        end(last)
    made = starts(workspace)
    ran_ids = [start["run_id"] for start in made if start["status"] != "skipped"]
    assert set(runs_of(workspace)) - before == set(ran_ids)  # none doubled, none lost
    digests = [start["data_digest"] for start in made if start["status"] == "done"]
    assert len(digests) == len(set(digests))
    assert all(record.status == "accepted" for name, record in runs_of(workspace).items() if name not in before)


def _kill_runs(workspace):
    """Kill the processes of runs that a dead watcher left, with everything that they started."""
    for start in starts(workspace):
        if start["status"] != "started":
            continue
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                if start["run_id"].encode() in (folder / "cmdline").read_bytes():
                    os.killpg(int(folder.name), signal.SIGKILL)


def _is_settled(workspace, rounds):
    made = starts(workspace)
    if not made or any(start["status"] == "started" for start in made):
        return False
    with contextlib.closing(sqlite3.connect(next(workspace.glob("watch/*/journal.db")), timeout=30)) as db:
        waiting = db.execute("SELECT count(*) FROM arrivals WHERE start_id IS NULL").fetchone()[0]
        known = db.execute("SELECT count(*) FROM files").fetchone()[0]
    done = [start for start in made if start["status"] == "done" and start["data_digest"] == made[-1]["data_digest"]]
    if waiting or not known or not done:
        return False
    record = runs_of(workspace)[done[0]["run_id"]]
    return f"\n{'x' * (20 + rounds + 1)},long" in Path(record.dataset.path, "words.csv").read_text()
