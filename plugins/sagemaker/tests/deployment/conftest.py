"""An account of the emulator whose models are small servers, and what a person does in it."""

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("moto", reason="the extra 'test' is not installed")
from mlops_sagemaker.deployment.target import SageMakerTarget
from mlops_sagemaker.emulator.endpoint.server import SageMakerEndpoint
from mlops_sagemaker.options import SageMakerOptions
from mlops_sagemaker.service.account import Account
from mlops_sagemaker.settings import load_settings
from sagemaker_tests.hosting import Hosting, SmallServers

from mlops_core.deployments.driver import Deployer, DeploymentRequest
from mlops_core.deployments.plan import Stage
from mlops_core.deployments.recorded import RecordedRequest, write_requests
from mlops_core.deployments.settings import DeploymentSettings
from mlops_core.workspace.model_versions import ModelVersion
from mlops_core.workspace.registry import Registry
from mlops_core.workspace.store import Store

TOY = str(Path(__file__).parents[4] / "tests" / "toy")
ROLE = "arn:aws:iam::123456789012:role/example"
USE_CASE = "TOY"
BUCKET = "bucket"
SAMPLES = (b"a", b"abc", b"abcdefg", b"abcdefghijklmno")
NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    """An emulator in real time, in which no test waits for a minute."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(TOY)
        folder = tmp_path_factory.mktemp("emulator")
        with SageMakerEndpoint(folder, containers=SmallServers(), time_scale=1.0) as endpoint:
            yield Hosting(endpoint)


@pytest.fixture
def same_account(world, tmp_path):
    """Return a function that opens another workspace for the same account, group and endpoint."""
    return lambda name: World(world.hosting, tmp_path / name, number=world.number)


@pytest.fixture
def world(emulator, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(TOY)
    with World(emulator, tmp_path / "ws") as made:
        yield made


def settings(*, shift="all-at-once", percent=50, interval_s=0, bake_s=0, alarms=None, **others):
    """Return settings whose waits are short."""
    traffic = {"shift": shift, "percent": percent, "interval_s": interval_s, "bake_s": bake_s}
    return DeploymentSettings.model_validate({"traffic": traffic, "alarms": alarms or {}, **others})


class World:
    """A workspace, a model package group of its own, and an endpoint of its own."""

    def __init__(self, hosting, home, *, number=None):
        self.hosting = hosting
        self.number = number or next(NUMBERS)
        self.group = f"Group{self.number}"
        self.endpoint = f"toy{self.number}"
        self.notes = []
        self.home = home
        self.sagemaker = hosting.sagemaker
        self.cloudwatch = hosting.cloudwatch

    def __enter__(self):
        self.store = Store(self.home)
        self.target = self.new_target()
        self.deployer = Deployer(self.store, self.target, note=self.notes.append)
        return self

    def __exit__(self, *_):
        self.store.close()

    def new_target(self, **account):
        """Return a target for this group, with further settings of the account."""
        names = {"role": ROLE, "bucket": BUCKET, "model_package_group": self.group, **account}
        overrides = [f"account.{name}={json.dumps(value)}" for name, value in names.items()]
        client = Account(session=self.session())
        return SageMakerTarget(
            self.store, SageMakerOptions(), settings=load_settings(overrides=overrides), account=client
        )

    def session(self):
        import boto3

        credential = self.hosting.emulator.credential
        session = boto3.Session(
            region_name="us-east-1",
            aws_access_key_id=credential.access_key,
            aws_secret_access_key=credential.secret_key,
        )
        create = session.client
        session.client = lambda *names, **more: create(*names, endpoint_url=self.hosting.emulator.url, **more)
        return session

    # --- Models -------------------------------------------------------------------------------------------

    def register(self, words="", *, approval="PendingManualApproval", has_requests=True, **specification):
        """Register a model package, and its recorded requests in the workspace; return its ARN."""
        name = f"{self.group.lower()}-{next(NUMBERS)}"
        content = f"name={name} {words}"
        self.hosting.s3.put_object(Bucket=BUCKET, Key=f"models/{name}/model.txt", Body=content.encode())
        source = {"S3Uri": f"s3://{BUCKET}/models/{name}/", "S3DataType": "S3Prefix", "CompressionType": "None"}
        if not any(each["ModelPackageGroupName"] == self.group for each in self.groups()):
            self.sagemaker.create_model_package_group(ModelPackageGroupName=self.group)
        arn = self.sagemaker.create_model_package(
            ModelPackageGroupName=self.group,
            ModelApprovalStatus=approval,
            InferenceSpecification={
                "Containers": [{"Image": "serving:1", "ModelDataSource": {"S3DataSource": source}}],
                "SupportedContentTypes": ["text/csv"],
                "SupportedResponseMIMETypes": ["application/json"],
                "SupportedRealtimeInferenceInstanceTypes": ["ml.m5.large", "ml.m5.xlarge"],
                **specification,
            },
            CustomerMetadataProperties={"use_case": USE_CASE},
        )["ModelPackageArn"]
        if has_requests:
            self.record(content, name)
        return arn

    def groups(self):
        listed = self.sagemaker.list_model_package_groups(NameContains=self.group)
        return listed["ModelPackageGroupSummaryList"]

    def record(self, content, name):
        """Register the same files in the workspace, with what a sound model answers to a few requests."""
        folder = self.store.work_folder("model") / "content"
        folder.mkdir()
        (folder / "model.txt").write_text(content)
        kept = self.store.work_folder("requests") / "content"
        kept.mkdir()
        write_requests(kept, [recorded(body, name) for body in SAMPLES])
        version = ModelVersion(
            use_case=USE_CASE,
            version=0,
            run_id="20260101-000000-abcdef",
            created="2026-01-01T00:00:00.000+00:00",
            artifact=self.store.artifacts.add(folder),
            requests=self.store.artifacts.add(kept),
        )
        return Registry(self.store).register(version)

    def approve(self, arn, status="Approved"):
        self.sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus=status)
        if status == "Approved":
            self.approve_in_workspace(arn)

    def approve_in_workspace(self, arn):
        """Approve the version of the workspace that has the same files, if there is one."""
        from mlops_core.workspace.model_versions import ApprovalStatus

        registry = Registry(self.store)
        artifact = self.target.find_model(USE_CASE, arn).artifact
        for version in registry.versions(USE_CASE):
            if version.artifact == artifact and version.status is not ApprovalStatus.APPROVED:
                registry.set_status(version, ApprovalStatus.APPROVED, why="it is good")

    # --- Deployments --------------------------------------------------------------------------------------

    def request(self, arn=None, *, stage=Stage.PRODUCTION, is_tested=False, max_cost=None, **options):
        made = settings(**{"endpoint": self.endpoint, **options})
        return DeploymentRequest(
            use_case=USE_CASE,
            version=arn,
            stage=stage,
            settings=made,
            why="a test",
            max_cost=max_cost,
            is_tested=is_tested,
        )

    def deploy(self, arn=None, **options):
        return self.deployer.deploy(self.request(arn, **options))

    def served(self):
        """Return the endpoint configuration in service, and nothing else."""
        description = self.hosting.describe(self.endpoint)
        assert description["EndpointStatus"] == "InService", description
        return description["EndpointConfigName"]

    def configurations(self):
        listed = self.sagemaker.list_endpoint_configs(NameContains=f"{self.endpoint}-", MaxResults=100)
        return [each for each in listed["EndpointConfigs"] if each["EndpointConfigName"].startswith(self.endpoint)]

    def approved(self, words="", **more):
        arn = self.register(words, **more)
        self.approve(arn)
        return arn

    def command(self, *arguments):
        """Return the words of a command line in this workspace."""
        program = [sys.executable, "-c", "from mlops_core.cli import main; main()"]
        return [*program, "--workspace", str(self.home), *map(str, arguments)]

    def environment(self):
        variables = self.hosting.emulator.environment()
        path = os.pathsep.join(filter(None, (TOY, os.environ.get("PYTHONPATH"))))
        return {**os.environ, **variables, "PYTHONPATH": path, "SAGEMAKER_PIPELINE_ROLE_ARN": ROLE}

    def start(self, *arguments):
        """Start a command as a process of its own."""
        return subprocess.Popen(
            self.command(*arguments), env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def until(self, look, is_enough=bool, **more):
        return self.hosting.until(look, is_enough, **more)


def recorded(body, name):
    """Return a request with the answer of a sound model."""
    scores = [1 / (1 + len(body)), len(body) / (1 + len(body))]
    prediction = {"scores": scores, "label": "long" if scores[1] > scores[0] else "short"}
    answer = {"predictions": [prediction], "model": name, "body": body.decode()}
    return RecordedRequest(sample=body.decode(), content_type="text/csv", body=body, answer=answer)


def wait(condition, limit_s=60):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
