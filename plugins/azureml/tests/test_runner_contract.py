"""Contract test of the runner `azureml-local`; conftest.py keeps the checks of one run in `make test`."""

from mlops_core.testing import RunnerContract

ATTEMPTS = "a container repeats its step by itself; the service counts one attempt"


class TestAzureMlLocal(RunnerContract):
    runner = "azureml-local"
    timeout_s = 300
    has_progress = False  # the service has no progress within a node
    is_resumable = False  # a job is executed as a whole
    expected_failures = {
        "attempts_are_recorded": ATTEMPTS,
        "forced_steps_run_again": "the service compares addresses, and a node that is executed writes to a new one",
    }
