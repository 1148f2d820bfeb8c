"""What an alias served at a past time, since when, by whom, and on what verdict and approval as they were then."""

import datetime as dt

import pytest

from mlops_core.errors import StoreError, UsageError
from mlops_core.gates.verdicts import ClauseVerdict, Verdict
from mlops_core.trust.history import parse_moment, registry_at
from mlops_core.workspace import ledger
from mlops_core.workspace.model_moves import move_models
from mlops_core.workspace.model_versions import ModelVersion
from mlops_core.workspace.records import RunRecord, RunStatus
from mlops_core.workspace.registry import Registry
from mlops_core.workspace.store import Store

PENDING, APPROVED, REJECTED = "PendingManualApproval", "Approved", "Rejected"


@pytest.fixture
def store(workspace):
    """Two versions: the first was in production in May, the second is; the first was rejected later."""
    with Store(workspace) as opened:
        for number in (1, 2):
            opened.runs.save(run(number))
        write(
            opened,
            ("2026-05-01T10:00:00.000+00:00", "mlops", "version 1", PENDING, "", "registered by run run-1"),
            ("2026-05-01T11:00:00.000+00:00", "ada", "version 1", APPROVED, PENDING, "checked"),
            ("2026-05-01T12:00:00.123+00:00", "bob", "alias production", "1", "", "release 1"),
            ("2026-05-04T09:00:00.000+00:00", "mlops", "version 2", PENDING, "", "registered by run run-2"),
            ("2026-05-04T10:00:00.000+00:00", "eve", "alias production", "2", "1", "release 2"),
            ("2026-05-05T10:00:00.000+00:00", "ada", "version 1", REJECTED, APPROVED, "wrong unit"),
            ("2026-05-06T10:00:00.000+00:00", "eve", "alias production", "", "2", "closed"),
        )
        yield opened


def write(store, *entries):
    with store.transaction() as db:
        for at, who, subject, value, previous, why in entries:
            ledger.append(db, use_case="TOY", at=at, who=who, subject=subject, value=value, previous=previous, why=why)


def run(number):
    clause = ClauseVerdict(
        clause="acc >= 0.5", metric="acc", value=0.5 + number / 10, threshold=0.5, passed=True, reason="meets it"
    )
    return RunRecord(
        run_id=f"run-{number}",
        use_case="TOY",
        plugin="toy 1",
        runner="local",
        status=RunStatus.ACCEPTED,
        created="2026-05-01",
        seed=0,
        parameters={},
        config="",
        pipeline={},
        verdict=Verdict(accepted=True, clauses=(clause,)),
    )


def at(store, text, use_case="TOY"):
    return registry_at(store, use_case, parse_moment(text))


def test_an_alias_is_what_it_was_with_the_approval_and_the_verdict_of_that_time(store):
    past = at(store, "2026-05-03")
    (served,) = past.aliases
    assert (served.alias, served.version, served.run_id) == ("production", 1, "run-1")
    assert (served.move.at, served.move.who, served.move.why) == ("2026-05-01T12:00:00.123+00:00", "bob", "release 1")
    assert (served.approval.value, served.approval.who, served.approval.why) == (APPROVED, "ada", "checked")
    assert [clause.value for clause in served.verdict.clauses] == [0.6]
    assert {version: approval.value for version, approval in past.approvals.items()} == {1: APPROVED}
    (served,) = at(store, "2026-05-05T12:00").aliases
    assert (served.version, served.approval.value, served.verdict.clauses[0].value) == (2, PENDING, 0.7)
    assert at(store, "2026-05-05T12:00").approvals[1].value == REJECTED
    assert at(store, "2026-05-07").aliases == ()


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("2026-05-01T12:00:00.122", None),
        ("2026-05-01T12:00:00.123", 1),
        ("2026-05-01T12:00:00.123Z", 1),
        ("2026-05-01T14:00:00.123+02:00", 1),
        ("2026-05-01T13:59:59.999+02:00", None),
        ("2026-05-01 12:01", 1),
        ("2026-04-30", None),
        ("2026-05-01", 1),
        ("20260501", 1),
        ("2026-W18-5", 1),
        ("2026-05-04T09:59:59.999999", 1),
        ("2026-05-04T10:00", 2),
        ("2026-05-06T09:59:59.999-00:00", 2),
        ("2026-05-06T10:00", None),
        ("9999-12-31", None),
        ("0001-01-01T00:00+14:00", None),
    ],
)
def test_an_entry_counts_from_its_own_millisecond(store, text, version):
    assert [served.version for served in at(store, text).aliases] == ([version] if version else [])


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "2026-05-03T25:00", "", "1746230400"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(UsageError, match="expected a time in ISO 8601"):
        parse_moment(text)


def test_a_time_before_the_first_entry_and_one_that_is_not_over_are_said_to_be_so(store):
    assert at(store, "2026-04-30").notes == ("nothing yet: the first entry is of 2026-05-01T10:00:00.000+00:00",)
    assert at(store, "2999-01-01").notes == ("this time is not over: it is the state now",)
    assert at(store, dt.datetime.now(dt.UTC).date().isoformat()).notes == at(store, "2999-01-01").notes
    assert at(store, "2026-05-07").notes == ()
    with pytest.raises(UsageError, match="no model of 'FROGS' was ever registered"):
        at(store, "2026-05-03", "FROGS")


def test_a_verdict_that_is_gone_is_said_to_be_gone(store):
    store.runs.forget("run-1")
    (served,) = at(store, "2026-05-03").aliases
    assert served.verdict is None
    assert served.problem.startswith("the record of run run-1 is gone (")
    assert served.to_json()["verdict"] is None
    write(store, ("2026-05-02T10:00:00.000+00:00", "ada", "alias old", "7", "", "x"))
    old = next(served for served in at(store, "2026-05-03").aliases if served.alias == "old")
    assert (old.approval, old.problem) == (None, "the ledger does not say which run registered it")


def test_a_renamed_use_case_is_found_under_both_names(workspace):
    with Store(workspace) as store:
        registry = Registry(store)
        store.runs.save(run(1))
        registry.register(ModelVersion(use_case="TOY", version=0, run_id="run-1", created="", artifact="a"))
        registry.move_alias("TOY", "production", version=1, expected=None, why="ship", who="bob")
        before = parse_moment(registry.history()[-1].at)
        while dt.datetime.now(dt.UTC) < before + dt.timedelta(milliseconds=2):
            pass
        move_models(store, "TOY", "WORDS", why="renamed")
        for name in ("TOY", "words"):
            (served,) = registry_at(store, name, before).aliases
            assert (served.version, served.move.who, served.run_id) == (1, "bob", "run-1")
            assert served.verdict.accepted
        assert "the models were called TOY until 20" in registry_at(store, "WORDS", before).notes[0]
        now = registry_at(store, "TOY", dt.datetime.now(dt.UTC))
        assert now.aliases == ()
        assert "the models were moved to WORDS on 20" in now.notes[0]
        assert [served.version for served in registry_at(store, "WORDS", dt.datetime.now(dt.UTC)).aliases] == [1]


def test_a_clock_that_was_set_back_leaves_the_later_entry(store):
    write(
        store,
        ("2026-06-01T12:00:00.000+00:00", "ada", "alias production", "1", "", "first"),
        ("2026-06-01T11:00:00.000+00:00", "ada", "alias production", "2", "1", "second, by a clock that was set back"),
    )
    assert [served.version for served in at(store, "2026-06-01").aliases] == [2]


def test_an_entry_without_a_time_is_refused_with_what_to_do(store):
    write(store, ("soon", "ada", "alias production", "1", "", "x"))
    with pytest.raises(StoreError, match="entry 8 of the ledger: 'soon' is not a time; check the ledger: mlops doctor"):
        at(store, "2026-05-03")
