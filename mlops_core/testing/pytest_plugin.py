"""The kit's pytest plugin, installed with core: the session of each contract class, and how outcomes are reported.

pytest loads this module in every test run of an environment that has core, so it imports nothing at its top but
pytest itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_core.testing.checks import Check
    from mlops_core.testing.examination import Session
    from mlops_core.testing.observation.processes import Processes
    from mlops_core.testing.scheduling import ContractScheduling


@pytest.fixture(scope="session")
def contract_processes() -> Iterator[Processes]:
    """The processes in which plugins' code is executed; shared by all contracts."""
    from mlops_core.testing.observation.processes import Processes

    with Processes() as processes:
        yield processes


@pytest.fixture(scope="class")
def contract_session(
    request: pytest.FixtureRequest, contract_processes: Processes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Session]:
    """The session of one contract: what is expensive is made once for all of its tests."""
    folder = tmp_path_factory.mktemp(f"contract-{request.cls.__name__.lower()}")
    session: Session = request.cls.open_session(processes=contract_processes, folder=folder)
    chosen = [item.name for item in request.session.items if getattr(item, "cls", None) is request.cls]
    session.shared["chosen"] = {name.removeprefix("test_") for name in chosen}
    yield session
    session.close()


def pytest_pycollect_makeitem(collector: pytest.Module | pytest.Class, name: str, obj: object) -> None:
    """Refuse a contract in which a check was replaced after the class was made."""
    import sys

    contract = sys.modules.get("mlops_core.testing.contract")
    if contract is None or not isinstance(obj, type) or not issubclass(obj, contract.Contract):
        return
    if not obj.__module__.startswith("mlops_core.testing."):
        from mlops_core.errors import MlopsError

        try:
            obj.refuse_replaced_tests()  # type: ignore[attr-defined]  # issubclass was checked above
            obj.declaration()  # type: ignore[attr-defined]
        except MlopsError as error:
            raise pytest.UsageError(f"{collector.nodeid}::{name}: {error}") from None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ContractScheduling | None:
    """Keep the tests of a contract on one worker, where nothing else was asked for than workers (``-n``)."""
    if config.getvalue("dist") != "load":
        return None
    from mlops_core.testing.scheduling import ContractScheduling

    return ContractScheduling(config, log)


def report_outcome(check: Check, session: Session) -> None:
    """Make a check and turn its outcome into pytest's: pass, fail with rule and remedy, skip, or expected failure.

    A check that another one blocks is skipped, for that one fails; where it was not chosen (``-k``), this one fails.
    """
    from mlops_core.testing.outcomes import Status

    examination = session.examination
    outcome = examination.outcome(check)
    text = "; ".join(outcome.violations)
    if outcome.status is Status.SKIPPED:
        pytest.skip(text)
    if outcome.status is Status.BLOCKED:
        if outcome.cause in session.shared["chosen"]:
            pytest.skip(f"blocked: {text}")
        remedy = examination.checks[outcome.cause].remedy
        pytest.fail(f"{check.name} cannot be made: {text}\nfix: {remedy}", pytrace=False)
    if outcome.status is Status.EXPECTED:
        pytest.xfail(text)
    if outcome.status is not Status.PASSED:
        lines = [f"broken rule {check.name}: {check.rule}", *(f"  - {item}" for item in outcome.violations)]
        pytest.fail("\n".join([*lines, f"fix: {check.remedy}"]), pytrace=False)
