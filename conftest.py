"""What ``make test`` runs, with how many workers, and which tests share one.

``make test`` leaves out the tests with the marker ``slow_suite``; ``make test-all`` runs them too. Three kinds of test
get the marker here:

* checks of a contract with the marker ``one_execution`` that execute the steps once more: those of the use cases that
  train a network. The toy use case, the tabular one and a plugin that core generates keep the complete contract in
  ``make test``; of a network, one execution is examined with every check that can judge by it. That the same seed gives
  the same outputs and verdicts, on every runner, is what ``mlops matrix`` shows, which ``.ci/run`` calls;
* the parametrised cases of a test with the marker ``representatives`` that represent nothing new.
"""

import os
import signal
from collections import Counter
from collections.abc import Iterable, Sequence

import pytest

from mlops_core.integrity import core_watch

EXECUTE_AGAIN = frozenset(
    {
        "accepted_models_are_registered",
        "fetched_data_are_repeatable",
        "gate_rejects_an_untrained_model",
        "gate_rejects_inverted_predictions",
        "killed_runs_can_be_resumed",
        "labels_do_not_depend_on_the_part",
        "outputs_are_equal_on_every_runner",
        "predictor_answers_differ",
        "predictor_ignores_its_surroundings",
        "predictor_ignores_names",
        "predictor_ignores_the_batch",
        "predictor_reads_its_artifact_only",
        "results_ignore_all_surroundings_together",
        "results_ignore_folder_names",
        "results_ignore_the_hash_seed",
        "results_ignore_the_listing_order",
        "results_ignore_the_locale",
        "results_ignore_the_number_of_shards",
        "results_ignore_the_time_zone",
        "results_ignore_the_working_directory",
        "resumed_runs_repeat_no_finished_step",
        "same_seed_gives_same_outputs",
        "scores_follow_the_content",
        "second_run_reuses_every_step",
        "split_is_repeatable",
        "steps_succeed_on_this_machine",
        "steps_survive_read_only_inputs",
        "training_depends_on_its_data",
        "training_ignores_the_test_part",
        "training_reports_its_errors",
        "verdicts_are_equal_on_every_runner",
    }
)
ON_ONE_WORKER = {
    "tests/report/test_page_in_browser.py": "report",
    "tests/report/test_notebook_output.py": "report",
    "tests/report/test_screenshots.py": "report",
    "tests/report/test_served_page_in_browser.py": "report",
    "tests/report/test_compared_runs.py": "report",
    "tests/report/test_comparison.py": "report",
    "tests/web/test_in_browser.py": "ui",
    "plugins/aed/tests/test_quantization.py": "quantization",
    "plugins/image_classification/tests/test_training.py": "training",
    "plugins/sagemaker/tests/emulator/test_endpoint.py": "endpoint",
    "plugins/sagemaker/tests/emulator/test_endpoint_access.py": "endpoint",
    "plugins/sagemaker/tests/emulator/test_endpoint_operations.py": "endpoint",
    "plugins/sagemaker/tests/emulator/test_endpoint_packages.py": "endpoint",
    "plugins/sagemaker/tests/service/test_account.py": "account",
    "plugins/sagemaker/tests/service/test_uploads.py": "uploads",
    "plugins/sagemaker/tests/test_runner.py": "service",
}
"""File -> the group of tests that share what takes long to make: runs, a browser, a network, a service."""


def pytest_configure() -> None:
    """Let tests interrupt their processes, which a shell that starts pytest in the background makes them ignore."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what only repeats; the marker ``slow_suite`` keeps a test out of ``make test``."""
    sweeps: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("one_execution") and item.name.removeprefix("test_") in EXECUTE_AGAIN:
            item.add_marker(pytest.mark.slow_suite)
        if item.get_closest_marker("representatives") is not None and hasattr(item, "callspec"):
            sweeps.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for cases in sweeps.values():
        kept = representatives(cases)
        for position, case in enumerate(cases):
            if position not in kept:
                case.add_marker(pytest.mark.slow_suite)


def representatives(cases: Sequence[pytest.Item]) -> set[int]:
    """Return the positions of the cases of one test that stay in ``make test``.

    ``representatives(4)`` keeps four cases, spread evenly over all of them. ``representatives("kind", "name")`` keeps
    as few cases as it can such that each value of these parameters still occurs (each-choice coverage);
    ``representatives("kind", each=3)`` keeps three of each kind, or all where there are fewer.
    """
    marker: pytest.Mark = next(cases[0].iter_markers("representatives"))
    if marker.args and isinstance(marker.args[0], int):
        count = min(marker.args[0], len(cases))
        return {round(i * (len(cases) - 1) / max(count - 1, 1)) for i in range(count)}
    choices = [{(name, repr(_parameters(case)[name])) for name in marker.args} for case in cases]
    return _covering(choices, times=marker.kwargs.get("each", 1))


def _parameters(case: pytest.Item) -> dict[str, object]:
    parameters: dict[str, object] = case.callspec.params  # type: ignore[attr-defined]  # pytest.Function has it
    return parameters


def _covering(choices: Sequence[Iterable[tuple[str, str]]], *, times: int) -> set[int]:
    """Choose positions, greedily, until each choice occurs so many times, or as often as there are cases with it."""
    available = Counter(choice for case in choices for choice in case)
    missing = {choice: min(times, count) for choice, count in available.items()}
    kept: set[int] = set()
    while any(missing.values()):
        others = (position for position in range(len(choices)) if position not in kept)
        best = max(others, key=lambda position: sum(missing[choice] > 0 for choice in choices[position]))
        kept.add(best)
        for choice in choices[best]:
            missing[choice] = max(missing[choice] - 1, 0)
    return kept


@pytest.fixture(autouse=True)
def _core_is_compared_from_here_on() -> None:
    """Let a test replace parts of core before it loads a plugin; the plugin is refused only for what it replaces."""
    core_watch.cache_clear()


@pytest.hookimpl(optionalhook=True)  # pytest may run without xdist
def pytest_xdist_auto_num_workers() -> int:
    """Return three workers for two cores: a test that starts processes waits for them half of its time."""
    return ((os.cpu_count() or 1) * 3 + 1) // 2


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Give the tests of a group, like those of a contract, to one worker; every other test to any."""
    if config.getvalue("dist") != "load":
        return None
    from mlops_core.testing.scheduling import ContractScheduling

    class GroupScheduling(ContractScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return ON_ONE_WORKER.get(nodeid.partition("::")[0]) or super()._split_scope(nodeid)

    return GroupScheduling(config, log)
