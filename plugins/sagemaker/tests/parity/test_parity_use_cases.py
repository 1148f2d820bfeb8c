"""Every installed use case gives the same results on the local runner and as an executed definition.

The scenarios are accepted and rejected models, a step that fails once and is retried, a step that fails, three
shards, and a search. MLOPS_TEST_PARITY=all, or names of use cases, selects the slow ones.
"""

import pytest
from engine_tests.use_case_parity import check_parity, parity_cases

CASES = parity_cases(
    quick={("ABALONE", name) for name in ("accepted", "rejected", "retried", "failing", "tuned")},
)


@pytest.mark.slow_suite
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("use_case", "scenario"), CASES)
def test_use_case_is_equal_on_both_runners(workspace, use_case, scenario):
    check_parity(use_case, scenario, runner="sagemaker-local", workspace=workspace)
