"""`make test` keeps some tests of every kind; what it leaves out is chosen, not lost."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

from mlops_core.testing import all_checks

ROOT = Path(__file__).parents[2]
ONLY_IN_TEST_ALL = {
    "plugins/azureml/tests/service/test_azurite.py",
    "plugins/azureml/tests/test_remote_contract.py",
    "plugins/mlflow/tests/test_server.py",
    "plugins/object_detection/tests/test_run.py",
    "plugins/sagemaker/tests/emulator/test_inference_aed.py",
    "plugins/sagemaker/tests/parity/test_parity_use_cases.py",
    "plugins/sagemaker/tests/test_runner_contract.py",
    "tests/serving/drift/test_calibrated.py",
}
"""Each trains, calibrates, or executes whole pipelines on the emulated service; others do so with less."""


@pytest.fixture(scope="module")
def tiers():
    """The module that decides what `make test` leaves out."""
    spec = importlib.util.spec_from_file_location("conftest_of_the_suite", ROOT / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cases(*parameters, marker):
    return [
        SimpleNamespace(callspec=SimpleNamespace(params=one), iter_markers=lambda name: iter([marker.mark]))
        for one in parameters
    ]


def test_a_count_keeps_the_ends_and_what_lies_evenly_between(tiers):
    items = cases(*({"n": number} for number in range(11)), marker=pytest.mark.representatives(3))
    assert tiers.representatives(items) == {0, 5, 10}
    assert tiers.representatives(items[:2]) == {0, 1}
    assert tiers.representatives(items[:1]) == {0}


def test_every_value_of_the_named_parameters_keeps_a_case(tiers):
    grid = [{"kind": kind, "name": name, "other": (kind, name)} for kind in "abc" for name in range(4)]
    items = cases(*grid, marker=pytest.mark.representatives("kind", "name"))
    kept = [grid[position] for position in tiers.representatives(items)]
    assert {one["kind"] for one in kept} == set("abc")
    assert {one["name"] for one in kept} == set(range(4))
    assert len(kept) == 4


def test_each_value_keeps_so_many_cases_or_all_that_there_are(tiers):
    items = cases(*({"kind": kind} for kind in "aaabbc"), marker=pytest.mark.representatives("kind", each=2))
    assert tiers.representatives(items) == {0, 1, 3, 4, 5}


def test_a_misspelt_parameter_is_an_error(tiers):
    items = cases({"kind": 1}, marker=pytest.mark.representatives("kinds"))
    with pytest.raises(KeyError, match="kinds"):
        tiers.representatives(items)


def test_the_checks_that_networks_leave_out_exist_and_leave_one_execution(tiers):
    assert set(tiers.EXECUTE_AGAIN) < set(all_checks())
    kept = {name: check for name, check in all_checks().items() if name not in tiers.EXECUTE_AGAIN}
    assert {"steps_succeed", "predictor_agrees_with_the_evaluation", "core_stays_as_it_is"} <= set(kept)
    # What a check needs is made even if it was not chosen: a kept check must not bring an execution back.
    assert {name for name, check in kept.items() if tiers.EXECUTE_AGAIN & set(check.after)} == set()


def test_the_tests_that_share_a_worker_exist(tiers):
    assert [path for path in tiers.ON_ONE_WORKER if not (ROOT / path).is_file()] == []


def test_every_file_of_tests_has_a_test_in_make_test(request):
    config = request.config
    folder = config.invocation_params.dir
    if {(folder / argument).resolve() for argument in config.args} != {ROOT / "tests", ROOT / "plugins"}:
        pytest.skip("only a part of the suite was collected")
    if config.option.keyword or "not slow_suite" not in config.option.markexpr:
        pytest.skip("other tests than those of make test were selected")
    files = {
        path.relative_to(ROOT).as_posix()
        for pattern in ("tests/**/test_*.py", "plugins/*/tests/**/test_*.py")
        for path in ROOT.glob(pattern)
    }
    assert files - {item.nodeid.partition("::")[0] for item in request.session.items} == ONLY_IN_TEST_ALL
