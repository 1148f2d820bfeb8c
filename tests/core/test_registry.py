"""The registry: approvals and aliases in a ledger that only grows, and never two of anything."""

import random
import sqlite3
import subprocess
import sys
from dataclasses import replace

import pytest

import mlops_core
from mlops_core.errors import StoreError, UsageError
from mlops_core.evaluation.metrics import Direction
from mlops_core.evaluation.paired import PairedDifference
from mlops_core.workspace import ledger
from mlops_core.workspace.maintenance.chain import verify_chain
from mlops_core.workspace.model_versions import ApprovalStatus, ModelVersion, judge_promotion
from mlops_core.workspace.registry import BEST, Registry
from mlops_core.workspace.store import Store


@pytest.fixture
def registry(workspace):
    with Store(workspace) as store:
        yield Registry(store)


def by_value(best, version):
    """Return the paired test of two versions whose samples all have the value of the whole."""
    sign = 1 if version.direction is Direction.HIGHER else -1
    old, new = (sign * each.metrics["acc"] for each in (best, version))
    interval = {"low": new - old, "high": new - old, "p_value": 0.001}
    counts = {"count": 40, "groups": 40, "differing": 40}
    return PairedDifference(earlier=old, later=new, **interval, **counts, method="bootstrap by group")


def candidate(artifact, score, **changes):
    fields = {
        "use_case": "TOY",
        "version": 0,
        "run_id": f"run-{artifact}",
        "created": "2026-01-01",
        "artifact": artifact,
        "metrics": {"acc": score},
        "compared_by": "acc",
        "direction": Direction.HIGHER,
        "test_set": "t",
        **changes,
    }
    return ModelVersion(**fields)


def test_a_version_waits_for_approval_and_the_ledger_says_who_decided_when_and_why(registry):
    version = registry.register(candidate("a", 0.5))
    assert version.status is ApprovalStatus.PENDING
    registry.set_status(version, ApprovalStatus.APPROVED, why="looks good", who="ada")
    assert registry.version("TOY", 1).status is ApprovalStatus.APPROVED
    entry = registry.history("TOY")[-1]
    assert (entry.who, entry.subject, entry.previous, entry.value, entry.why) == (
        "ada",
        "version 1",
        "PendingManualApproval",
        "Approved",
        "looks good",
    )
    assert entry.at


def test_a_decision_without_a_reason_is_refused(registry):
    version = registry.register(candidate("a", 0.5))
    with pytest.raises(UsageError, match="give a reason"):
        registry.set_status(version, ApprovalStatus.APPROVED, why=" ")


def test_a_decision_on_what_has_changed_meanwhile_is_refused(registry):
    seen = registry.register(candidate("a", 0.5))
    registry.set_status(seen, ApprovalStatus.REJECTED, why="no")
    with pytest.raises(UsageError, match="is Rejected and no longer PendingManualApproval"):
        registry.set_status(seen, ApprovalStatus.APPROVED, why="yes")


def test_the_same_model_with_the_same_evaluation_is_registered_once(registry):
    first = registry.register(candidate("a", 0.5))
    assert registry.register(candidate("a", 0.5, run_id="another")).version == first.version
    assert registry.register(candidate("a", 0.5, test_set="other")).version == first.version + 1


def test_an_alias_moves_only_from_where_its_mover_saw_it(registry):
    for artifact in "abc":
        registry.register(candidate(artifact, 0.5))
    registry.move_alias("TOY", "production", version=1, expected=None, why="first")
    registry.move_alias("TOY", "production", version=2, expected=1, why="better")
    with pytest.raises(UsageError, match="alias production of model 'TOY' is 2 and no longer 1"):
        registry.move_alias("TOY", "production", version=3, expected=1, why="also better")
    assert registry.alias_target("TOY", "production") == 2
    assert registry.version("TOY", "production").version == 2


def test_an_alias_of_an_unknown_version_or_an_illegal_name_is_refused(registry):
    registry.register(candidate("a", 0.5))
    with pytest.raises(UsageError, match="no version or alias '7'"):
        registry.move_alias("TOY", "production", version=7, expected=None, why="x")
    with pytest.raises(UsageError, match="alias '1st'"):
        registry.move_alias("TOY", "1st", version=1, expected=None, why="x")
    registry.move_alias("TOY", "production", version=1, expected=None, why="x")
    with pytest.raises(UsageError, match="did you mean 'production'"):
        registry.version("TOY", "prodution")


def test_a_rollback_points_the_alias_where_it_was_before(registry):
    for artifact in "ab":
        registry.register(candidate(artifact, 0.5))
    with pytest.raises(UsageError, match="nothing to roll back to"):
        registry.roll_back("TOY", "production", why="bad")
    registry.move_alias("TOY", "production", version=1, expected=None, why="x")
    registry.move_alias("TOY", "production", version=2, expected=1, why="x")
    registry.roll_back("TOY", "production", why="bad")
    assert registry.alias_target("TOY", "production") == 1


@pytest.mark.parametrize(
    ("direction", "scores", "best"),
    [
        (Direction.HIGHER, (0.5, 0.7, 0.6), 2),
        (Direction.HIGHER, (0.5, 0.5), 1),
        (Direction.LOWER, (0.5, 0.7, 0.4), 3),
        (Direction.HIGHER, (0.5, float("nan")), 1),
    ],
)
def test_best_moves_only_to_a_strictly_better_version(registry, direction, scores, best):
    for index, score in enumerate(scores):
        registry.promote_best(registry.register(candidate(f"a{index}", score, direction=direction)), compare=by_value)
    assert registry.alias_target("TOY", BEST) == best


def test_best_does_not_move_between_different_test_sets(registry):
    registry.promote_best(registry.register(candidate("a", 0.5)), compare=by_value)
    note = registry.promote_best(registry.register(candidate("b", 0.9, test_set="easier")), compare=by_value)
    assert registry.alias_target("TOY", BEST) == 1
    assert "another test set" in note


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dataset_digest": "other"}, "they were made from different data"),
        ({"test_set": ""}, "it is not known on which test set they were evaluated"),
        ({"direction": Direction.LOWER}, "the direction in which acc is better was changed"),
        ({"definition": "overlap 0.5"}, "one was computed with overlap 0.75, the other with overlap 0.5"),
        ({"compared_by": "mse"}, "they are judged by different metrics, acc and mse"),
    ],
)
def test_best_moves_only_between_versions_of_the_same_data_and_metric(registry, changes, reason):
    registry.promote_best(registry.register(candidate("a", 0.5, definition="overlap 0.75")), compare=by_value)
    note = registry.promote_best(registry.register(candidate("b", 0.9, **changes)), compare=by_value)
    assert registry.alias_target("TOY", BEST) == 1
    assert reason in note


def test_best_does_not_move_between_test_sets_with_other_content_but_between_other_training_parts(registry):
    registry.promote_best(
        registry.register(candidate("a", 0.5, test_content="t", splits={"split.split": "1"})), compare=by_value
    )
    note = registry.promote_best(
        registry.register(candidate("b", 0.9, test_content="u", splits={"split.split": "2"})), compare=by_value
    )
    assert registry.alias_target("TOY", BEST) == 1
    assert "their test sets have the same samples, but other content" in note
    registry.promote_best(
        registry.register(candidate("c", 0.8, test_content="t", splits={"split.split": "3"})), compare=by_value
    )
    assert registry.alias_target("TOY", BEST) == 3
    assert registry.version("TOY", 3).splits == {"split.split": "3"}


def test_two_versions_without_a_known_test_set_are_not_compared(registry):
    for artifact, score in (("a", 0.5), ("b", 0.9)):
        registry.promote_best(registry.register(candidate(artifact, score, test_set="")), compare=by_value)
    assert registry.alias_target("TOY", BEST) == 1


def test_best_stays_at_an_approved_version_until_the_better_one_is_approved_too(registry):
    first, better = (registry.register(candidate(name, score)) for name, score in (("a", 0.5), ("b", 0.9)))
    registry.promote_best(first, compare=by_value)
    registry.set_status(first, ApprovalStatus.APPROVED, why="checked")
    note = registry.promote_best(better, compare=by_value)
    assert registry.alias_target("TOY", BEST) == 1
    assert "version 1, which is approved; version 2 is considered once it is approved" in note
    registry.set_status(better, ApprovalStatus.APPROVED, why="checked")
    assert registry.promote_best(better, compare=by_value).startswith("best: moved from version 1 to 2: acc 0.5 -> 0.9")
    assert registry.alias_target("TOY", BEST) == 2


def test_best_moves_to_a_pending_version_where_the_workspace_allows_it(registry):
    first, better = (registry.register(candidate(name, score)) for name, score in (("a", 0.5), ("b", 0.9)))
    registry.promote_best(first, compare=by_value)
    registry.set_status(first, ApprovalStatus.APPROVED, why="checked")
    registry.promote_best(better, compare=by_value, allows_pending=True)
    assert registry.alias_target("TOY", BEST) == 2


def test_real_data_takes_best_over_from_generated_data_and_never_the_other_way(registry):
    generated = {"is_generated_data": True, "dataset_digest": "g", "test_set": "g"}
    registry.promote_best(registry.register(candidate("a", 1.0, **generated)), compare=by_value)
    note = registry.promote_best(registry.register(candidate("b", 0.6)), compare=by_value)
    assert "real data replaces generated data" in note
    assert registry.alias_target("TOY", BEST) == 2
    registry.promote_best(registry.register(candidate("c", 1.0, **generated)), compare=by_value)
    assert registry.alias_target("TOY", BEST) == 2


def test_best_leaves_a_version_that_was_rejected_for_one_that_is_not(registry):
    good = registry.register(candidate("a", 0.9))
    rejected = replace(good, status=ApprovalStatus.REJECTED)
    worse = replace(good, version=2, metrics={"acc": 0.1}, test_set="other")
    promotion = judge_promotion(worse, rejected, compare=by_value, allows_pending=False)
    assert (promotion.moves, promotion.why) == (True, "best: moved from version 1 to 2: version 1 was rejected")
    assert not judge_promotion(replace(rejected, version=2), rejected, compare=by_value, allows_pending=False).moves


def with_aliases(registry, count=3):
    """Register versions and move the alias production along them; best points to the last, too."""
    versions = [registry.register(candidate(f"m{number}", number / 10)) for number in range(1, count + 1)]
    for number in range(1, count + 1):
        registry.move_alias("TOY", "production", version=number, expected=number - 1 or None, why="next")
    registry.move_alias("TOY", BEST, version=count, expected=None, why="first")
    return versions


def test_a_version_with_aliases_is_not_rejected_and_the_refusal_names_them(registry):
    newest = with_aliases(registry)[-1]
    with pytest.raises(UsageError, match="cannot be rejected while it is 'best' and 'production'.*--move-aliases"):
        registry.set_status(newest, ApprovalStatus.REJECTED, why="broken")
    assert registry.version("TOY", 3).status is ApprovalStatus.PENDING
    assert registry.alias_target("TOY", "production") == 3


def test_aliases_of_a_rejected_version_move_back_to_the_newest_version_that_is_not_rejected(registry):
    versions = with_aliases(registry)
    registry.set_status(versions[1], ApprovalStatus.REJECTED, why="broken")
    registry.set_status(versions[2], ApprovalStatus.REJECTED, why="worse", who="ada", moves_aliases=True)
    assert registry.alias_target("TOY", "production") == 1
    assert registry.alias_target("TOY", BEST) is None
    assert [(entry.who, entry.subject, entry.previous, entry.value) for entry in registry.history("TOY")[-3:]] == [
        ("ada", "alias best", "3", ""),
        ("ada", "alias production", "3", "1"),
        ("ada", "version 3", "PendingManualApproval", "Rejected"),
    ]
    assert registry.history("TOY")[-2].why == "version 3 was rejected: worse"


def test_a_refused_rejection_moves_no_alias(registry):
    newest = with_aliases(registry)[-1]
    with pytest.raises(UsageError, match="no longer Approved"):
        registry.set_status(
            replace(newest, status=ApprovalStatus.APPROVED), ApprovalStatus.REJECTED, why="x", moves_aliases=True
        )
    assert registry.alias_target("TOY", "production") == 3


def test_a_rollback_passes_over_rejected_versions(registry):
    versions = with_aliases(registry)
    registry.set_status(versions[1], ApprovalStatus.REJECTED, why="broken")
    registry.roll_back("TOY", "production", why="bad")
    assert registry.alias_target("TOY", "production") == 1


def test_predictions_are_not_made_with_a_rejected_version_unless_its_number_is_given(registry, workspace):
    first, second = (registry.register(candidate(name, 0.5)) for name in "ab")
    registry.set_status(second, ApprovalStatus.REJECTED, why="broken")
    assert registry.servable_version("TOY").version == 1
    assert registry.servable_version("TOY", "2").version == 2
    with Store(workspace) as store, store.transaction() as database:  # as an earlier version of mlops left it behind
        ledger.append(database, use_case="TOY", subject="alias production", value="2", who="ada", why="x")
    with pytest.raises(UsageError, match="alias 'production' of model 'TOY' points to version 2, which was rejected"):
        registry.servable_version("TOY", "production")
    registry.set_status(first, ApprovalStatus.REJECTED, why="broken")
    with pytest.raises(UsageError, match="every version of model 'TOY' was rejected"):
        registry.servable_version("TOY")


def test_the_ledger_can_be_neither_changed_nor_shortened(registry, workspace):
    registry.register(candidate("a", 0.5))
    database = sqlite3.connect(workspace / "mlops.db")
    for statement in ("UPDATE ledger SET who = 'me'", "DELETE FROM ledger"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            database.execute(statement)
    database.close()


PROMOTERS, PROMOTIONS = 8, 50
PROMOTE = """
import sys, time
from pathlib import Path
from mlops_core.evaluation.paired import PairedDifference
from mlops_core.workspace.registry import Registry
from mlops_core.workspace.store import Store

def compare(best, version):
    old, new = best.metrics["acc"], version.metrics["acc"]
    interval = {"low": new - old, "high": new - old, "p_value": 0.001, "method": "bootstrap by group"}
    return PairedDifference(earlier=old, later=new, **interval, count=40, groups=40, differing=40)

home, start, *numbers = sys.argv[1:]
with Store(Path(home)) as store:
    registry = Registry(store)
    print("ready", flush=True)
    while not Path(start).exists():
        time.sleep(0.001)
    for number in numbers:
        print(registry.promote_best(registry.version("TOY", number), compare=compare))
"""


def test_of_50_promotions_from_8_processes_at_once_there_is_one_best_and_no_line_is_lost(registry, workspace, tmp_path):
    for number in range(1, PROMOTIONS + 1):
        registry.register(candidate(f"a{number}", number / 100))
    before = registry.chain_head().sequence
    start, numbers = tmp_path / "start", random.Random(1).sample(range(1, PROMOTIONS + 1), PROMOTIONS)
    promoters = [
        subprocess.Popen(
            [sys.executable, "-c", PROMOTE, str(workspace), str(start), *map(str, numbers[first::PROMOTERS])],
            stdout=subprocess.PIPE,
            text=True,
        )
        for first in range(PROMOTERS)
    ]
    assert [promoter.stdout.readline() for promoter in promoters] == ["ready\n"] * PROMOTERS
    start.touch()
    while any(promoter.poll() is None for promoter in promoters):
        assert sum("best" in version.aliases for version in registry.versions("TOY")) <= 1
    notes = [note for promoter in promoters for note in promoter.communicate()[0].splitlines()]
    assert [promoter.returncode for promoter in promoters] == [0] * PROMOTERS
    assert len(notes) == PROMOTIONS
    assert registry.alias_target("TOY", BEST) == PROMOTIONS
    moves = [entry for entry in registry.history("TOY") if entry.subject == "alias best"]
    assert [entry.previous for entry in moves] == ["", *(entry.value for entry in moves[:-1])]
    assert sorted(entry.why for entry in moves) == sorted(note for note in notes if "stays" not in note)
    assert registry.chain_head().sequence == before + len(moves)
    with Store(workspace) as store:
        assert verify_chain(store).fault == ""


def test_a_run_registers_with_the_comparison_that_moves_best(ran, workspace):
    assert ran.alias_note == "best: version 1 is the first"
    worse = mlops_core.run("TOY", workspace=workspace, overrides=["training.bias=-3"], parameters={"q_acc": "0.1"})
    assert worse.alias_note.startswith("best: stays at version 1: acc 1 -> ")
    with Store(workspace) as store:
        assert [version.aliases for version in Registry(store).versions()] == [(), ("best",)]


def test_an_exported_model_says_where_it_comes_from_and_is_never_written_over(ran, workspace, tmp_path):
    found = mlops_core.api.export_model("TOY", "best", tmp_path / "out", workspace=workspace)
    assert (tmp_path / "out" / "model.txt").exists()
    assert found.run_id in (tmp_path / "out" / "mlops-model.json").read_text()
    with pytest.raises(UsageError, match="exists; a model is exported to a new folder only"):
        mlops_core.api.export_model("TOY", "best", tmp_path / "out", workspace=workspace)


VERSION_1 = """
CREATE TABLE runs (run_id TEXT PRIMARY KEY, use_case TEXT NOT NULL, status TEXT NOT NULL, created TEXT NOT NULL,
    runner TEXT NOT NULL, pid INTEGER NOT NULL, duration_s REAL NOT NULL DEFAULT 0, model_version INTEGER);
CREATE TABLE step_cache (key TEXT PRIMARY KEY, use_case TEXT NOT NULL, step TEXT NOT NULL, outputs TEXT NOT NULL,
    components TEXT NOT NULL, run_id TEXT NOT NULL, duration_s REAL NOT NULL, created REAL NOT NULL);
CREATE INDEX step_cache_by_step ON step_cache (use_case, step, created);
CREATE TABLE file_digests (path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL, sha256 TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE model_versions (use_case TEXT NOT NULL, version INTEGER NOT NULL, run_id TEXT NOT NULL,
    created TEXT NOT NULL, artifact TEXT NOT NULL, status TEXT NOT NULL, record TEXT NOT NULL,
    PRIMARY KEY (use_case, version)) WITHOUT ROWID;
INSERT INTO runs VALUES ('r2', 'TOY', 'accepted', '2026-02-02', 'local', 1, 1.5, 1);
INSERT INTO runs VALUES ('r1', 'TOY', 'failed', '2026-01-01', 'local', 1, 0.5, NULL);
INSERT INTO step_cache VALUES ('k', 'TOY', 'train', '{}', '{}', 'r2', 3.0, 5.0);
INSERT INTO model_versions VALUES ('TOY', 1, 'r2', '2026-02-02', 'abc', 'PendingManualApproval',
    '{"run_id": "r2", "created": "2026-02-02", "artifact": "abc", "metrics": {"acc": 0.9}}');
PRAGMA user_version = 1;
"""


def test_a_workspace_of_the_first_version_is_brought_up_to_date_and_loses_nothing(workspace):
    workspace.mkdir()
    database = sqlite3.connect(workspace / "mlops.db")
    database.executescript(VERSION_1)
    database.close()
    with Store(workspace) as store:
        assert [run.run_id for run in store.runs.newest()] == ["r2", "r1"]
        assert store.step_cache.expected_duration_s("TOY", "train") == 3.0
        found = Registry(store).version("TOY")
        assert (found.version, found.status, found.metrics) == (1, ApprovalStatus.PENDING, {"acc": 0.9})
        Registry(store).set_status(found, ApprovalStatus.APPROVED, why="x")
        assert Registry(store).register(replace(found, artifact="new")).version == 2


def test_a_model_of_an_older_workspace_is_still_registered_once(workspace):
    workspace.mkdir()
    database = sqlite3.connect(workspace / "mlops.db")
    database.executescript(VERSION_1)
    database.close()
    with Store(workspace) as store:
        found = Registry(store).version("TOY")
        assert Registry(store).register(replace(found, run_id="again")).version == 1
        assert Registry(store).register(replace(found, metrics={"acc": 0.8})).version == 2


def steps_of(store, action):
    """Return how many instructions SQLite's virtual machine carries out for an action."""
    count = 0

    def counted():
        nonlocal count
        count += 1

    store._db.set_progress_handler(counted, 1)
    action()
    store._db.set_progress_handler(None, 1)
    return count


@pytest.mark.representatives(1)
@pytest.mark.parametrize("is_one_artifact", [False, True], ids=["many models", "one model"])
def test_the_cost_of_a_version_does_not_depend_on_how_many_there_are(workspace, is_one_artifact):
    def named(number):
        return candidate("a" if is_one_artifact else f"a{number}", float(number))

    with Store(workspace) as store:
        registry = Registry(store)

        def register(number):
            registry.promote_best(registry.register(named(number)), compare=by_value, allows_pending=True)

        def decide(number):
            version = registry.version("toy", number)
            registry.set_status(version, ApprovalStatus.APPROVED, why="x")
            registry.set_status(registry.version("TOY", number), ApprovalStatus.REJECTED, why="x", moves_aliases=True)

        actions = (
            register,
            register,  # the same once more, which changes nothing
            lambda number: registry.version("TOY"),
            lambda number: registry.version("TOY", "best"),
            lambda number: registry.servable_version("TOY", "best"),
            lambda number: registry.move_alias("TOY", "old", version=number, expected=None, why="x"),
            lambda number: registry.move_alias("TOY", "old", version=None, expected=number, why="x"),
            decide,
        )
        costs = {}
        for newest in (20, 400):
            for number in range(max(costs, default=0) + 1, newest):
                register(number)
            costs[newest] = [steps_of(store, lambda action=action, at=newest: action(at)) for action in actions]
        assert all(many <= 1.5 * few for few, many in zip(costs[20], costs[400], strict=True)), costs
        assert registry.alias_target("TOY", BEST) == 399


@pytest.mark.slow_suite
def test_listing_reads_each_version_once(workspace):
    with Store(workspace) as store:
        registry = Registry(store)
        costs = []
        for numbers in (range(50), range(50, 500)):
            for number in numbers:
                registry.register(candidate(f"a{number}", 0.5))
            registry.move_alias("TOY", f"at-{numbers.start}", version=numbers.stop, expected=None, why="x")
            costs.append(steps_of(store, registry.versions))
        assert costs[1] <= 12 * costs[0]
        assert [version.aliases for version in registry.versions("toy") if version.aliases] == [("at-50",), ("at-0",)]


def test_an_unknown_version_among_many_is_refused_in_one_short_line(registry):
    for number in range(300):
        registry.register(candidate(f"a{number}", 0.5))
    with pytest.raises(UsageError, match="versions: 1 to 300$") as caught:
        registry.version("TOY", 301)
    assert len(str(caught.value)) < 300
    for wanted in ("9" * 30, "-1", "1.0", "01"):
        with pytest.raises(UsageError, match="no version or alias"):
            registry.version("TOY", wanted)


def test_a_use_case_is_found_whatever_the_case_of_its_name(registry):
    registry.register(candidate("a", 0.5))
    registry.move_alias("TOY", "production", version=1, expected=None, why="x")
    for name in ("toy", "TOY", "Toy"):
        assert registry.version(name).version == registry.version(name, "production").version == 1
        assert [version.aliases for version in registry.versions(name)] == [("production",)]
        assert len(registry.history(name)) == 2
    assert registry.versions("TO") == registry.history("TO") == ()


def test_a_workspace_of_a_later_version_is_refused(workspace):
    workspace.mkdir()
    database = sqlite3.connect(workspace / "mlops.db")
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StoreError, match="has version 99; this mlops reads version 5"):
        Store(workspace)
