"""Contract test of the runner `azureml`, against a workspace on loopback."""

import contextlib

import pytest

pytest.importorskip("azure.identity", reason="azure-identity is not installed")
pytest.importorskip("obstore", reason="the extra 'store' is not installed")
pytest.importorskip("cryptography", reason="the extra 'emulator' is not installed")

from azureml_tests.faulty_endpoint import Fault, FaultyEndpoint

from mlops_core.testing import RunnerContract, Surroundings

pytestmark = pytest.mark.slow_suite
ATTEMPTS = "a container repeats its step by itself; the service counts one attempt"


class TestAzureMl(RunnerContract):
    runner = "azureml"
    timeout_s = 300
    has_jobs = False
    has_progress = False  # the service has no progress within a node
    has_force = False  # a job is executed as a whole
    registers_in_workspace = False  # the workspace of the service has a registry
    expected_failures = {"attempts_are_recorded": ATTEMPTS}
    stops_on_interrupt = False  # the job continues in the workspace
    ends_with_driver = False  # the same
    keeps_outputs = False  # only those of the evaluation and the model are fetched
    has_connection = True

    @classmethod
    @contextlib.contextmanager
    def surroundings(cls, folder):
        with FaultyEndpoint(folder, max_parallel=2) as endpoint:

            def cut():
                endpoint.faults[:] = [Fault("*", "", "drop")]

            yield Surroundings(
                environ={
                    **endpoint.environment(),
                    "AZUREML_MAX_ATTEMPTS": "3",
                    "MLOPS_STEP_IMAGE": "registry.azurecr.io/mlops:1",
                },
                cut=cut,
                mend=endpoint.faults.clear,
            )
