"""The toy use case and the guards of this repository, and a loopback endpoint that injects faults."""

import os
from pathlib import Path

import pytest
from azureml_tests.faulty_endpoint import FaultyEndpoint
from shared_fixtures import _clean_environment, _only_loopback, call, toy, workspace

__all__ = ["_clean_environment", "_only_loopback", "call", "toy", "workspace"]


_TESTS = Path(__file__).parents[3] / "tests"


ONE_RUN = frozenset(
    {
        "abilities_are_implemented",
        "a_run_is_accepted",
        "accepted_models_are_registered",
        "command_options_have_a_help_text",
        "every_step_runs_once",
        "importing_the_runner_changes_nothing",
        "missing_abilities_are_refused_by_name",
        "options_of_other_runners_are_refused",
        "outputs_are_stored_under_their_digests",
        "parameters_reach_steps",
        "records_name_the_runner",
        "runner_can_be_imported",
        "runner_is_announced_once",
        "shards_are_processes_of_their_own",
        "steps_run_after_what_they_read",
        "the_data_set_is_complete",
        "the_registered_model_is_the_trained_one",
        "the_seed_reaches_steps",
        "unknown_options_are_refused_by_name",
    }
)
"""The checks of the contract that need no run, or judge by one: these stay in ``make test``, for `azureml-local`."""


def pytest_collection_modifyitems(items):
    """Leave the other checks of the contract to ``make test-all``."""
    for item in items:
        if item.path.name == "test_runner_contract.py" and item.path.parent == Path(__file__).parent:
            is_kept = item.name.removeprefix("test_") in ONE_RUN and "TestAzureMlLocal" in item.nodeid
            if not is_kept:
                item.add_marker(pytest.mark.slow_suite)


@pytest.fixture
def environ(_clean_environment):
    """Yield a monkeypatch for variables that is undone before the environment is compared."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def _served(tmp_path_factory):
    """Yield an endpoint; the processes that it starts can import the toy use cases."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, (_TESTS / "toy", _TESTS / "tuning" / "tuned_toy"))))
        with FaultyEndpoint(tmp_path_factory.mktemp("endpoint"), max_parallel=2) as served:
            yield served


@pytest.fixture
def endpoint(_served, environ):
    """Return the endpoint of the module without faults; the environment is that of its clients."""
    for name, value in _served.environment().items():
        environ.setenv(name, value)
    environ.setenv("AZUREML_MAX_ATTEMPTS", "3")
    _served.faults, _served.seen, _served.answers = [], [], {}
    lifetime_s = _served.access.lifetime_s
    yield _served
    _served.faults, _served.answers = [], {}
    _served.access.lifetime_s = lifetime_s
