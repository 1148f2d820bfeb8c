"""`RunnerContract` as pytest collects it, and the page that lists its checks."""

import graphlib
from pathlib import Path

import pytest

from mlops_core.errors import UsageError
from mlops_core.testing import RunnerContract, RunnerDeclaration, runner_checks
from mlops_core.testing.runners.declaration import runner_capabilities
from mlops_core.testing.runners.registry import RunnerPhase

PAGE = Path(__file__).parents[2] / "docs" / "contract_tests.md"


def test_there_are_at_least_forty_checks_and_each_says_what_to_fix():
    checks = runner_checks()
    assert len(checks) >= 40
    for check in checks.values():
        assert check.rule.endswith("."), check.name
        assert check.remedy.endswith("."), check.name


def test_prerequisites_of_checks_exist_and_form_no_circle():
    checks = runner_checks()
    assert {name for check in checks.values() for name in check.after} <= set(checks)
    order = graphlib.TopologicalSorter({check.name: check.after for check in checks.values()}).static_order()
    assert set(order) == set(checks)


def test_every_phase_has_checks():
    assert {check.phase for check in runner_checks().values()} == set(RunnerPhase)


def test_every_needed_capability_can_be_declared():
    assert {check.needs for check in runner_checks().values()} - {""} <= set(runner_capabilities())


def test_each_check_is_one_test_with_the_text_of_the_check():
    for name, check in runner_checks().items():
        assert getattr(RunnerContract, f"test_{name}").__doc__ == check.documentation


def test_a_class_that_replaces_a_check_is_refused():
    with pytest.raises(UsageError, match="test_a_run_is_accepted replaces a check"):

        class Mine(RunnerContract):
            runner = "local"

            def test_a_run_is_accepted(self):
                pass


def test_a_class_without_a_runner_is_refused():
    class Mine(RunnerContract):
        pass

    with pytest.raises(UsageError, match="set runner to the name of the runner"):
        Mine.declaration()


def test_attributes_of_the_class_are_the_declaration():
    class Mine(RunnerContract):
        runner = "local"
        is_parallel = False
        timeout_s = 7

    assert Mine.declaration() == RunnerDeclaration(runner="local", is_parallel=False, timeout_s=7)


def test_an_expected_failure_of_an_unknown_check_is_refused():
    with pytest.raises(UsageError, match="no check 'a_run_is_acepted'; did you mean 'a_run_is_accepted'"):
        RunnerDeclaration(runner="local", expected_failures={"a_run_is_acepted": "why"})


def test_the_page_lists_every_check_with_its_rule_and_every_capability():
    page = PAGE.read_text()
    for check in runner_checks().values():
        assert f"| `{check.name}` | {check.rule} |" in page
    for name in (*runner_capabilities(), "expected_failures"):
        assert f"`{name}`" in page
