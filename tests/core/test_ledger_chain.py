"""The ledger is a chain of hashes: whatever is done to its entries is found, and the first wrong entry is named."""

import hashlib
import json
import re
import sqlite3
import time

import pytest

from mlops_core.errors import UsageError
from mlops_core.workspace import ledger
from mlops_core.workspace.ledger import FIRST_HASH, HEAD_FILE, ChainHead, entry_hash
from mlops_core.workspace.maintenance.chain import verify_chain
from mlops_core.workspace.maintenance.diagnosis import examine
from mlops_core.workspace.model_moves import move_models
from mlops_core.workspace.model_versions import ApprovalStatus, ModelVersion
from mlops_core.workspace.registry import Registry
from mlops_core.workspace.store import Store

TRIGGERS = ("ledger_is_not_changed", "ledger_is_not_shortened")
COLUMNS = "at, who, use_case, subject, value, previous, why, digest"


@pytest.fixture(autouse=True)
def _no_plugins_are_examined(monkeypatch):
    """These tests ask doctor about the workspace; that it examines the plugins has tests of its own."""
    monkeypatch.setattr("mlops_core.workspace.maintenance.diagnosis._plugins", lambda: iter(()))


@pytest.fixture
def home(workspace):
    """A workspace whose ledger has six entries."""
    with Store(workspace) as store:
        registry = Registry(store)
        for number in (1, 2):
            registry.register(
                ModelVersion(use_case="TOY", version=0, run_id=f"r{number}", created="", artifact=f"a{number}")
            )
            registry.set_status(registry.version("TOY", number), ApprovalStatus.APPROVED, why="good", who="ada")
            registry.move_alias("TOY", "production", version=number, expected=number - 1 or None, why="ship", who="bob")
    return workspace


def tamper(home, *statements):
    db = sqlite3.connect(home / "mlops.db")
    for trigger in TRIGGERS:
        db.execute(f"DROP TRIGGER {trigger}")
    for statement in statements:
        db.execute(statement)
    db.commit()
    db.close()


def verified(home):
    with Store(home) as store:
        return verify_chain(store)


def test_a_whole_chain_is_verified_and_its_head_is_the_newest_entry(home):
    chain = verified(home)
    with Store(home) as store:
        newest = Registry(store).history()[-1]
        assert Registry(store).chain_head() == chain.head == ChainHead(sequence=6, hash=newest.hash)
    assert (chain.entries, chain.fault) == (6, "")


def test_the_hash_of_an_entry_is_that_of_its_documented_form(home):
    with Store(home) as store:
        first, second, *_ = Registry(store).history()
    for entry, before in ((first, FIRST_HASH), (second, first.hash)):
        fields = [entry.sequence, entry.at, entry.who, entry.use_case, entry.subject, entry.value]
        fields += [entry.previous, entry.why, entry.digest]
        text = json.dumps(["mlops-ledger/1", before, *fields], ensure_ascii=False, separators=(",", ":"))
        assert entry.hash == hashlib.sha256(text.encode()).hexdigest()


INSERT = f"INSERT INTO ledger (sequence, {COLUMNS}, hash) SELECT"
TAMPERINGS = {
    "changed": (["UPDATE ledger SET who = 'eve' WHERE sequence = 3"], "entry 3 .TOY, alias production. does not match"),
    "time changed": (["UPDATE ledger SET at = '2020-01-01' WHERE sequence = 2"], "entry 2 .* does not match"),
    "digest changed": (["UPDATE ledger SET digest = '' WHERE sequence = 1"], "entry 1 .* does not match"),
    "bytes": (["UPDATE ledger SET why = X'00' WHERE sequence = 3"], "entry 3 or one after it cannot be read"),
    "no text": (
        ["UPDATE ledger SET why = CAST(X'FF' AS TEXT) WHERE sequence = 3"],
        "entry 3 or one after it cannot be",
    ),
    "first removed": (["DELETE FROM ledger WHERE sequence = 1"], "entry 1 is missing"),
    "some removed": (["DELETE FROM ledger WHERE sequence IN (3, 4)"], "entries 3 to 4 are missing"),
    "removed and closed": (
        ["DELETE FROM ledger WHERE sequence = 3", "UPDATE ledger SET sequence = sequence - 1 WHERE sequence > 3"],
        "entry 3 .* does not match",
    ),
    "swapped": (
        [f"UPDATE ledger SET sequence = {to} WHERE sequence = {at}" for at, to in ((3, 99), (4, 3), (99, 4))],
        "entry 3 .* does not match",
    ),
    "inserted": (
        [
            "UPDATE ledger SET sequence = -sequence WHERE sequence > 3",
            "UPDATE ledger SET sequence = 1 - sequence WHERE sequence < 0",
            f"{INSERT} 4, {COLUMNS}, hash FROM ledger WHERE sequence = 2",
        ],
        "entry 4 .* does not match",
    ),
    "appended": ([f"{INSERT} 7, {COLUMNS}, hash FROM ledger WHERE sequence = 2"], "entry 7 .* does not match"),
    "end removed": (["DELETE FROM ledger WHERE sequence > 4"], "entries 5 to 6 are missing at the end"),
    "all removed": (["DELETE FROM ledger"], "entries 1 to 6 are missing at the end"),
    "end removed, with its head": (
        [
            "DELETE FROM ledger WHERE sequence > 4",
            "UPDATE ledger_head SET (sequence, hash) = (SELECT sequence, hash FROM ledger WHERE sequence = 4)",
        ],
        "entries 5 to 6 are missing at the end, which ledger-head.json knows",
    ),
    "head changed": (["UPDATE ledger_head SET sequence = 5"], "entry 6 was inserted"),
    "other head": ([f"UPDATE ledger_head SET hash = '{'a' * 64}'"], "entry 6 is not the one that was written last"),
}


@pytest.mark.parametrize("case", TAMPERINGS)
def test_tampering_is_found_and_the_first_wrong_entry_is_named_also_after_a_repair(home, case):
    statements, fault = TAMPERINGS[case]
    tamper(home, *statements)
    chain = verified(home)
    assert re.match(fault, chain.fault), chain.fault
    examine(home, is_repaired=True)
    assert verified(home).fault


def test_a_new_entry_does_not_hide_that_entries_at_the_end_are_missing(home):
    tamper(
        home,
        "DELETE FROM ledger WHERE sequence > 4",
        "UPDATE ledger_head SET (sequence, hash) = (SELECT sequence, hash FROM ledger WHERE sequence = 4)",
    )
    with Store(home) as store:
        for _ in range(4):
            registry = Registry(store)
            registry.set_status(registry.version("TOY", 1), ApprovalStatus.APPROVED, why="again")
    assert verified(home).fault == "entry 6 is not the one that ledger-head.json knows"


def test_a_chain_that_was_written_anew_is_found_by_the_head_that_was_kept_elsewhere(home):
    """Somebody who can write every file is found by nothing inside the workspace."""
    with Store(home) as store:
        kept = Registry(store).chain_head()
    db = sqlite3.connect(home / "mlops.db")
    rows = db.execute(f"SELECT sequence, {COLUMNS} FROM ledger ORDER BY sequence").fetchall()
    db.close()
    newest, statements = FIRST_HASH, []
    for row in rows:
        changed = tuple("eve" if value == "ada" else value for value in row)
        newest = entry_hash(newest, changed)
        statements.append(f"UPDATE ledger SET who = '{changed[2]}', hash = '{newest}' WHERE sequence = {row[0]}")
    tamper(home, *statements, f"UPDATE ledger_head SET hash = '{newest}'")
    assert verified(home).fault == "entry 6 is not the one that ledger-head.json knows"
    (home / HEAD_FILE).unlink()
    assert verified(home).fault == ""
    assert verified(home).head != kept


def test_a_head_file_that_is_behind_or_missing_is_no_fault_and_a_damaged_one_is(home):
    with Store(home) as store:
        fourth = Registry(store).history()[3]
    path = home / HEAD_FILE
    for content in (f'{{"format": "mlops-ledger/1", "sequence": 4, "hash": "{fourth.hash}"}}', None):
        path.unlink()
        if content:
            path.write_text(content)
        assert verified(home).fault == ""
    path.write_text("{")
    assert "ledger-head.json cannot be read" in verified(home).fault
    with Store(home) as store:
        registry = Registry(store)
        registry.set_status(registry.version("TOY", 1), ApprovalStatus.APPROVED, why="again")
    assert path.read_text() == "{"


def test_an_entry_without_a_hash_cannot_be_written(home):
    db = sqlite3.connect(home / "mlops.db")
    with pytest.raises(sqlite3.IntegrityError, match="NOT NULL"):
        db.execute(f"INSERT INTO ledger ({COLUMNS}) SELECT {COLUMNS} FROM ledger")
    db.close()


def test_a_ledger_whose_table_was_lost_goes_on_and_says_so_for_good(home):
    db = sqlite3.connect(home / "mlops.db")
    db.execute("DROP TABLE ledger")
    db.close()
    examine(home, is_repaired=True)
    with Store(home) as store:
        chain, entries = verify_chain(store), Registry(store).history()
    assert (chain.fault, chain.entries, chain.head.sequence) == ("", 3, 9)
    assert chain.restarts[0].startswith("entries 1 to 6 were lost before 20")
    assert [(entry.sequence, entry.subject) for entry in entries] == [(7, "ledger"), (8, "version 1"), (9, "version 2")]
    (check,) = [check for check in examine(home) if check.subject == "ledger"]
    assert "entries 1 to 6 were lost" in check.detail


def test_doctor_names_the_first_wrong_entry_and_repair_leaves_the_ledger_alone(home):
    tamper(home, "UPDATE ledger SET value = 'Rejected' WHERE sequence = 2")
    for is_repaired in (False, True):
        (check,) = [check for check in examine(home, is_repaired=is_repaired) if check.subject == "ledger"]
        assert not check.is_good
        assert "entry 2 (TOY, version 1)" in check.detail
        assert "--repair does not change the ledger" in check.fix


def test_doctor_finds_a_record_that_was_changed_after_its_registration(home):
    db = sqlite3.connect(home / "mlops.db")
    db.execute("UPDATE model_versions SET record = replace(record, '\"a1\"', '\"evil\"') WHERE version = 1")
    db.commit()
    db.close()
    (check,) = [check for check in examine(home) if check.subject == "model TOY version 1"]
    assert "its record was changed since it was registered by run r1" in check.detail


def test_doctor_finds_an_alias_of_a_version_that_does_not_exist(home):
    db = sqlite3.connect(home / "mlops.db")
    db.execute("DELETE FROM model_versions WHERE version = 2")
    db.commit()
    db.close()
    (check,) = [check for check in examine(home) if check.subject == "alias production of model TOY"]
    assert "it points to version 2, which does not exist" in check.detail
    assert "mlops models alias production --remove -u TOY" in check.fix


def test_models_that_are_moved_to_a_new_name_keep_the_chain_whole(home):
    with Store(home) as store:
        move_models(store, "TOY", "TOY_TWO", why="renamed")
        assert verify_chain(store).fault == ""
        with pytest.raises(UsageError, match="give a reason"):
            move_models(store, "TOY_TWO", "TOY", why="\u200b ")
    assert not [check for check in examine(home) if "record was changed" in check.detail]


@pytest.mark.parametrize("why", ["", " ", "\n\t", "\u200b\u200b", "\x1b\x07"])
def test_a_reason_without_a_visible_character_is_refused(home, why):
    with Store(home) as store:
        registry = Registry(store)
        version = registry.version("TOY", 1)
        for refuse in (
            lambda: registry.set_status(version, ApprovalStatus.REJECTED, why=why, moves_aliases=True),
            lambda: registry.move_alias("TOY", "production", version=1, expected=2, why=why),
            lambda: registry.roll_back("TOY", "production", why=why),
        ):
            with pytest.raises(UsageError, match="give a reason"):
                refuse()
        assert registry.chain_head().sequence == 6


def test_a_reason_of_a_book_is_refused_and_control_characters_are_escaped(home):
    with Store(home) as store:
        registry = Registry(store)
        version = registry.version("TOY", 1)
        with pytest.raises(UsageError, match="the reason has 4,001 characters; expected at most 4,000"):
            registry.set_status(version, ApprovalStatus.APPROVED, why="x" * 4001)
        (entry,) = registry.set_status(version, ApprovalStatus.APPROVED, why="red\x1b[31m\nforged \udcff é", who="a\nb")
        assert (entry.who, entry.why) == (r"a\nb", r"red\x1b[31m\nforged \udcff é")
        assert registry.history()[-1] == entry
        assert verify_chain(store).fault == ""


VERSION_3_LEDGER = """
DROP TABLE ledger;
DROP TABLE ledger_head;
CREATE TABLE ledger (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, who TEXT NOT NULL, use_case TEXT NOT NULL,
    subject TEXT NOT NULL, value TEXT NOT NULL, previous TEXT NOT NULL, why TEXT NOT NULL
);
INSERT INTO ledger (at, who, use_case, subject, value, previous, why) VALUES
    ('2026-01-01', 'mlops', 'TOY', 'version 1', 'PendingManualApproval', '', 'registered by run r1'),
    ('2026-01-01', 'mlops', 'TOY', 'version 2', 'PendingManualApproval', '', 'registered by run r2'),
    ('2026-01-02', 'ada', 'TOY', 'version 1', 'Approved', 'PendingManualApproval', 'good');
CREATE TRIGGER ledger_is_not_changed BEFORE UPDATE ON ledger BEGIN SELECT raise(ABORT, 'append-only'); END;
PRAGMA user_version = 3;
"""


def test_the_entries_of_an_older_workspace_are_chained_as_they_are(home):
    db = sqlite3.connect(home / "mlops.db")
    db.executescript(VERSION_3_LEDGER)
    db.close()
    (home / HEAD_FILE).unlink()
    with Store(home) as store:
        chain, entries = verify_chain(store), Registry(store).history("TOY")
        records = {row[0]: row[1] for row in store._db.execute("SELECT version, record FROM model_versions")}
    assert (chain.fault, chain.entries) == ("", 3)
    assert [(entry.at, entry.who, entry.subject, entry.value) for entry in entries] == [
        ("2026-01-01", "mlops", "version 1", "PendingManualApproval"),
        ("2026-01-01", "mlops", "version 2", "PendingManualApproval"),
        ("2026-01-02", "ada", "version 1", "Approved"),
    ]
    assert [entry.digest for entry in entries] == [*map(ledger.record_digest, (records[1], records[2])), ""]
    db = sqlite3.connect(home / "mlops.db")
    for statement in ("UPDATE ledger SET who = 'me'", "DELETE FROM ledger"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            db.execute(statement)
    db.close()


def test_verification_is_one_pass_over_the_entries(home):
    def seconds(count):
        with Store(home) as store:
            with store.transaction() as db:
                for _ in range(count):
                    ledger.append(
                        db, use_case="TOY", subject="alias best", value="1", previous="2", who="x", why="y" * 80
                    )
            began = time.process_time()
            assert verify_chain(store).fault == ""
            return time.process_time() - began

    seconds(1)
    assert seconds(10_000) < 1
