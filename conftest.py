"""What ``make test`` runs, and with how many workers.

The checks that only repeat what a use case does are part of ``make test-all``. The toy use case and the plugins that
core generates keep the complete contract in ``make test``; for the use cases that train a network, these checks run the
whole pipeline again. That their outputs and verdicts are equal on every runner is what ``mlops matrix`` shows, which
``.ci/run`` calls.
"""

import os

import pytest

REPETITIONS = (
    "test_killed_runs_can_be_resumed",
    "test_split_is_repeatable",
    "test_fetched_data_are_repeatable",
    "test_resumed_runs_repeat_no_finished_step",
    "test_steps_survive_read_only_inputs",
    "test_outputs_are_equal_on_every_runner",
    "test_verdicts_are_equal_on_every_runner",
    "test_accepted_models_are_registered",
)
NETWORKS = ("TestAed", "TestRoadSign", "TestScene")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the repetitions; the marker ``slow_suite`` keeps a test out of ``make test``."""
    for item in items:
        owner = getattr(item, "cls", None)
        if owner is not None and owner.__name__ in NETWORKS and item.name in REPETITIONS:
            item.add_marker(pytest.mark.slow_suite)


@pytest.hookimpl(optionalhook=True)  # pytest may run without xdist
def pytest_xdist_auto_num_workers() -> int:
    """Return three workers for two cores: a test that starts processes waits for them half of its time."""
    return ((os.cpu_count() or 1) * 3 + 1) // 2
