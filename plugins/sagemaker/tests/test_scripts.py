"""The scripts for existing projects, run against an endpoint on loopback."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlops_sagemaker import scripts
from mlops_sagemaker.scripts import read_struct

ENTRYPOINTS = Path(__file__).parents[3] / "entrypoints"
ROLE = "arn:aws:iam::123456789012:role/Role"
MODULE = "pipelines.stm.pipeline"
RUN = ("run_pipeline", "-n", MODULE, "-role-arn", ROLE, "-kwargs")
ACCOUNT = {
    "usecase_name": "TOY",
    "region": "us-east-1",
    "role": ROLE,
    "default_bucket": "bucket",
    "pipeline_name": "words-p-1",
    "model_package_group_name": "words",
    "base_job_prefix": "words",
    "sagemaker_project_name": "words",
    "image_uri": "image:1",
}


def call(script, *arguments, code=0, **environ):
    done = subprocess.run(
        [sys.executable, str(ENTRYPOINTS / f"{script}.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environ},
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


@dataclass
class Service:
    session: object
    environ: dict

    def client(self, name):
        return self.session.client(name, endpoint_url=self.environ["AWS_ENDPOINT_URL"])


@pytest.fixture
def service(toy, tmp_path):
    """Yield an endpoint with a bucket that contains the data set."""
    boto3 = pytest.importorskip("boto3")
    pytest.importorskip("moto")
    from mlops_sagemaker.emulator.endpoint.server import SageMakerEndpoint

    from mlops_core.code_references import load_function

    with SageMakerEndpoint(tmp_path / "endpoint") as endpoint:
        environ = endpoint.environment()
        session = boto3.Session(
            aws_access_key_id=endpoint.credential.access_key,
            aws_secret_access_key=endpoint.credential.secret_key,
            region_name="us-east-1",
        )
        service = Service(session, environ)
        service.client("s3").create_bucket(Bucket="bucket")
        folder = tmp_path / "words"
        folder.mkdir()
        load_function("mlops_toy.steps:generate", what="the data set")(folder, seed=0, progress=lambda *_: None)
        service.client("s3").upload_file(str(folder / "words.csv"), "bucket", "train/datasets/words/words.csv")
        yield service


@pytest.mark.slow
def test_run_pipeline_prints_the_messages_of_the_templates(service, tmp_path):
    tags = json.dumps([{"Key": "team", "Value": "audio"}])
    arguments = ["-n", MODULE, "-role-arn", ROLE, "-tags", tags, "-kwargs", json.dumps(ACCOUNT)]
    out = call("run_pipeline", *arguments, "--artifacts-dir", str(tmp_path / "ml"), **service.environ)
    order = [
        "###### Creating/updating a SageMaker Pipeline with the following definition:",
        "###### Created/Updated SageMaker Pipeline: Response received:",
        "###### Execution started with PipelineExecutionArn: arn:aws:sagemaker:us-east-1:",
        "Waiting for the execution to finish...",
        "#####Execution completed. Execution step details:",
        "evaluation: 2 files in",
    ]
    positions = [out.index(text) for text in order]
    assert positions == sorted(positions)
    evaluation = json.loads((tmp_path / "ml" / "evaluation.json").read_text())
    assert evaluation["classification_metrics"]["acc"]["value"] == 1.0
    published = service.client("s3").get_object(Bucket="bucket", Key="evaluation/build/evaluation.json")
    assert json.loads(published["Body"].read()) == evaluation
    client = service.client("sagemaker")
    packages = client.list_model_packages(ModelPackageGroupName="words")["ModelPackageSummaryList"]
    assert [package["ModelApprovalStatus"] for package in packages] == ["PendingManualApproval"]
    arn = client.describe_pipeline(PipelineName="words-p-1")["PipelineArn"]
    assert {"Key": "team", "Value": "audio"} in client.list_tags(ResourceArn=arn)["Tags"]
    # The second run updates the pipeline; its rejected model fails the build with the reason of the Fail step.
    rejected = {**ACCOUNT, "parameters": {"q_acc": 0.9}, "settings": None, "config": str(tmp_path / "bad.yaml")}
    (tmp_path / "bad.yaml").write_text("training:\n  bias: 100\n")
    out = call(
        "run_pipeline", "-n", MODULE, "-role-arn", ROLE, "--kwargs", json.dumps(rejected), code=1, **service.environ
    )
    assert out.splitlines()[-1] == (
        "Exception: the execution ended with status Failed: step 'fail': Execution failed due to acc < 0.9"
    )
    assert len(client.list_model_packages(ModelPackageGroupName="words")["ModelPackageSummaryList"]) == 1


@pytest.mark.slow_suite
@pytest.mark.slow
def test_no_wait_and_timeout(service):
    out = call(
        "run_pipeline", "-n", MODULE, "-role-arn", ROLE, "-kwargs", json.dumps(ACCOUNT), "--no-wait", **service.environ
    )
    assert "Execution started" in out
    assert "Waiting" not in out
    out = call(
        "run_pipeline",
        "-n",
        MODULE,
        "-role-arn",
        ROLE,
        "-kwargs",
        json.dumps(ACCOUNT),
        "--timeout",
        "0",
        code=1,
        **service.environ,
    )
    assert "has status Executing after 0 s; it continues at the service" in out


@pytest.mark.slow_suite
@pytest.mark.slow
def test_definition_larger_than_100_kib_is_uploaded_once_and_executed(service, tmp_path):
    variables = {f"V{number}": "x" * 250 for number in range(100)}
    settings = {"steps": {name: {"environment": variables} for name in ("preprocess", "train", "evaluate")}}
    long = {f"W{number}": "x" * 500 for number in range(90)}
    settings["steps"]["train"]["environment"] = long
    settings["account"] = {"max_parallel_steps": 1}
    path = tmp_path / "sagemaker.yaml"
    path.write_text(json.dumps(settings))
    kwargs = json.dumps({**ACCOUNT, "settings": str(path)})
    for _ in range(2):
        out = call(*RUN, kwargs, **service.environ)
        assert "Created/Updated SageMaker Pipeline" in out
    (item,) = service.client("s3").list_objects_v2(Bucket="bucket", Prefix="words-p-1/definitions/")["Contents"]
    assert item["Size"] > 100 * 1024
    description = service.client("sagemaker").describe_pipeline(PipelineName="words-p-1")
    assert len(description["PipelineDefinition"]) >= item["Size"]
    assert description["ParallelismConfiguration"] == {"MaxParallelExecutionSteps": 1}


def test_missing_module_or_role_prints_help_and_exits_with_2(toy):
    assert "Creates or updates and runs the pipeline for the pipeline script." in call("run_pipeline", code=2)
    assert "--role-arn" in call("run_pipeline", "-n", MODULE, code=2)
    assert "--file-name" in call("get_pipeline_definition", code=2)


def test_dry_run_prints_the_definition_and_sends_nothing(toy):
    arguments = ["-n", MODULE, "-role-arn", ROLE, "-kwargs", json.dumps(ACCOUNT), "--dry-run"]
    out = call("run_pipeline", *arguments, AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert '"Version": "2020-12-01"' in out
    assert out.endswith("###### Dry run: nothing was sent\n")


def test_definition_is_written_to_a_file_or_standard_output(toy, tmp_path):
    kwargs = "{'usecase_name': 'TOY', 'role': None}"  # a Python literal, as the templates pass it
    out = call("get_pipeline_definition", "-n", MODULE, "-kwargs", kwargs)
    assert json.loads(out)["Version"] == "2020-12-01"
    path = tmp_path / "definition.json"
    assert call("get_pipeline_definition", "-n", MODULE, "-kwargs", kwargs, "-f", str(path)) == ""
    assert path.read_text() == out.rstrip("\n")
    assert call("get_pipeline_definition", "-n", MODULE, USECASE_NAME="TOY") == call(
        "get_pipeline_definition", "-n", MODULE, "-kwargs", '{"usecase_name": "TOY", "role": null}'
    )


OWN_MODULE = """
class Execution:
    arn = "arn:own"
    def describe(self):
        return {"PipelineExecutionStatus": STATUS}
    def list_steps(self):
        return [{"StepName": "train", "StepStatus": "Stopped"}]

class Pipeline:
    def __init__(self, **kwargs): self.kwargs = kwargs
    def definition(self): return '{"b": 1, "a": "%s"}' % self.kwargs.get("region")
    def upsert(self, role_arn, description=None, tags=None): return {"tags": tags, "role": role_arn}
    def start(self): return Execution()

def get_pipeline(**kwargs): return Pipeline(**kwargs)

def get_pipeline_custom_tags(new_tags, region, sagemaker_project_name=None):
    return [*new_tags, {"Key": "project", "Value": sagemaker_project_name}]
"""


@pytest.mark.parametrize(("status", "code"), [("Succeeded", 0), ("Stopped", 1), ("Failed", 1)])
def test_module_of_the_project_is_used_unchanged(tmp_path, status, code):
    (tmp_path / "own.py").write_text(OWN_MODULE.replace("STATUS", repr(status)))
    kwargs = '{"region": "eu-west-1", "sagemaker_project_name": "words"}'
    out = call("run_pipeline", "-n", "own", "-role-arn", "r", "-kwargs", kwargs, code=code)
    assert '{\n  "a": "eu-west-1",\n  "b": 1\n}' in out
    assert "{'tags': [{'Key': 'project', 'Value': 'words'}], 'role': 'r'}" in out
    if code:
        assert f"Exception: the execution ended with status {status}" in out.splitlines()[-1]


PROJECT = "arn:aws:sagemaker:eu-west-1:123456789012:project/words"


@pytest.mark.parametrize(
    ("signature", "kwargs", "environ", "expected"),
    [
        ("new_tags, region, sagemaker_project_arn=None", {"sagemaker_project_arn": PROJECT}, {}, PROJECT),
        ("new_tags, region, sagemaker_project_arn=None", {}, {"SAGEMAKER_PROJECT_ARN": PROJECT}, PROJECT),
        (
            "new_tags, region, sagemaker_project_arn=None",
            {"sagemaker_project_name": "words"},
            {"SAGEMAKER_PROJECT_ARN": PROJECT},
            PROJECT,
        ),
        ("new_tags, region, sagemaker_project_name=None", {"sagemaker_project_name": "words"}, {}, "words"),
        (
            "new_tags, region, sagemaker_project_name=None",
            {"sagemaker_project_name": "words", "sagemaker_project_arn": PROJECT},
            {},
            "words",
        ),
        ("new_tags, region, sagemaker_project_name=None", {"sagemaker_project_arn": PROJECT}, {}, "words"),
        ("new_tags, region, *, sagemaker_project_arn", {"sagemaker_project_arn": PROJECT}, {}, PROJECT),
        ("new_tags, region, sagemaker_project_id=None", {"sagemaker_project_id": "p-1"}, {}, "p-1"),
        ("new_tags, region, sagemaker_project_arn=None", {}, {}, "None"),
    ],
)
def test_custom_tags_get_the_arn_or_the_name_that_their_parameter_asks_for(
    tmp_path, signature, kwargs, environ, expected
):
    own, _, _ = OWN_MODULE.replace("STATUS", "'Succeeded'").partition("def get_pipeline_custom_tags")
    parameter = signature.rpartition(" ")[2].partition("=")[0]
    tag = f"[*new_tags, {{'Key': 'project', 'Value': f'{{{parameter}}} in {{region}}'}}]"
    (tmp_path / "own.py").write_text(f"{own}def get_pipeline_custom_tags({signature}):\n    return {tag}\n")
    keywords = json.dumps({"region": "eu-west-1", **kwargs})
    tags = json.dumps([{"Key": "team", "Value": "audio"}])
    out = call("run_pipeline", "-n", "own", "-role-arn", "r", "-kwargs", keywords, "-tags", tags, **environ)
    assert "{'Key': 'team', 'Value': 'audio'}" in out
    assert f"{{'Key': 'project', 'Value': '{expected} in eu-west-1'}}" in out


@pytest.mark.parametrize("body", ["return None", "return ['x']", "raise ValueError('no such project')"])
def test_tags_of_the_command_line_are_kept_when_custom_tags_fail(tmp_path, body):
    own, _, _ = OWN_MODULE.replace("STATUS", "'Succeeded'").partition("def get_pipeline_custom_tags")
    (tmp_path / "own.py").write_text(f"{own}def get_pipeline_custom_tags(new_tags, region):\n    {body}\n")
    tags = json.dumps([{"Key": "team", "Value": "audio"}])
    out = call("run_pipeline", "-n", "own", "-role-arn", "r", "-tags", tags)
    assert "Error getting project tags: " in out
    assert "{'tags': [{'Key': 'team', 'Value': 'audio'}], 'role': 'r'}" in out


def test_key_that_occurs_twice_is_sent_once():
    from mlops_sagemaker.service.tags import custom_tags

    given = [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]
    returned = custom_tags(lambda new_tags, region: [*new_tags, {"Key": "a", "Value": "3"}], given, {})
    assert returned == [{"Key": "a", "Value": "3"}, {"Key": "b", "Value": "2"}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-kwargs", "{"], "Exception: --kwargs is neither JSON nor a Python literal"),
        (["-kwargs", "[1]"], "Exception: --kwargs is not a dict"),
        (["-tags", '["x"]'], "Exception: --tags is not a list of"),
        ([], "Exception: no module 'pipelines.stm.pipeline', and no use case"),
        (["-kwargs", '{"usecase_name": "TOYY"}'], "Exception: no use case 'TOYY'; did you mean 'TOY'?"),
        (["-kwargs", '{"usecase_name": "TOY", "rgion": "x"}'], "Exception: --kwargs: unknown key 'rgion'"),
        (["-kwargs", '{"usecase_name": "TOY", "role": "Admin"}'], "not the ARN of a role"),
        (["-kwargs", '{"usecase_name": "TOY", "default_bucket": "s3://b"}'], "not a valid bucket name"),
        (
            ["-kwargs", '{"usecase_name": "TOY", "pipeline_name": "my words"}'],
            "'my words' is not a valid pipeline name",
        ),
    ],
)
def test_error_is_one_line_with_exit_code_1(toy, arguments, message):
    out = call("run_pipeline", "-n", MODULE, "-role-arn", ROLE, *arguments, code=1)
    assert message in out


def test_import_error_in_the_module_is_not_mistaken_for_a_missing_module(toy, tmp_path):
    (tmp_path / "own.py").write_text("import surely_not_installed")
    out = call("get_pipeline_definition", "-n", "own", USECASE_NAME="TOY", code=1)
    assert out == "Exception: No module named 'surely_not_installed'\n"
    (tmp_path / "other.py").write_text("def get_pipeline(**kwargs): return 5")
    out = call("get_pipeline_definition", "-n", "other", code=1)
    assert out == "Exception: other.get_pipeline returned int, which has no definition, upsert, start\n"


def test_text_that_cannot_be_read_is_not_repeated(toy):
    out = call("run_pipeline", "-n", MODULE, "-role-arn", ROLE, "-kwargs", '{"api_token": "marked"', code=1)
    assert "--kwargs is neither JSON nor a Python literal" in out
    assert "marked" not in out


@pytest.mark.parametrize("function", ["run_pipeline", "get_pipeline_definition"])
def test_control_characters_of_an_unknown_argument_are_escaped(function, capsys):
    with pytest.raises(SystemExit):
        getattr(scripts, function)(["--no\x1b[2J"])
    assert r"--no\x1b[2J" in capsys.readouterr().err


def test_struct_is_json_or_a_python_literal():
    assert read_struct('{"a": true, "b": null}', flag="x") == {"a": True, "b": None}
    assert read_struct("{'a': True}", flag="x") == {"a": True}
    assert read_struct(None, flag="x") is None


def test_missing_credentials_are_reported_in_one_line(toy):
    pytest.importorskip("boto3")
    out = call(
        "run_pipeline",
        "-n",
        MODULE,
        "-role-arn",
        ROLE,
        "-kwargs",
        json.dumps(ACCOUNT),
        code=1,
        AWS_EC2_METADATA_DISABLED="true",
        AWS_ENDPOINT_URL="http://127.0.0.1:9",
        HOME="/nonexistent",
    )
    assert "Exception: Unable to locate credentials; sign in" in out.splitlines()[-1]
