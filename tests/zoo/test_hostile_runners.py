"""Each hostile runner breaks one promise, and the contract of runners names that promise and no other."""

import contextlib
import importlib.util
import sys
from pathlib import Path

import pytest

from mlops_core.testing import RunnerDeclaration, Surroundings, runner_checks
from mlops_core.testing.checks import NotApplicableError
from mlops_core.testing.products import Product
from mlops_core.testing.runners.session import RunnerSession


def _zoo():
    spec = importlib.util.spec_from_file_location("zoo_hostile_runners", Path(__file__).with_name("hostile_runners.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


zoo = _zoo()
MADE_ALWAYS = ("described", "plain", "done")
PRODUCTS = [name for name, value in vars(RunnerSession).items() if isinstance(value, Product)]


@pytest.fixture
def failures(tmp_path, monkeypatch, contract_processes):
    """Return the failed checks of a hostile runner, of those that need no other run than the given ones."""

    def examine(code, runs):
        folder = tmp_path / "installed"
        (folder / "mlops_hostile-1.dist-info").mkdir(parents=True)
        info = folder / "mlops_hostile-1.dist-info"
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mlops-hostile\nVersion: 1\n")
        (info / "entry_points.txt").write_text("[mlops.runners]\nhostile = mlops_hostile:PLUGIN\n")
        (folder / "mlops_hostile.py").write_text(zoo.HEAD + code + zoo.TAIL)
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.setenv("PYTHONPATH", str(folder))
        (tmp_path / "session").mkdir()
        session = RunnerSession(
            RunnerDeclaration(runner="hostile"),
            processes=contract_processes,
            folder=tmp_path / "session",
            surroundings=lambda _: contextlib.nullcontext(Surroundings()),
        )
        with contextlib.closing(session):
            for name in PRODUCTS:
                if name not in (*MADE_ALWAYS, *runs):
                    session.made[name] = (None, NotApplicableError(f"'{name}' is not made in this test"))
            outcomes = list(session.examination.outcomes())
        assert {outcome.check for outcome in outcomes} == set(runner_checks())
        return {outcome.check: outcome.violations for outcome in outcomes if outcome.status == "failed"}

    return examine


def test_the_unchanged_runner_passes_every_check(failures):
    assert failures("", ("failing",)) == {}


@pytest.mark.slow
@pytest.mark.representatives("phase", each=2)
@pytest.mark.parametrize(
    ("phase", "hostile"),
    [(runner_checks()[hostile.check].phase, hostile) for hostile in zoo.RUNNERS],
    ids=[hostile.name for hostile in zoo.RUNNERS],
)
def test_a_hostile_runner_fails_only_the_check_meant_for_it(phase, hostile, failures):
    found = failures(hostile.code, hostile.runs)
    assert list(found) == [hostile.check], found


def test_names_of_hostile_runners_are_unique_and_their_checks_exist():
    assert len(zoo.RUNNERS) >= 10
    assert len({hostile.name for hostile in zoo.RUNNERS}) == len(zoo.RUNNERS)
    assert {hostile.check for hostile in zoo.RUNNERS} <= set(runner_checks())
    assert {name for hostile in zoo.RUNNERS for name in hostile.runs} <= set(PRODUCTS)
