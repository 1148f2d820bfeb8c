"""A damaged database is said to be damaged, and doctor --repair mends what can be mended."""

import json
import os
import sqlite3
import subprocess
import sys

import pytest

import mlops_core
from mlops_core.errors import ExitCode, StoreError
from mlops_core.workspace.maintenance.chain import verify_chain
from mlops_core.workspace.maintenance.diagnosis import examine
from mlops_core.workspace.registry import ApprovalStatus, Registry
from mlops_core.workspace.store import Store


@pytest.fixture(autouse=True)
def _no_plugins_are_examined(monkeypatch):
    """These tests ask doctor about the workspace; that it examines the plugins has tests of its own."""
    monkeypatch.setattr("mlops_core.workspace.maintenance.diagnosis._plugins", lambda: iter(()))


@pytest.fixture
def damaged(ran, toy, workspace):
    """A workspace with an approved model; calling it executes a statement in the database."""
    with Store(workspace) as store:
        Registry(store).set_status(Registry(store).version(toy), ApprovalStatus.APPROVED, why="good")

    def damage(statement):
        db = sqlite3.connect(workspace / "mlops.db")
        db.execute(statement)
        db.commit()
        db.close()

    return damage


def findings(workspace, **options):
    return [
        finding
        for finding in examine(workspace, **options)
        if not finding.is_good and finding.subject.partition(" ")[0] not in ("plugin", "disk")
    ]


DAMAGES = {
    "UPDATE step_cache SET outputs = '{bad' WHERE step = 'train'": ("result of step 'train' of TOY", "runs again"),
    "UPDATE step_cache SET outputs = '[1]' WHERE step = 'train'": ("result of step 'train' of TOY", "runs again"),
    "UPDATE step_cache SET components = X'FF00' WHERE step = 'train'": ("result of step 'train'", "runs again"),
    "UPDATE step_cache SET duration_s = 'x' WHERE step = 'train'": ("result of step 'train'", "runs again"),
    "ALTER TABLE step_cache DROP COLUMN duration_s": ("table step_cache", "steps run again"),
    "DROP TABLE step_cache": ("table step_cache", "steps run again"),
    "DROP TABLE file_digests": ("table file_digests", ""),
    "DROP TABLE ledger_head": ("table ledger_head", "no longer be noticed"),
    "DROP TABLE ledger": ("table ledger", "approvals, aliases and their history"),
    "DROP TABLE runs": ("table runs", ""),
    "DROP TABLE model_versions": ("table model_versions", "registered models"),
    "UPDATE model_versions SET record = '{'": ("model TOY version 1", "register it again"),
    "UPDATE model_versions SET record = '{}'": ("model TOY version 1", "register it again"),
    "UPDATE runs SET status = 'nope'": ("run ", ""),
    "UPDATE runs SET duration_s = '[]'": ("run ", ""),
    "UPDATE runs SET created = X'FF'": ("run ", ""),
    "UPDATE runs SET run_id = X'FF'": ("run ", ""),
    "UPDATE step_cache SET outputs = '{\"a\": 1}' WHERE step = 'train'": ("result of step 'train'", "runs again"),
    "UPDATE ledger_head SET sequence = 'x'": ("table ledger_head", "no longer be noticed"),
    "INSERT INTO data_assets VALUES ('birds', 1, 'x', '', '[]')": ("data asset birds:1", "register it again"),
}


@pytest.mark.representatives(4)
@pytest.mark.parametrize("statement", DAMAGES)
def test_damage_is_found_mended_and_what_is_lost_is_said(damaged, toy, workspace, statement):
    damaged(statement)
    subject, lost = DAMAGES[statement]
    (finding,) = findings(workspace)
    assert finding.subject.startswith(subject)
    assert finding.fix == "mlops doctor --repair"
    assert lost in finding.detail
    (mended,) = findings(workspace, is_repaired=True)
    assert "mended" in mended.detail
    assert lost in mended.detail
    left = [finding.subject for finding in findings(workspace)]
    assert left == (
        ["alias best of model TOY"] if "model_versions" in statement else []
    )  # until it is registered again
    assert mlops_core.run(toy, workspace=workspace).status == "accepted"
    with Store(workspace) as store:
        assert [version.version for version in Registry(store).versions()] == [1]
        assert len(store.runs.newest()) == 2
    assert findings(workspace) == []


@pytest.mark.representatives("statement")
@pytest.mark.parametrize(
    ("statement", "arguments"),
    [
        ("UPDATE step_cache SET outputs = '{bad'", ["plan", "-u", "TOY"]),
        ("UPDATE step_cache SET outputs = '{bad'", ["run", "-u", "TOY"]),
        ("UPDATE step_cache SET duration_s = 'x'", ["run", "-u", "TOY"]),
        ("DROP TABLE ledger", ["models", "list"]),
        ("DROP TABLE ledger", ["run", "-u", "TOY"]),
        ("DROP TABLE runs", ["runs", "list"]),
        ("UPDATE model_versions SET record = '{'", ["models", "list"]),
        ("UPDATE runs SET status = 'nope'", ["runs", "list"]),
    ],
)
def test_damage_is_not_called_a_defect_and_its_fix_is_named(damaged, call, workspace, statement, arguments):
    damaged(statement)
    code, _, errors = call("--workspace", workspace, *arguments)
    assert code == ExitCode.STEP, errors
    assert "mlops doctor" in errors


def test_a_version_whose_number_is_damaged_is_named_and_removed(damaged, toy, workspace):
    damaged("UPDATE model_versions SET version = 'x'")
    with Store(workspace) as store, pytest.raises(StoreError, match="model TOY version x: its row in mlops.db"):
        Registry(store).versions()
    version, alias = findings(workspace, is_repaired=True)
    assert (version.subject, alias.subject) == ("model TOY version x", "alias best of model TOY")
    assert "its row is damaged; mended" in version.detail


def test_a_lost_ledger_leaves_no_version_approved(damaged, workspace):
    damaged("DROP TABLE ledger")
    with pytest.raises(StoreError, match="no such table: ledger"), Store(workspace) as store:
        Registry(store).versions()
    findings(workspace, is_repaired=True)
    with Store(workspace) as store:
        (version,) = Registry(store).versions()
        assert (version.status, version.aliases) == (ApprovalStatus.PENDING, ())
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            store._db.execute("DELETE FROM ledger")


def test_a_version_whose_approval_is_lost_waits_again(damaged, workspace):
    damaged("DROP TRIGGER ledger_is_not_shortened")
    damaged("DELETE FROM ledger WHERE subject = 'version 1'")
    broken, lost = findings(workspace)
    assert broken.detail == "entry 1 is missing"
    assert lost.detail.startswith("its approval is not in the ledger")
    findings(workspace, is_repaired=True)
    with Store(workspace) as store:
        assert Registry(store).version("TOY").status is ApprovalStatus.PENDING


def test_objects_that_are_made_again_replace_damaged_ones(toy, ran, workspace):
    for path in (workspace / "objects").rglob("*"):
        if path.is_file():
            path.chmod(0o644)
            path.write_bytes(path.read_bytes() + b"!")
    assert findings(workspace)
    again = mlops_core.run(toy, workspace=workspace, force=["preprocess", "train", "evaluate"])
    assert again.status == "accepted"
    assert [step.outputs for step in again.steps] == [step.outputs for step in ran.steps]
    assert findings(workspace) == []


def test_a_registered_model_that_is_gone_is_found_and_made_again(ran, workspace):
    with Store(workspace) as store:
        store.artifacts.discard(ran.step("train").outputs["model"])
    (finding,) = findings(workspace)
    assert "is gone" in finding.detail
    assert "model TOY version 1" in finding.detail
    mlops_core.run(resume=ran.run_id, workspace=workspace)
    assert findings(workspace) == []


def test_junk_among_the_objects_is_no_defect(ran, workspace):
    (workspace / "objects" / "junk").write_text("x")
    shelf = next(path for path in (workspace / "objects").iterdir() if path.is_dir())
    (shelf / "junk").write_text("x")
    assert findings(workspace, is_repaired=True) == []
    assert (shelf / "junk").is_file()


def test_a_plan_after_damage_compares_with_the_results_of_the_same_key(toy, ran, workspace):
    """The newest results belong to another configuration; those of this one only lost an artifact."""
    mlops_core.run(toy, workspace=workspace, overrides=["training.bias=0.25"])
    with Store(workspace) as store:
        store.artifacts.discard(ran.step("preprocess").outputs["features"])
    main = [sys.executable, "-c", "from mlops_core.cli import main; main()", "--workspace", str(workspace)]
    result = subprocess.run([*main, "plan", "-u", toy, "--json"], capture_output=True, text=True, check=True)
    steps = {step["step"]: step for step in json.loads(result.stdout)}
    assert "is gone" in steps["preprocess"]["reason"]
    assert (steps["train"]["action"], steps["train"]["changes"]) == ("maybe", [])
    assert "bias" not in steps["train"]["reason"]


# --- A database that is lost ------------------------------------------------------------------------------


def _emptied(path):
    path.write_bytes(b"")


def _linked_to_itself(path):
    path.unlink()
    path.symlink_to(path.name)


def _linked_to_nothing(path):
    path.unlink()
    path.symlink_to("elsewhere.db")


def _replaced_by_a_folder(path):
    path.unlink()
    path.mkdir()


def _replaced_by_a_pipe(path):
    path.unlink()
    os.mkfifo(path)


def _overwritten(path):
    path.write_bytes(b"no database" * 1000)


LOSSES = {
    _emptied: "mlops.db is empty, though ledger-head.json",
    lambda path: path.unlink(): "mlops.db is missing, though ledger-head.json",
    _linked_to_itself: "mlops.db is a link that leads to itself",
    _linked_to_nothing: "mlops.db is a link to elsewhere.db, which does not exist",
    _replaced_by_a_folder: "mlops.db is a folder",
    _replaced_by_a_pipe: "mlops.db is a pipe, socket or device",
    _overwritten: "not a database",
}


@pytest.mark.representatives(3)
@pytest.mark.parametrize("lose", LOSSES)
def test_a_lost_database_is_not_taken_for_a_new_one_and_can_be_made_anew(damaged, toy, workspace, lose):
    with Store(workspace) as store:
        run_id = store.runs.full_id("latest")
    for log in workspace.glob("mlops.db-*"):
        log.unlink()
    lose(workspace / "mlops.db")
    with pytest.raises(StoreError, match=LOSSES[lose]) as refusal:
        Store(workspace)
    assert "mlops doctor --repair" in str(refusal.value)
    (finding,) = findings(workspace)
    assert LOSSES[lose] in finding.detail
    (mended,) = findings(workspace, is_repaired=True)
    assert "made anew" in mended.detail
    assert "registered models" in mended.detail
    assert findings(workspace) == []
    with Store(workspace) as store:
        assert [run.run_id for run in store.runs.newest()] == [run_id]
        assert Registry(store).versions() == ()
    assert mlops_core.run(toy, workspace=workspace, resume=run_id).status == "accepted"
    with Store(workspace) as store:
        assert verify_chain(store).fault == ""
        assert Registry(store).version(toy).status is ApprovalStatus.PENDING


def test_an_empty_database_beside_the_records_of_runs_is_lost_too(ran, workspace):
    (workspace / "ledger-head.json").unlink()
    for log in workspace.glob("mlops.db-*"):
        log.unlink()
    _emptied(workspace / "mlops.db")
    with pytest.raises(StoreError, match="is empty, though runs/.* has a record"):
        Store(workspace)


def test_an_empty_file_in_a_new_workspace_becomes_a_database(workspace):
    workspace.mkdir()
    _emptied(workspace / "mlops.db")
    with Store(workspace) as store:
        assert store.runs.newest() == ()


def test_a_ledger_that_is_lost_with_its_head_goes_on_where_the_kept_head_ends(damaged, toy, workspace):
    damaged("DROP TABLE ledger")
    damaged("DROP TABLE ledger_head")
    findings(workspace, is_repaired=True)
    findings(workspace, is_repaired=True)  # approvals, once the tables are there
    assert findings(workspace) == []
    with Store(workspace) as store:
        assert Registry(store).version(toy).status is ApprovalStatus.PENDING
        assert "were lost" in verify_chain(store).restarts[0]


def test_a_workspace_whose_path_is_too_long_for_sqlite_is_refused_before_anything_is_written(tmp_path):
    deep = tmp_path.joinpath(*["d" * 100] * 6)
    (tmp_path / "link").symlink_to(deep)
    for home in (deep, tmp_path / "link"):
        with pytest.raises(StoreError, match=r"has \d{3} bytes; SQLite opens paths of at most 504"):
            Store(home)
    assert not deep.exists()
    longest = tmp_path / ("e" * 200) / ("f" * (504 - len(f"{tmp_path}/{'e' * 200}//mlops.db")))
    with Store(longest) as store:
        assert len(str(store.home / "mlops.db")) == 504
