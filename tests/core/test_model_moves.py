"""The models of a renamed use case keep their numbers, approvals, aliases and ledger under the new name."""

import pytest

from mlops_core.errors import UsageError
from mlops_core.workspace.model_moves import move_models
from mlops_core.workspace.registry import ApprovalStatus, ModelVersion, Registry
from mlops_core.workspace.store import Store


@pytest.fixture
def store(workspace):
    with Store(workspace) as opened:
        yield opened


@pytest.fixture
def registry(store):
    """Two versions of BIRDS: the first was in production, the second is approved and is now."""
    registry = Registry(store)
    for number in (1, 2):
        registry.register(version("BIRDS", number))
        registry.set_status(registry.version("BIRDS", number), ApprovalStatus.APPROVED, why="good", who="ada")
        expected = number - 1 or None
        registry.move_alias("BIRDS", "production", version=number, expected=expected, why="ship", who="bob")
    return registry


def version(use_case, number):
    return ModelVersion(
        use_case=use_case, version=0, run_id=f"run-{number}", created="2026-01-01", artifact=f"{use_case}{number}"
    )


def test_versions_approvals_and_aliases_have_the_new_name(store, registry):
    before = [(one.version, one.status, one.aliases, one.artifact) for one in registry.versions("BIRDS")]
    moved = move_models(store, "birds", "BIRD_CALLS", why="renamed", who="eve")
    assert (moved.old, moved.new, moved.versions) == ("BIRDS", "BIRD_CALLS", (1, 2))
    after = [(one.version, one.status, one.aliases, one.artifact) for one in registry.versions("BIRD_CALLS")]
    assert after == before == [(2, "Approved", ("production",), "BIRDS2"), (1, "Approved", (), "BIRDS1")]
    assert registry.versions("BIRDS") == ()
    assert registry.alias_target("BIRDS", "production") is None


def test_the_ledger_says_who_decided_before_and_who_moved(store, registry):
    original = registry.history("BIRDS")
    move_models(store, "BIRDS", "BIRD_CALLS", why="renamed", who="eve")
    entries = registry.history("BIRD_CALLS")
    facts = ("at", "who", "subject", "value", "previous", "why")
    for copied, entry in zip(entries, original, strict=False):
        assert all(getattr(copied, name) == getattr(entry, name) for name in facts)
    last = entries[-1]
    assert len(entries) == len(original) + 1
    assert (last.who, last.subject, last.previous, last.value, last.why) == (
        "eve",
        "name",
        "BIRDS",
        "BIRD_CALLS",
        "renamed",
    )
    assert registry.history("BIRDS")[: len(original)] == original


def test_an_alias_can_be_rolled_back_after_the_move_and_new_versions_follow(store, registry):
    move_models(store, "BIRDS", "BIRD_CALLS", why="renamed")
    registry.roll_back("BIRD_CALLS", "production", why="worse")
    assert registry.alias_target("BIRD_CALLS", "production") == 1
    assert registry.register(version("BIRD_CALLS", 3)).version == 3


def test_the_old_name_can_be_used_again(store, registry):
    move_models(store, "BIRDS", "BIRD_CALLS", why="renamed")
    again = registry.register(version("BIRDS", 9))
    assert (again.version, registry.version("BIRDS", 1).status) == (1, ApprovalStatus.PENDING)
    assert registry.version("BIRDS", 1).aliases == ()
    assert len(registry.versions("BIRD_CALLS")) == 2


def test_a_move_and_its_way_back_change_nothing(store, registry):
    before = registry.versions("BIRDS")
    move_models(store, "BIRDS", "BIRD_CALLS", why="renamed")
    move_models(store, "BIRD_CALLS", "BIRDS", why="back")
    assert registry.versions("BIRDS") == before
    registry.roll_back("BIRDS", "production", why="worse")
    assert registry.alias_target("BIRDS", "production") == 1


def test_what_cannot_be_moved_is_refused_and_nothing_changes(store, registry):
    registry.register(version("FROGS", 1))
    before = registry.history(), registry.versions()
    for old, new, message in (
        ("BIRD", "X", "no registered model of 'BIRD'; did you mean 'BIRDS'.* models: BIRDS, FROGS"),
        ("BIRDS", "frogs", r"model frogs has versions already \(1\)"),
        ("BIRDS", "birds", "the new name is the same"),
    ):
        with pytest.raises(UsageError, match=message):
            move_models(store, old, new, why="renamed")
    assert (registry.history(), registry.versions()) == before
