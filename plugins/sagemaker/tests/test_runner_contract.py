"""Contract tests of both runners: `sagemaker` against an endpoint on loopback, and `sagemaker-local`."""

import contextlib

import pytest

pytest.importorskip("boto3", reason="boto3 is not installed")
pytest.importorskip("obstore", reason="the extra 'store' is not installed")
pytest.importorskip("moto", reason="the extra 'test' is not installed")

from mlops_core.testing import RunnerContract, Surroundings

pytestmark = pytest.mark.slow_suite
BUCKET = "runner-contract"
ATTEMPTS = "a container repeats its step by itself; the service counts one attempt"


class TestSageMakerLocal(RunnerContract):
    runner = "sagemaker-local"
    timeout_s = 300
    has_progress = False  # the service has no progress within a step
    is_resumable = False  # a definition is executed as a whole
    expected_failures = {
        "attempts_are_recorded": ATTEMPTS,
        "forced_steps_run_again": "the cache of the service does not look behind a step that is executed again",
    }


class TestSageMaker(RunnerContract):
    runner = "sagemaker"
    timeout_s = 300
    has_jobs = False
    has_progress = False  # the service has no progress within a step
    has_force = False  # a definition is executed as a whole
    registers_in_workspace = False  # the account has a registry
    expected_failures = {"attempts_are_recorded": ATTEMPTS}
    stops_on_interrupt = False  # the execution continues in the account
    ends_with_driver = False  # the same
    keeps_outputs = False  # only those of the evaluation and the model are fetched
    has_connection = True

    @classmethod
    @contextlib.contextmanager
    def surroundings(cls, folder):
        from mlops_sagemaker.emulator.endpoint.server import SageMakerEndpoint
        from sagemaker_tests.faulty_proxy import Fault, FaultyProxy

        with SageMakerEndpoint(folder, max_parallel=2) as endpoint, FaultyProxy(endpoint.url) as proxy:
            endpoint.client("s3").create_bucket(Bucket=BUCKET)

            def cut():
                proxy.faults[:] = [Fault(method, "", "drop") for method in ("GET", "HEAD", "PUT", "POST")]

            yield Surroundings(
                environ={
                    **endpoint.credential.environment(),
                    "AWS_ENDPOINT_URL": proxy.url,
                    "AWS_REGION": "us-east-1",
                    "AWS_MAX_ATTEMPTS": "3",
                    "SAGEMAKER_PIPELINE_ROLE_ARN": "arn:aws:iam::123456789012:role/Role",
                    "ARTIFACT_BUCKET": BUCKET,
                    "MLOPS_STEP_IMAGE": "image:1",
                },
                cut=cut,
                mend=proxy.faults.clear,
            )
