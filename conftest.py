"""Moves the checks that only repeat what a use case does from ``make test`` to ``make test-all``.

The toy use case and the plugins that core generates keep the complete contract in ``make test``; for the use cases that
train a network, these checks run the whole pipeline again.
"""

import pytest

REPETITIONS = (
    "test_killed_runs_can_be_resumed",
    "test_split_is_repeatable",
    "test_fetched_data_are_repeatable",
    "test_resumed_runs_repeat_no_finished_step",
    "test_steps_survive_read_only_inputs",
)
NETWORKS = ("TestAed", "TestRoadSign", "TestScene")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the repetitions; the marker ``slow_suite`` keeps a test out of ``make test``."""
    for item in items:
        owner = getattr(item, "cls", None)
        if owner is not None and owner.__name__ in NETWORKS and item.name in REPETITIONS:
            item.add_marker(pytest.mark.slow_suite)
