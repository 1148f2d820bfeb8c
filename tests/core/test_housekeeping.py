"""gc removes only what nobody needs; doctor names what is wrong."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import mlops_core
from mlops_core.errors import UsageError
from mlops_core.workspace.maintenance.diagnosis import examine
from mlops_core.workspace.maintenance.housekeeping import Garbage, find_damage, find_garbage, remove_garbage
from mlops_core.workspace.records import RunStatus
from mlops_core.workspace.registry import Registry
from mlops_core.workspace.store import Store


def run(workspace, *overrides, **options):
    return mlops_core.run("TOY", workspace=workspace, overrides=overrides, **options)


def collect(workspace, keep):
    with Store(workspace) as store:
        garbage = find_garbage(store, keep=keep)
        remove_garbage(store, garbage)
    return garbage


def test_what_a_kept_run_or_a_registered_model_needs_stays(ran, workspace):
    registered = ran
    rejected = [
        run(workspace, f"training.bias={100 + index}", parameters={"q_acc": "0.9"}, seed=index) for index in range(3)
    ]
    garbage = collect(workspace, keep=1)
    assert set(garbage.runs) == {record.run_id for record in rejected[:2]}
    with Store(workspace) as store:
        assert {summary.run_id for summary in store.runs.newest()} == {registered.run_id, rejected[2].run_id}
        for record in (registered, rejected[2]):
            for step in record.steps:
                assert all(store.artifacts.damage(digest) is None for digest in step.outputs.values())
        gone = set(rejected[0].step("train").outputs.values())
        assert not any(map(store.artifacts.has, gone))
    assert mlops_core.load_model("TOY", workspace=workspace).classes
    assert {str(step.status) for step in run(workspace).steps} == {"reused"}


def test_nothing_is_removed_twice_and_nothing_that_is_kept(ran, workspace):
    assert collect(workspace, keep=1).artifacts == ()
    assert collect(workspace, keep=0).runs == ()  # its model is registered


def test_a_run_that_is_being_carried_out_is_kept(toy, workspace):
    record = run(workspace, "training.bias=100", parameters={"q_acc": "0.9"})
    with Store(workspace) as store, store.runs.lock(record.run_id):
        assert find_garbage(store, keep=0).runs == ()
    assert collect(workspace, keep=0).runs == (record.run_id,)


def test_a_damaged_artifact_is_reported_with_its_users_and_the_fix(ran, workspace):
    model = ran.step("train").outputs["model"]
    with Store(workspace) as store:
        path = store.artifacts.path(model) / "model.txt"
        path.chmod(0o644)
        path.write_text("7")
        (damage,) = find_damage(store)
    assert damage.artifact == model
    assert damage.fault.endswith("model.txt has changed")
    assert damage.needed_by == ("model TOY version 1", f"run {ran.run_id}")
    assert damage.fix == f"mlops run --resume {ran.run_id}"


def test_doctor_finds_a_sound_installation_good_and_creates_no_workspace(toy, workspace):
    findings = examine(workspace)
    assert not workspace.exists()
    assert {finding.subject for finding in findings} >= {"python", "plugin TOY", "disk", "workspace"}
    assert all(finding.is_good for finding in findings if finding.subject in ("python", "plugin TOY", "workspace"))


def test_doctor_names_a_database_that_is_none(toy, workspace):
    workspace.mkdir()
    (workspace / "mlops.db").write_text("this is no database, and long enough to be looked at" * 100)
    finding = next(finding for finding in examine(workspace) if finding.subject == "database")
    assert not finding.is_good
    assert "not a database" in finding.detail


def test_the_registry_survives_gc(ran, workspace):
    collect(workspace, keep=0)
    with Store(workspace) as store:
        assert [version.version for version in Registry(store).versions()] == [1]


def test_work_is_kept_while_its_process_lives_and_removed_when_it_is_dead(workspace):
    with Store(workspace) as owner:
        old = owner.work_folder("run-train")
        (old / "scratch").mkdir()
        os.utime(old, (0, 0))  # the step has worked for days
        assert collect(workspace, keep=0).folders == ()
        assert old.is_dir()
        with Store(workspace) as other:  # found before, claimed now
            remove_garbage(other, Garbage(runs=(), artifacts=(), folders=(old,), size_bytes=0))
        assert old.is_dir()
    assert collect(workspace, keep=0).folders == (old,)
    assert not old.exists()


def test_what_is_left_from_before_the_clock_was_set_back_is_removed(workspace, monkeypatch):
    with Store(workspace) as owner:
        left = owner.work_folder("run-train")
        (left / "model").mkdir()
        digest = owner.artifacts.add(left / "model")
        clock = SimpleNamespace(time=lambda: time.time() - 864_000)
        monkeypatch.setattr("mlops_core.workspace.maintenance.housekeeping.time", clock)
        found = collect(workspace, keep=0)
        assert (found.folders, found.artifacts) == ((), (digest,))  # the process lives
    assert collect(workspace, keep=0).folders == (left,)
    assert not left.exists()


def test_a_removed_work_folder_holds_no_descriptor(workspace):
    with Store(workspace) as store:
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(50):
            store.remove_work_folder(store.work_folder("step"))
        assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_gc_leaves_a_long_step_of_a_live_run_alone(toy, workspace):
    command = [sys.executable, "-c", "from mlops_core.cli import main; main()", "--workspace", str(workspace)]
    driver = subprocess.Popen(
        [*command, "run", "-u", "TOY", "--set", "training.behaviour=sleep"], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (found := list((workspace / "work").glob("*-train-*/scratch"))):
        time.sleep(0.02)
    os.utime(found[0].parent, (0, 0))
    assert collect(workspace, keep=0).folders == ()
    assert found[0].is_dir()
    _, errors = driver.communicate(timeout=60)
    assert "timed out after 3 s" in errors  # the step came to its own end


def test_a_run_of_an_older_version_keeps_its_artifacts(ran, workspace):
    with Store(workspace) as store:
        before = dict(store.runs.artifacts())
        assert set(before[ran.run_id]) == {digest for step in ran.steps for digest in step.outputs.values()}
        store._db.execute("UPDATE runs SET artifacts = NULL")  # an older version did not write them
        assert {run: set(digests) for run, digests in store.runs.artifacts()} == {ran.run_id: set(before[ran.run_id])}
        assert find_garbage(store, keep=1).artifacts == ()


def test_a_run_that_has_not_finished_keeps_what_its_journal_names(ran, workspace):
    record = ran
    step = next(step for step in record.steps if step.outputs)
    with Store(workspace) as store:
        store.runs.save(replace(record, status=RunStatus.RUNNING, steps=()))
        store.runs.append_step(record.run_id, step)
        assert dict(store.runs.artifacts()) == {record.run_id: tuple(step.outputs.values())}


@pytest.mark.slow_suite
def test_records_of_runs_are_not_read_to_find_what_they_need(ran, workspace):
    (workspace / "runs" / ran.run_id / "run.json").unlink()
    with Store(workspace) as store:
        assert find_garbage(store, keep=1).artifacts == ()


def test_a_run_is_found_by_the_beginning_of_its_id_through_the_index(workspace):
    with Store(workspace) as store:
        for number in range(2000):
            store._db.execute(
                "INSERT INTO runs (run_id, use_case, status, created, runner) VALUES (?, 'TOY', 'failed', '', 'local')",
                (f"20260101-{number:06d}-a",),
            )
        count = 0

        def counted():
            nonlocal count
            count += 1

        store._db.set_progress_handler(counted, 1)
        assert store.runs.full_id("20260101-000007-a") == "20260101-000007-a"
        assert store.runs.full_id("20260101-000007") == "20260101-000007-a"
        with pytest.raises(UsageError, match="is ambiguous: 20260101-000010-a, 20260101-000011-a, 20260101-000012-a"):
            store.runs.full_id("20260101-00001")
        assert count < 500
        store._db.set_progress_handler(None, 1)
