"""From an upload to production on the endpoint: run, approval, staging with its test, production."""

import io
import json
import os
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("boto3", reason="boto3 is not installed")
pytest.importorskip("moto", reason="moto is not installed")
from mlops_sagemaker.compiler.definition import compile_pipeline
from mlops_sagemaker.deployment.target import SageMakerTarget
from mlops_sagemaker.emulator.endpoint.server import SageMakerEndpoint
from mlops_sagemaker.options import SageMakerOptions
from mlops_sagemaker.service.account import Account
from mlops_sagemaker.settings import load_settings
from mlops_sagemaker.triggers.resources import account_arns, target_of
from mlops_sagemaker.triggers.rules import event_rules

from mlops_core.api import prepare_run
from mlops_core.deployments.driver import Deployer, DeploymentRequest
from mlops_core.deployments.plan import Stage
from mlops_core.deployments.recorded import RecordedRequest, write_requests
from mlops_core.deployments.settings import DeploymentSettings
from mlops_core.errors import UsageError
from mlops_core.use_cases.manager import load_use_case
from mlops_core.watching import ApprovalRule, ObjectRule
from mlops_core.workspace.model_versions import ApprovalStatus, ModelVersion
from mlops_core.workspace.registry import Registry
from mlops_core.workspace.store import Store

TESTS = Path(__file__).parents[4] / "tests"
ROLE = "arn:aws:iam::123456789012:role/Role"
ACCOUNT, REGION = "123456789012", "us-east-1"
ARTIFACTS, UPLOADS = "artifacts", "uploads"
DEADLINE_S = 120
SETTINGS = load_settings(
    overrides=[
        f"account.role={ROLE}",
        f"account.bucket={ARTIFACTS}",
        "account.image=image:1",
        "account.model_package_group=WORDS",
        "inference.content_types=[text/plain]",
        "ingest.enabled=true",
        f"ingest.dataset_uri=s3://{UPLOADS}/train/intel.zip",
    ]
)
SAMPLES = (b"x", b"xxx", b"xxxxxxxxx", b"xxxxxxxxxxxx")


@pytest.fixture
def endpoint(tmp_path, monkeypatch):
    places = [str(TESTS / "toy"), str(TESTS / "deployments" / "words")]
    for place in places:
        monkeypatch.syspath_prepend(place)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(places))
    with SageMakerEndpoint(tmp_path / "endpoint", max_parallel=2, time_scale=0.01) as running:
        for bucket in (ARTIFACTS, UPLOADS, "trail"):
            running.client("s3").create_bucket(Bucket=bucket)
        yield running
    for name in [name for name in sys.modules if name.startswith("mlops_served_words")]:
        del sys.modules[name]


def install(endpoint):
    """Create the pipeline, the rules, the trail, and a queue in place of the project that deploys."""
    compiled = compile_pipeline(prepare_run("WORDS"), SETTINGS)
    endpoint.client("sagemaker").create_pipeline(
        PipelineName="WORDS",
        PipelineDefinition=compiled.to_compact_text(),
        RoleArn=ROLE,
        ClientRequestToken="t" * 32,
    )
    url = endpoint.client("sqs").create_queue(QueueName="builds")["QueueUrl"]
    events = endpoint.client("events")
    rules = [
        ObjectRule(name="images", use_case="WORDS", bucket=UPLOADS, key="train/intel.zip"),
        ApprovalRule(name="deploy", use_case="WORDS"),
    ]
    for made in event_rules(rules):
        events.put_rule(Name=made.name, EventPattern=json.dumps(made.pattern))
        target = target_of(made, account_arns(ACCOUNT, REGION))
        if isinstance(made.rule, ApprovalRule):
            target = {"Id": "q", "Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:builds"} | {
                "InputTransformer": target["InputTransformer"]
            }
        events.put_targets(Rule=made.name, Targets=[target])
    trail = endpoint.client("cloudtrail")
    trail.create_trail(Name="writes", S3BucketName="trail")
    selector = {"DataResources": [{"Type": "AWS::S3::Object", "Values": [f"arn:aws:s3:::{UPLOADS}/train/"]}]}
    trail.put_event_selectors(TrailName="writes", EventSelectors=[{"ReadWriteType": "WriteOnly", **selector}])
    trail.start_logging(Name="writes")
    return lambda: [
        json.loads(each["Body"])
        for each in endpoint.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    ]


def upload(endpoint):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for number in range(24):
            archive.writestr(f"{number:03d}.txt", "x" * (number % 12 + 1))
    endpoint.client("s3").put_object(Bucket=UPLOADS, Key="train/intel.zip", Body=content.getvalue())


def until(look):
    deadline = time.monotonic() + DEADLINE_S
    while not (seen := look()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return seen


def packages(endpoint):
    client = endpoint.client("sagemaker")
    if not client.list_model_package_groups(NameContains="WORDS")["ModelPackageGroupSummaryList"]:
        return []
    listed = client.list_model_packages(ModelPackageGroupName="WORDS")["ModelPackageSummaryList"]
    return [each["ModelPackageArn"] for each in listed]


def account(endpoint):
    import boto3

    credential = endpoint.credential
    session = boto3.Session(
        region_name=REGION,
        aws_access_key_id=credential.access_key,
        aws_secret_access_key=credential.secret_key,
    )
    create = session.client
    session.client = lambda *names, **more: create(*names, endpoint_url=endpoint.url, **more)
    return Account(session=session)


def record(store, arn, endpoint, tmp_path):
    """Register the model of a package in the workspace, with what it answers when it is loaded here."""
    description = endpoint.client("sagemaker").describe_model_package(ModelPackageName=arn)
    location = description["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
    bucket, _, key = location.removeprefix("s3://").partition("/")
    content = endpoint.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    model = tmp_path / "model"
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(model, filter="data")
    predictor = load_use_case("WORDS").load_predictor(model)
    paths = []
    for number, body in enumerate(SAMPLES):
        path = tmp_path / f"sample-{number}.txt"
        path.write_bytes(body)
        paths.append(path)
    requests = []
    for body, scores in zip(SAMPLES, predictor.predict(paths), strict=True):
        answer = {"predictions": [{"scores": dict(zip(predictor.classes, scores.scores, strict=True))}]}
        requests.append(RecordedRequest(sample=body.decode(), content_type="text/plain", body=body, answer=answer))
    kept = store.work_folder("requests") / "content"
    kept.mkdir()
    write_requests(kept, requests)
    copy = store.work_folder("model") / "content"
    model.rename(copy)
    version = ModelVersion(
        use_case="WORDS",
        version=0,
        run_id="20260101-000000-abcdef",
        created="2026-01-01T00:00:00.000+00:00",
        artifact=store.artifacts.add(copy),
        requests=store.artifacts.add(kept),
    )
    return Registry(store).register(version)


def test_an_approved_upload_is_deployed_to_staging_tested_and_deployed_to_production(endpoint, tmp_path):
    builds = install(endpoint)
    upload(endpoint)
    (arn,) = until(lambda: packages(endpoint))
    assert builds() == []  # it waits for approval
    with Store(tmp_path / "ws") as store:
        target = SageMakerTarget(store, SageMakerOptions(), settings=SETTINGS, account=account(endpoint))
        registered = record(store, arn, endpoint, tmp_path)
        deployer = Deployer(store, target, note=lambda _: None)

        def deploy(version, stage):
            made = {"endpoint": f"words-{stage}", "traffic": {"shift": "all-at-once", "bake_s": 0, "interval_s": 0}}
            settings = DeploymentSettings.model_validate({**made, "alarms": {}})
            request = DeploymentRequest(
                use_case="WORDS",
                version=version,
                stage=stage,
                settings=settings,
                why="approved",
                max_cost=None,
                is_tested=stage is Stage.STAGING,
            )
            return deployer.deploy(request)

        with pytest.raises(UsageError, match="production takes approved versions only"):
            deploy(arn, Stage.PRODUCTION)
        endpoint.client("sagemaker").update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
        (order,) = until(builds)
        variables = {each["name"]: each["value"] for each in order["environmentVariablesOverride"]}
        assert variables == {"MODEL_PACKAGE_ARN": arn, "USECASE_NAME": "WORDS", "DEPLOYMENT_STAGE": "staging"}
        Registry(store).set_status(registered, ApprovalStatus.APPROVED, why="it is good")

        staged = deploy(variables["MODEL_PACKAGE_ARN"], Stage.STAGING)
        assert (staged.deployment.state, staged.test.has_passed, staged.test.requests) == ("in service", True, 4)
        served = deploy(arn, Stage.PRODUCTION)
        assert served.deployment.state == "in service"
    answer = endpoint.client("sagemaker-runtime").invoke_endpoint(
        EndpointName="words-production", Body=b"xxxxxxxxx", ContentType="text/plain"
    )
    body = answer["Body"].read()
    answer["Body"].close()
    assert json.loads(body)["predictions"][0]["scores"]["long"] > 0.5


@pytest.fixture
def variables(endpoint, _clean_environment):
    names = {"SAGEMAKER_PIPELINE_ROLE_ARN": ROLE, "ARTIFACT_BUCKET": ARTIFACTS, "MLOPS_STEP_IMAGE": "image:1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**names, **endpoint.environment(), "AWS_REGION": REGION}.items():
            patch.setenv(name, value)
        yield


@pytest.mark.usefixtures("variables")
def test_data_of_others_are_used_in_place_and_the_record_says_so(endpoint, tmp_path):
    from mlops_sagemaker.service.store import S3Bucket

    from mlops_core import api
    from mlops_core.runners.remote.datasets import stored_dataset

    s3 = endpoint.client("s3")
    for number in range(24):
        s3.put_object(Bucket=UPLOADS, Key=f"theirs/{number:03d}.txt", Body=b"x" * (number % 12 + 1))

    def run(url, **options):
        overrides = ["dataset.name=Theirs", f"dataset.source={{url: '{url}'}}"]
        return api.run("WORDS", overrides=overrides, workspace=tmp_path / "ws", **options)

    record = run(f"s3://{UPLOADS}/theirs/", runner="sagemaker")
    assert record.status == "accepted", record.error
    assert (record.dataset.digest_of, record.dataset.files) == ("listing", 24)
    assert record.dataset.path == f"s3://{UPLOADS}/theirs/"
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket=UPLOADS)["Contents"]]
    assert len(keys) == 24  # nothing was written there, no manifest either
    s3.put_object(Bucket=UPLOADS, Key="theirs/000.txt", Body=b"xx")
    choice = api.prepare_run("WORDS", overrides=[f"dataset.source={{url: 's3://{UPLOADS}/theirs/'}}"]).dataset_choice()
    again = stored_dataset(choice, open_bucket=lambda name: S3Bucket(name, account=account(endpoint)))
    assert again.record.digest != record.dataset.digest
    refused = run(f"s3://{UPLOADS}/theirs/")
    assert (refused.exit_code, "reads it in place" in refused.error) == (5, True)
    nothing = run(f"s3://{UPLOADS}/empty/", runner="sagemaker")
    assert (nothing.exit_code, "no objects below" in nothing.error) == (5, True)
