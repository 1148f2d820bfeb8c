"""Each hostile plugin breaks one rule, and the kit names that rule and no other."""

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

from mlops_core.testing import ContractDeclaration, ContractSession, all_checks
from mlops_core.testing.checks import NotApplicableError

HERE = Path(__file__).parent


def _load(name):
    spec = importlib.util.spec_from_file_location(f"zoo_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


ZOO = _load("hostile").ZOO
CHEATS = (*_load("cheats").CHEATS, *_load("cheats").FRESH)
PHASES = {name: check.phase for name, check in all_checks().items()}
OF_ALL_CALLS = {"core_stays_as_it_is", "no_process_outlives_its_call"}
"""Checks that judge by what all others have seen."""
NO_SEARCH = ("skipped", "the use case has no search space")
QUICK = {"is_resumable": False, "runners": ("local",)}


@pytest.fixture
def release(tmp_path, monkeypatch):
    """Install a specimen, changed as a hostile plugin says, here and in the processes that are started."""

    def install(hostile=None):
        folder = tmp_path / "installed"
        shutil.copytree(HERE / "specimen", folder, ignore=shutil.ignore_patterns("__pycache__"))
        package = f"mlops_specimen_{hostile.name}" if hostile else "mlops_specimen"
        (folder / "mlops_specimen").rename(folder / package)
        for file, old, new in hostile.edits if hostile else ():
            path = next(folder.rglob(file))
            text = path.read_text(encoding="utf-8")
            assert old in text, f"{file} has no {old!r}"
            path.write_text(text.replace(old, new, 1) if old else text + new, encoding="utf-8")
        for name, text in (hostile.files if hostile else {}).items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        for path in (*folder.rglob("*.py"), *folder.rglob("entry_points.txt")):
            text = path.read_text(encoding="utf-8").replace("mlops_specimen", package)
            path.write_text(text, encoding="utf-8")
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.setenv("PYTHONPATH", str(folder))

    yield install
    for mark in Path("/dev/shm").glob(f"{str(tmp_path).replace('/', '-')}-*"):
        mark.unlink()


def make_nothing_more(*_, **__):
    raise NotApplicableError("the pipeline is not executed again in this test")


def failed_checks(outcomes):
    return {outcome.check: outcome.violations for outcome in outcomes if outcome.status == "failed"}


@pytest.fixture
def outcomes_of(contract_processes, tmp_path):
    def outcomes(*, first="", **declared):
        """Make all checks; after `first`, no further execution of the pipeline, which would take most of the time."""
        declaration = ContractDeclaration(**{"use_case": "SPECIMEN", **declared})
        session = ContractSession(declaration, processes=contract_processes, folder=tmp_path / "session")
        session.folder.mkdir()
        if first:
            session.outcome(all_checks()[first])
            session.execute = session.run_locally = make_nothing_more
        return list(session.outcomes())

    return outcomes


@pytest.mark.slow
def test_the_sound_specimen_passes_every_check(release, outcomes_of):
    release()
    found = {outcome.check: (outcome.status, *outcome.violations) for outcome in outcomes_of()}
    searches = dict.fromkeys((name for name in PHASES if PHASES[name] == "search"), NO_SEARCH)
    assert found == {**dict.fromkeys(all_checks(), ("passed",)), **searches}


@pytest.mark.slow
@pytest.mark.representatives("phase", each=2)
@pytest.mark.parametrize(
    ("phase", "hostile"), [(PHASES[hostile.check], hostile) for hostile in ZOO], ids=[hostile.name for hostile in ZOO]
)
def test_a_hostile_plugin_fails_the_check_meant_for_it(phase, hostile, release, outcomes_of):
    """It fails no other check that its own executions can decide."""
    release(hostile)
    outcomes = outcomes_of(first=hostile.check, **{**QUICK, **hostile.declared})
    failed = failed_checks(outcomes)
    assert list(failed) == [hostile.check, *hostile.also], failed or [
        item for item in outcomes if item.status != "passed"
    ]


@pytest.mark.slow_suite
@pytest.mark.parametrize("hostile", ZOO, ids=lambda hostile: hostile.name)
def test_a_hostile_plugin_fails_no_other_check_at_all(hostile, release, outcomes_of):
    release(hostile)
    failed = failed_checks(outcomes_of(**{**QUICK, **hostile.declared}))
    assert list(failed) == [hostile.check, *hostile.also], failed


@pytest.mark.representatives("phase")
@pytest.mark.parametrize(
    ("phase", "cheat"), [(PHASES[cheat.check], cheat) for cheat in CHEATS], ids=[cheat.name for cheat in CHEATS]
)
def test_a_cheat_is_named(phase, cheat, release, outcomes_of):
    release(cheat)
    first = "" if cheat.check in OF_ALL_CALLS else cheat.check
    failed = failed_checks(outcomes_of(first=first, **{**QUICK, **cheat.declared}))
    assert cheat.check in failed, failed


def test_names_of_hostile_plugins_are_unique_and_their_checks_exist():
    assert len(ZOO) >= 25
    assert len({hostile.name for hostile in ZOO}) == len(ZOO)
    assert {hostile.check for hostile in ZOO} <= set(all_checks())
