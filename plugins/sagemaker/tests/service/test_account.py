"""Checks of an account before a run, policies, cost estimates, and images that cannot run steps."""

import json
import subprocess
from dataclasses import replace

import pytest

pytest.importorskip("boto3", reason="the extra 'aws' is not installed")
pytest.importorskip("obstore", reason="the extra 'aws' is not installed")
pytest.importorskip("moto", reason="the extra 'test' is not installed")

from engine_tests.remote_runs import COMMAND, variables
from mlops_sagemaker.deployment.permissions import deployer_policy
from mlops_sagemaker.emulator.jobs.containers import ProcessContainers
from mlops_sagemaker.machines import load_price_table, step_machines
from mlops_sagemaker.options import SageMakerOptions
from mlops_sagemaker.plugin import SAGEMAKER
from mlops_sagemaker.service.account import Account
from mlops_sagemaker.service.policy import Audience, actions, names_of, policy
from mlops_sagemaker.settings import load_settings
from sagemaker_tests.faulty_proxy import Fault, FaultyProxy

from mlops_core import api
from mlops_core.errors import ConfigError, ExitCode, RunnerError, UsageError
from mlops_core.runners.remote.costs import check_cost, estimate_cost, load_prices
from mlops_core.workspace.store import Store

ROLE = "arn:aws:iam::123456789012:role/Role"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/steps:1"


class BareImage(ProcessContainers):
    """Containers of an image with nothing but Python."""

    def run(self, order):
        return super().run(replace(order, command=(order.command[0], "-I", "-S", *order.command[1:])))


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    from mlops_sagemaker.emulator.endpoint.server import SageMakerEndpoint

    with SageMakerEndpoint(tmp_path_factory.mktemp("endpoint"), containers=BareImage()) as endpoint:
        make = endpoint.client
        make("s3").create_bucket(Bucket="account")
        place = {"LocationConstraint": "eu-west-1"}
        make("s3").create_bucket(Bucket="elsewhere", CreateBucketConfiguration=place)
        for name, service in (("Role", "sagemaker"), ("Distrusting", "lambda")):
            trust = {
                "Effect": "Allow",
                "Action": "sts:AssumeRole",
                "Principal": {"Service": f"{service}.amazonaws.com"},
            }
            document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
            make("iam").create_role(RoleName=name, AssumeRolePolicyDocument=document)
        make("ecr").create_repository(repositoryName="steps")
        kind = "application/vnd.docker.distribution.manifest.v2+json"
        manifest = {
            "schemaVersion": 2,
            "mediaType": kind,
            "config": {"digest": "sha256:" + "0" * 64, "size": 1},
            "layers": [],
        }
        make("ecr").put_image(repositoryName="steps", imageManifest=json.dumps(manifest), imageTag="1")
        yield endpoint


@pytest.fixture
def proxy(endpoint, toy, _clean_environment):
    with (
        FaultyProxy(endpoint.url) as proxy,
        variables(
            AWS_ENDPOINT_URL=proxy.url,
            **endpoint.credential.environment(),
            AWS_REGION="us-east-1",
            AWS_MAX_ATTEMPTS="1",
            SAGEMAKER_PIPELINE_ROLE_ARN=ROLE,
            ARTIFACT_BUCKET="account",
            MLOPS_STEP_IMAGE=IMAGE,
        ),
    ):
        yield proxy


# --- Pre-flight -------------------------------------------------------------------------------------------


def findings(*overrides, region=None, settings=()):
    request = api.prepare_run("TOY", overrides=overrides)
    options = SageMakerOptions(region=region, settings_overrides=settings)
    return {check.subject: check for check in SAGEMAKER.check(request, options)}


def quotas(**values):
    listed = [
        {"QuotaName": name.replace("__", " ").replace("_", "."), "Value": value} for name, value in values.items()
    ]
    return lambda path, _: (200, json.dumps({"Quotas": listed})) if "ListServiceQuotas" in path else None


def test_complete_account_passes_all_checks(proxy):
    proxy.answer = quotas(ml_m5_large__for__processing__job__usage=4, ml_m5_large__for__training__job__usage=1)
    checks = findings()
    assert {subject: check.detail for subject, check in checks.items() if not check.is_good} == {}
    assert set(checks) == {
        *("packages", "credentials", "region", "role", "role's permissions", "caller's permissions"),
        *("bucket", "image", "quota"),
    }
    assert checks["image"].detail.startswith(f"{IMAGE} exists")


@pytest.mark.representatives(4)
@pytest.mark.parametrize(
    ("settings", "subject", "text", "fix"),
    [
        (
            'account.role="arn:aws:iam::123456789012:role/None"',
            "role",
            "role None does not exist",
            "policy --for trust",
        ),
        (
            'account.role="arn:aws:iam::999999999999:role/Role"',
            "role",
            "belongs to another account",
            "account 123456789012",
        ),
        (
            'account.role="arn:aws:iam::123456789012:role/Distrusting"',
            "role",
            "SageMaker cannot assume Distrusting",
            "--for trust",
        ),
        ('account.bucket="not-there"', "bucket", "bucket not-there does not exist", "aws s3 mb s3://not-there"),
        ('account.bucket="elsewhere"', "bucket", "elsewhere is in eu-west-1, not in us-east-1", "--region eu-west-1"),
        (f'account.image="{IMAGE}2"', "image", "does not exist", "mlops package"),
        (f'account.image="{IMAGE.replace("steps", "none")}"', "image", "does not exist", "mlops package"),
        (f'account.image="{IMAGE.replace("us-east-1", "eu-west-1")}"', "image", "is in eu-west-1", "us-east-1"),
        ('account.image="python:3.11"', "image", "not an ECR image", "push it to ECR"),
    ],
)
def test_missing_or_wrong_resource_is_reported_with_a_fix(proxy, settings, subject, text, fix):
    check = findings(settings=(settings,))[subject]
    assert check.is_good is False
    assert text in check.detail
    assert fix in check.fix


def test_quota_that_is_too_small_fails_the_check(proxy):
    proxy.answer = quotas(ml_m5_large__for__processing__job__usage=2, ml_m5_large__for__training__job__usage=1)
    check = findings("features.scale=3")["quota"]
    assert not check.is_good or "training" in check.detail
    proxy.answer = quotas(ml_m5_large__for__training__job__usage=0)
    check = findings()["quota"]
    assert (check.is_good, check.detail) == (False, "ml.m5.large for training job usage: 1 needed, 0 allowed")
    assert "request an increase" in check.fix


def test_denied_permissions_are_listed(proxy):
    def deny(_, body):
        if "SimulatePrincipalPolicy" not in body:
            return None
        one = "<member><EvalActionName>{}</EvalActionName><EvalDecision>{}</EvalDecision></member>"
        members = one.format("s3:GetObject", "allowed") + one.format("iam:PassRole", "implicitDeny")
        results = f"<EvaluationResults>{members}</EvaluationResults><IsTruncated>false</IsTruncated>"
        result = f"<SimulatePrincipalPolicyResult>{results}</SimulatePrincipalPolicyResult>"
        return 200, f"<SimulatePrincipalPolicyResponse>{result}</SimulatePrincipalPolicyResponse>"

    proxy.answer = deny
    check = findings()["caller's permissions"]
    assert (check.is_good, check.detail) == (False, "not allowed: iam:PassRole")
    assert check.fix == "mlops sagemaker policy prints the required permissions"


def test_resource_that_cannot_be_read_is_reported_as_not_checked(proxy):
    proxy.faults = [Fault("POST", "DescribeImages", "400", code="AccessDeniedException")]
    check = findings()["image"]
    assert check.is_good
    assert check.detail.startswith("not checked: An error occurred (AccessDeniedException)")


def test_region_without_the_service_and_denied_bucket_fail_the_check(proxy):
    check = findings(region="us-eats-1")["region"]
    assert check.detail == "SageMaker is not known to be available in us-eats-1; did you mean 'us-east-1'?"
    proxy.faults = [Fault("HEAD", "/account", "403")]
    assert findings()["bucket"].detail == "account belongs to another account, or access is denied"


def test_doctor_exits_with_4_and_reports_expired_credentials_in_one_line(proxy):
    proxy.answer = lambda _, body: (
        (403, "<ErrorResponse><Error><Code>ExpiredToken</Code><Message>old</Message></Error></ErrorResponse>")
        if "GetCallerIdentity" in body
        else None
    )
    command = [*COMMAND, "doctor", "--runner", "sagemaker", "-u", "TOY", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.STEP
    last = json.loads(done.stdout)[-1]
    assert (last["subject"], last["is_good"]) == ("credentials", False)
    assert last["detail"].startswith("the credentials have expired: ")
    assert "sign in again" in last["detail"]


def test_doctor_reports_everything_that_is_not_set_at_once(toy, tmp_path):
    environ = {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path)}
    command = [*COMMAND, "doctor", "--runner", "sagemaker", "-u", "TOY", "--json"]
    with variables(**environ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.STEP, done.stderr
    checks = {check["subject"]: check for check in json.loads(done.stdout)}
    assert list(checks) == ["role", "bucket", "image", "packages", "credentials"]
    assert "pass --role" in checks["role"]["fix"]
    assert "pass --bucket" in checks["bucket"]["fix"]
    assert checks["packages"]["is_good"]
    assert not checks["credentials"]["is_good"]


def test_a_run_without_credentials_is_refused_before_there_is_a_run(toy, tmp_path):
    workspace = tmp_path / "workspace"
    names = ["--role", "arn:aws:iam::111122223333:role/pipeline", "--bucket", "some-bucket"]
    image = "111122223333.dkr.ecr.us-east-1.amazonaws.com/steps:1"
    command = [*COMMAND, "--workspace", str(workspace)]
    arguments = ["run", "--runner", "sagemaker", "-u", "TOY", *names, "--image", image, "--region", "us-east-1"]
    with variables(AWS_EC2_METADATA_DISABLED="true", HOME=str(tmp_path)):
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.STEP
    assert "sign in, or set AWS_PROFILE" in done.stderr
    listed = subprocess.run([*command, "runs", "list", "--json"], capture_output=True, text=True, check=True)
    assert json.loads(listed.stdout) == []


def test_missing_credentials_and_region_are_reported(toy, tmp_path):
    nothing = {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path)}
    with variables(**nothing), pytest.raises(RunnerError, match="no region: pass --region, or set AWS_REGION"):
        Account().client("s3")
    with variables(**nothing, AWS_REGION="us-east-1"), pytest.raises(RunnerError, match="sign in, or set AWS_PROFILE"):
        Account().call("sts", "get_caller_identity")
    with (
        variables(**nothing, AWS_PROFILE="none"),
        pytest.raises(RunnerError, match="see ~/.aws/config for the profiles"),
    ):
        Account().client("s3")


# --- An image that cannot run steps -----------------------------------------------------------------------


@pytest.mark.slow
def test_image_without_the_entry_point_is_reported_as_the_reason(proxy, workspace):
    record = api.run("TOY", runner="sagemaker", workspace=workspace)
    assert record.exit_code == ExitCode.STEP
    assert "No module named" in (workspace / "runs" / record.run_id / "logs" / "preprocess.log").read_text()
    assert "the step image lacks mlops-usecases, mlops-sagemaker or the plugin of TOY: build it with" in record.error


# --- Policies ---------------------------------------------------------------------------------------------


def names(**account):
    changes = [f"account.{name}={json.dumps(value)}" for name, value in account.items()]
    settings = load_settings(overrides=[f'account.role="{ROLE}"', 'account.bucket="data"', *changes])
    return names_of("TOY", settings, pipeline="Words", region="eu-west-1")


@pytest.mark.parametrize("audience", [Audience.SUBMITTER, Audience.ROLE, "deployer"])
def test_policy_names_its_resources_and_fits_the_size_limit_of_iam(audience):
    known = names(image=IMAGE)
    document = deployer_policy(known) if audience == "deployer" else policy(known, audience)
    assert len(json.dumps(document, separators=(",", ":"))) < 6144
    assert len({statement["Sid"] for statement in document["Statement"]}) == len(document["Statement"])
    open_ones = {s["Sid"] for s in document["Statement"] if "*" in s["Resource"]}
    open_by_audience = {Audience.ROLE: {"Registry", "Metrics"}, "deployer": {"Stops", "Requests"}}
    assert open_ones == open_by_audience.get(audience, set())
    assert not any("*" in action for action in actions(document))
    (passing,) = [s for s in document["Statement"] if "iam:PassRole" in s["Action"]]
    assert passing["Resource"] == [ROLE]
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}


def test_submitter_can_write_data_and_the_role_results_only():
    def writable(audience):
        statements = policy(names(), audience)["Statement"]
        return {where for s in statements if "s3:PutObject" in s["Action"] for where in s["Resource"]}

    assert writable(Audience.ROLE) == {"arn:aws:s3:::data/toy/executions/*"}
    written = ("train/datasets/", "evaluation/build/", "Words/definitions/", "toy/executions/*/tensorboard/")
    assert writable(Audience.SUBMITTER) == {f"arn:aws:s3:::data/{prefix}*" for prefix in written}


def test_batch_predictions_add_their_permissions_only_if_there_is_an_image_that_serves_models():
    serving = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/serving:2"
    plain = policy(names(image=IMAGE), Audience.ROLE)
    settings = load_settings(
        overrides=[
            f'account.role="{ROLE}"',
            'account.bucket="data"',
            f'account.image="{IMAGE}"',
            f'inference.image="{serving}"',
        ]
    )
    more = {
        audience: policy(names_of("TOY", settings, pipeline="Words", region="eu-west-1"), audience)
        for audience in (Audience.ROLE, Audience.SUBMITTER)
    }
    verbs = ("CreateTransformJob", "DescribeTransformJob", "StopTransformJob", "CreateModel", "DescribeModel")
    added = {*(f"sagemaker:{verb}" for verb in verbs), "cloudwatch:DescribeAlarms"}
    assert actions(more[Audience.ROLE]) - actions(plain) == added
    by_name = {statement["Sid"]: statement for statement in more[Audience.ROLE]["Statement"]}
    prefix = "arn:aws:sagemaker:eu-west-1:123456789012"
    assert by_name["BatchPredictions"]["Resource"] == [
        f"{prefix}:transform-job/pipelines-*",
        f"{prefix}:model/pipelines-*",
    ]
    images = "arn:aws:ecr:eu-west-1:123456789012:repository"
    assert by_name["Image"]["Resource"] == [f"{images}/serving", f"{images}/steps"]
    for document in more.values():
        (logs,) = [statement for statement in document["Statement"] if statement["Sid"] == "Logs"]
        assert any("/aws/sagemaker/TransformJobs" in arn for arn in logs["Resource"])
        assert len(json.dumps(document, separators=(",", ":"))) < 6144
    assert "TransformJobs" not in json.dumps(plain)


def test_encryption_and_private_network_add_their_permissions():
    plain = actions(policy(names(), Audience.ROLE))
    key = "arn:aws:kms:eu-west-1:123456789012:key/1"
    more = actions(policy(names(kms_key=key, subnets=["subnet-1"], security_groups=["sg-1"]), Audience.ROLE)) - plain
    assert "kms:GenerateDataKey" in more
    assert "ec2:CreateNetworkInterface" in more
    assert {action.partition(":")[0] for action in more} == {"kms", "ec2"}


def printed_policy(*options):
    command = [*COMMAND, "sagemaker", "policy", "-u", "TOY", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_policy_command_needs_no_account(toy):
    assert "sagemaker:StartPipelineExecution" in actions(json.loads(printed_policy("--role", ROLE).stdout))
    printed = printed_policy("--for", "role", "--role", ROLE)
    assert "sagemaker:CreateTrainingJob" in actions(json.loads(printed.stdout))


@pytest.mark.parametrize("audience", list(Audience))
def test_no_policy_is_printed_without_the_role(toy, audience):
    done = printed_policy("--for", audience)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no role: " in done.stderr
    assert "pass it with --role" in done.stderr


def test_trust_policy_holds_for_the_own_account_only():
    (statement,) = policy(names(), Audience.TRUST)["Statement"]
    assert statement["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    assert statement["Condition"] == {
        "StringEquals": {"aws:SourceAccount": "123456789012"},
        "ArnLike": {"aws:SourceArn": "arn:aws:sagemaker:eu-west-1:123456789012:*"},
    }


@pytest.mark.parametrize("audience", [Audience.SUBMITTER, Audience.ROLE])
def test_unknown_bucket_is_limited_to_the_account(audience):
    settings = load_settings(overrides=[f'account.role="{ROLE}"'])
    document = policy(names_of("TOY", settings, pipeline="Words", region="eu-west-1"), audience)
    statements = [each for each in document["Statement"] if each["Action"][0].startswith("s3:")]
    assert statements
    for statement in statements:
        assert statement["Condition"]["StringEquals"] == {"aws:ResourceAccount": "123456789012"}


def test_key_by_alias_is_a_condition_and_grants_are_for_the_service_only():
    statements = {
        each["Sid"]: each
        for each in policy(names(kms_key="alias/results", volume_kms_key="key-1"), Audience.ROLE)["Statement"]
    }
    assert statements["Keys"]["Resource"] == ["arn:aws:kms:eu-west-1:123456789012:key/key-1"]
    assert statements["KeysByAlias"]["Condition"] == {
        "ForAnyValue:StringEquals": {"kms:ResourceAliases": ["alias/results"]}
    }
    for sid in ("KeysGrants", "KeysByAliasGrants"):
        assert statements[sid]["Condition"]["Bool"] == {"kms:GrantIsForAWSResource": "true"}


# --- Costs ------------------------------------------------------------------------------------------------


def estimated(workspace, *overrides, settings=(), prices=None):
    request = api.prepare_run("TOY", overrides=overrides)
    with Store(workspace) as store:
        machines = step_machines(request.pipeline, load_settings(overrides=settings))
        table = load_price_table(prices)
        return estimate_cost(request, machines, runner="sagemaker", store=store, prices=table)


def test_steps_without_earlier_runs_cost_at_most_their_timeouts(toy, workspace):
    settings = [f"steps.{name}.timeout_s=3600" for name in ("preprocess", "train", "evaluate")]
    estimate = estimated(
        workspace, "features.scale=2", settings=(*settings, 'steps.train.instance_type="ml.p3.2xlarge"')
    )
    by_name = {step.name: step for step in estimate.steps}
    hourly = load_price_table().instances
    disk = 30 * load_price_table().volume_gb_month / 730
    assert by_name["train"].usd == pytest.approx(hourly["ml.p3.2xlarge"] + disk)
    assert by_name["preprocess"].instances == 3  # two shards and their merge
    assert by_name["preprocess"].usd == pytest.approx(3 * (hourly["ml.m5.large"] + disk))
    assert estimate.duration_s == 3 * 3600
    assert "at most, by the timeouts of preprocess, train, evaluate, never executed before" in str(estimate)


def test_steps_with_earlier_runs_are_estimated_from_their_durations(toy, workspace):
    api.run("TOY", workspace=workspace)
    estimate = estimated(workspace)
    assert {step.basis for step in estimate.steps} == {"this machine"}
    assert 0 < estimate.usd < 0.1
    assert "by the durations of earlier runs" in str(estimate)


def test_cost_limit_refuses_expensive_runs_and_machines_without_a_price(toy, workspace, tmp_path):
    table = tmp_path / "prices.yaml"
    table.write_text("region: eu-west-1\ninstances:\n  ml.m5.large: 2.0\n")
    prices = load_prices(table)

    def check(max_cost, settings=()):
        estimate = estimated(workspace, settings=settings, prices=table)
        check_cost(estimate, prices, max_cost=max_cost)
        return estimate

    assert check(1000.0).usd == pytest.approx(24 * 2.0 * 2 + 2.0 / 60, rel=0.2)
    assert str(check(None)).startswith("about ")
    assert str(check(None)).endswith("prices of eu-west-1")
    with pytest.raises(
        UsageError, match=r"more than --max-cost 10; most of it step 'preprocess': 1 x ml.m5.large for 24 h"
    ):
        check(10.0)
    with pytest.raises(UsageError, match=r"step 'train': no price of ml.m5.xlarge; did you mean 'ml.m5.large'\?"):
        check(1000.0, settings=('steps.train.instance_type="ml.m5.xlarge"',))


def test_invalid_price_table_is_refused_with_its_line(tmp_path):
    table = tmp_path / "prices.yaml"
    table.write_text("instances:\n  ml.m5.large: -1\n")
    with pytest.raises(ConfigError, match=r"prices.yaml.*line 2"):
        load_prices(table)
    with pytest.raises(ConfigError):
        load_prices(tmp_path / "none.yaml")
