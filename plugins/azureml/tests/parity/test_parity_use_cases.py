"""Every installed use case gives the same results on the local runner and as an executed job.

The scenarios are accepted and rejected models, a step that fails once and is retried, a step that fails, three shards
and a search. MLOPS_TEST_PARITY=all, or names of use cases, selects the slow ones.
"""

import pytest
from engine_tests.use_case_parity import VARIANTS, check_parity, parity_cases

CASES = parity_cases(quick={("ABALONE", "rejected"), ("ABALONE", "tuned")})


@pytest.mark.slow_suite
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("use_case", "scenario"), CASES)
def test_use_case_is_equal_on_both_runners(workspace, use_case, scenario):
    check_parity(use_case, scenario, runner="azureml-local", workspace=workspace)


def test_all_variants_are_collected():
    names = {case.id for case in CASES}
    assert {f"{use_case}-{name}" for name, overrides in VARIANTS.items() for use_case in overrides} <= names
