"""`UseCaseContract` as pytest meets it: no check can be lost, replaced or excused in silence."""

import os
import subprocess
import sys

import pytest

from mlops_core.errors import UsageError
from mlops_core.testing import Check, ContractDeclaration, ContractSession, UseCaseContract, all_checks
from mlops_core.testing.use_cases.registry import Phase

KIT = "mlops_core.testing.pytest_plugin"
HEAD = "from mlops_core.testing import UseCaseContract\n\n\nclass TestToy(UseCaseContract):\n    use_case = 'TOY'\n"


@pytest.fixture
def pytest_on(toy, tmp_path, monkeypatch):
    """Run pytest on a test file of its own, by default with no other plugin than the kit."""

    def run(text, *arguments, plugins=(KIT,)):
        (tmp_path / "test_it.py").write_text(text)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "test_it.py"]
        environ = dict(os.environ)
        if plugins:
            environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # the others cost a second at each start
            command += [part for name in plugins for part in ("-p", name)]
        return subprocess.run(
            [*command, *arguments], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
        )

    return run


def test_there_are_at_least_sixty_checks_and_each_says_what_to_fix():
    found = all_checks()
    assert len(found) >= 60
    for check in found.values():
        assert check.rule.endswith("."), check.name
        assert check.remedy.endswith("."), check.name


def test_prerequisites_of_checks_exist_and_form_no_circle():
    import graphlib

    found = all_checks()
    assert {name for check in found.values() for name in check.after} <= set(found)
    assert len(list(graphlib.TopologicalSorter({c.name: c.after for c in found.values()}).static_order())) == len(found)


def test_each_check_is_one_test_with_the_text_of_the_check():
    for name, check in all_checks().items():
        assert getattr(UseCaseContract, f"test_{name}").__doc__ == check.documentation


def test_the_checks_are_independent_of_pytest():
    kit = "mlops_core.testing.use_cases"
    code = f"import sys, {kit}.subjects, {kit}.session; print('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_the_installed_plugin_collects_one_test_per_check(pytest_on):
    done = pytest_on(HEAD, "--collect-only", plugins=())
    assert done.stdout.count("::test_") == len(all_checks())


def test_a_broken_rule_fails_with_rule_violation_and_fix(pytest_on):
    done = pytest_on(HEAD, "-k", "distribution_requires_core")
    assert done.returncode == 1
    assert (
        "broken rule distribution_requires_core: The metadata of the distribution requires mlops-usecases."
        in done.stdout
    )
    assert "- mlops-toy requires nothing, not mlops-usecases" in done.stdout
    assert "fix: add" in done.stdout


def test_an_expected_failure_is_reported_as_xfail(pytest_on):
    text = HEAD + "    expected_failures = {'distribution_requires_core': 'written by hand'}\n"
    done = pytest_on(text, "-k", "distribution_requires_core")
    assert done.returncode == 0
    assert "1 xfailed" in done.stdout


def test_an_expected_failure_that_passes_fails_the_test(pytest_on):
    text = HEAD + "    expected_failures = {'use_case_name_is_portable': 'it once was not'}\n"
    done = pytest_on(text, "-k", "use_case_name_is_portable")
    assert done.returncode == 1
    assert "it holds, although expected_failures says: it once was not" in done.stdout


def test_a_declared_failure_does_not_block_later_checks(pytest_on):
    text = HEAD + "    overrides = ('training.behaviour=raise',)\n    expected_failures = {'steps_succeed': 'known'}\n"
    done = pytest_on(text, "-k", "steps_succeed and not machine or steps_use_no_network")
    assert "1 failed, " in done.stdout
    assert "1 xfailed" in done.stdout
    assert "broken rule steps_use_no_network" in done.stdout


def test_an_unknown_use_case_is_one_failure_with_a_suggestion(pytest_on):
    done = pytest_on(
        HEAD.replace("'TOY'", "'TOYS'"), "-rs", "-k", "discovery or announced or portable or steps_succeed"
    )
    assert "no installed distribution announces 'TOYS'; did you mean 'TOY'?" in done.stdout
    assert "1 failed, " in done.stdout
    assert "blocked: " in done.stdout


def test_many_violations_of_one_rule_are_shortened(toy, contract_processes, tmp_path):
    session = ContractSession(ContractDeclaration(use_case="TOY"), processes=contract_processes, folder=tmp_path)
    many = Check(name="many", phase=Phase.HOOKS, function=lambda _: [f"place {number}" for number in range(1000)])
    assert session.outcome(many).violations == (*(f"place {n}" for n in range(8)), "and 992 more like these")


def test_pytest_without_the_kit_reports_how_to_load_it(pytest_on):
    done = pytest_on(HEAD, "-k", "hooks_are_marked", plugins=("no:mlops",))
    assert done.returncode == 1
    assert "pytest has not loaded the contract kit; leave out -p no:mlops" in done.stdout


def test_xdist_assigns_a_contract_to_one_worker(pytest_on):
    text = HEAD + "\n\ndef test_plain():\n    import time; time.sleep(1)\n"
    done = pytest_on(text, "-n", "2", "-vv", "-k", "hooks_are or plain", plugins=(KIT, "xdist.plugin"))
    where = [line.split() for line in done.stdout.splitlines() if line.startswith("[gw")]
    contract = [line[0] for line in where if "::TestToy::" in line[-1]]
    assert len(contract) >= 2
    assert len(set(contract)) == 1, done.stdout


def test_xdist_distributes_other_tests_one_by_one():
    from mlops_core.testing.scheduling import unit_of

    assert unit_of("a/test_x.py::TestToy::test_steps_succeed") == "a/test_x.py::TestToy"
    for other in ("a/test_x.py::test_steps_succeed", "a/test_x.py::TestToy::test_mine", "a/test_x.py::test_y[a::b]"):
        assert unit_of(other) == other


@pytest.mark.representatives(3)
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("    contract_session = None\n", "TestToy.contract_session replaces a fixture of the kit"),
        ("    def test_steps_succeed(self): pass\n", "TestToy.test_steps_succeed replaces a check of the contract"),
        ("    test_steps_succeed = None\n", "TestToy.test_steps_succeed replaces a check of the contract"),
        ("\n\nTestToy.test_steps_succeed = lambda self: None\n", "replaces a check of the contract"),
        ("    expected_failures = {'steps_suceed': 'x'}\n", "no check 'steps_suceed'; did you mean 'steps_succeed'?"),
        ("    expected_failures = {'steps_succeed': ' '}\n", "'steps_succeed' has no reason"),
        ("    config = 'examples/none.yaml'\n", "no file examples/none.yaml"),
    ],
)
def test_weakening_the_contract_is_a_collection_error(pytest_on, body, message):
    done = pytest_on(HEAD + body, "--collect-only")
    assert done.returncode not in (0, 1)
    assert message in done.stdout + done.stderr


def test_an_intermediate_class_cannot_replace_a_test():
    class Replacement:
        def test_steps_succeed(self):
            """Look away."""

    with pytest.raises(UsageError, match="replaces a check"):
        type("TestSly", (Replacement, UseCaseContract), {"use_case": "TOY"})


def test_a_blocked_check_is_skipped_with_its_cause(pytest_on, toy, tmp_path):
    text = HEAD + "    overrides = ('training.behaviour=raise',)\n"
    done = pytest_on(text, "-rs", "-k", "steps_succeed or steps_use_no_network")
    assert "blocked: steps_succeed has to hold first: step 'train': ZeroDivisionError" in done.stdout


def test_a_check_blocked_by_a_deselected_one_fails_with_its_cause(pytest_on):
    text = HEAD + "    overrides = ('training.behaviour=raise',)\n"
    done = pytest_on(text, "-k", "gate_accepts")
    assert done.returncode == 1
    assert "gate_accepts_a_perfect_oracle cannot be made: steps_succeed has to hold first: step 'train'" in done.stdout
    assert "fix: whatever the error says" in done.stdout
