"""Every operation of the service for pipelines, jobs, the model registry and tags, with valid and invalid requests."""

import copy
import http.client
import json

import pytest

boto3 = pytest.importorskip("boto3", reason="boto3 is not installed")
pytest.importorskip("moto", reason="moto is not installed")
import botocore.session  # noqa: E402  after the skip
from botocore.auth import SigV4Auth  # noqa: E402  the same
from botocore.awsrequest import AWSRequest  # noqa: E402  the same
from botocore.credentials import Credentials  # noqa: E402  the same
from botocore.exceptions import ClientError  # noqa: E402  the same
from mlops_sagemaker.emulator.endpoint.server import SageMakerEndpoint  # noqa: E402  the same

pytestmark = pytest.mark.slow

MODEL = botocore.session.Session().get_service_model("sagemaker")
SUBJECTS = ("Pipeline", "ModelPackage", "ProcessingJob", "TrainingJob", "TuningJob", "TransformJob", "Tags")
NAMES = sorted(name for name in MODEL.operation_names if any(subject in name for subject in SUBJECTS))
MODELS = ["CreateModel", "DescribeModel", "ListModels", "DeleteModel"]
COMMON = {"ValidationException", "SerializationException", "UnknownOperationException", "ResourceNotFound"}
ARN = "arn:aws:sagemaker:us-east-1:123456789012"
PIPELINE = f"{ARN}:pipeline/absent"
EXECUTION = f"{PIPELINE}/execution/e1"
ROLE = "arn:aws:iam::123456789012:role/example"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    with SageMakerEndpoint(tmp_path_factory.mktemp("endpoint")) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def call(endpoint):
    """Return a function that sends a request without any check by botocore: status, error code, response."""
    connection = http.client.HTTPConnection(endpoint.url.removeprefix("http://"), timeout=60)

    def send(operation, request):
        body = request if isinstance(request, bytes) else json.dumps(request).encode()
        headers = {"X-Amz-Target": f"SageMaker.{operation}", "Content-Type": "application/x-amz-json-1.1"}
        signed = AWSRequest(method="POST", url=f"{endpoint.url}/", data=body, headers=headers)
        keys = Credentials(endpoint.credential.access_key, endpoint.credential.secret_key)
        SigV4Auth(keys, "sagemaker", "us-east-1").add_auth(signed)
        connection.request("POST", "/", body=body, headers=dict(signed.headers.items()))
        with connection.getresponse() as answer:
            content = json.loads(answer.read() or b"{}")
        return answer.status, content.get("__type", ""), content

    yield send
    connection.close()


def sample(shape, name=""):
    """Return a value that fits to a shape."""
    kind = shape.type_name
    if kind == "structure":
        return {member: sample(shape.members[member], member) for member in shape.required_members}
    if kind == "list":
        return [sample(shape.member, name)] * max(1, shape.metadata.get("min", 0))
    if kind == "map":
        return {"key": sample(shape.value, name)}
    if kind in ("string", "blob"):
        return _text(shape, name)
    return {"boolean": True, "timestamp": 1_700_000_000}.get(kind, shape.metadata.get("min", 1))


def _text(shape, name):
    known = {
        "PipelineExecutionArn": EXECUTION,
        "SourcePipelineExecutionArn": EXECUTION,
        "PipelineArn": PIPELINE,
        "ResourceArn": PIPELINE,
        "RoleArn": ROLE,
        "ExecutionRoleArn": ROLE,
        "ModelPackageArn": f"{ARN}:model-package/absent/1",
        "ModelPackageArnList": f"{ARN}:model-package/absent/1",
        "ClientRequestToken": "t" * 32,
        "CallbackToken": "a" * 10,
        "S3Uri": "s3://b/k",
    }
    if name in known:
        return known[name]
    return shape.enum[0] if shape.enum else "absent".ljust(shape.metadata.get("min", 0), "a")


def full(shape):
    """Return a request with every member."""
    return {name: sample(member, name) for name, member in shape.members.items()}


def wrong_values(shape):
    """Yield values that do not fit to the shape of a member."""
    kind = shape.type_name
    yield from ([], {}, "x", 1.5, True, -(10**30), [None], {"a": {"b": []}}, "\ud800", "a\n\0b", "x" * 5000)
    if kind == "string":
        yield from ("", " ", "../../etc", "arn:aws:sagemaker:::", "%s{0}", "-1")
    if kind in ("integer", "long"):
        yield from (0, -1, 101, 2**31, 2**64)
    if kind == "timestamp":
        yield from (-1, 10**18, "yesterday", "2026-13-01T00:00:00Z")


def invalid_requests(shape):
    """Yield requests that violate the shape of an operation, or name what does not exist."""
    valid = sample(shape)
    yield from (b"", b"{", b"[]", b"null", b'"x"', b"[" * 100_000, b'{"a": NaN}', b"\xff\xfe", b"{}")
    for name in shape.required_members:
        yield {key: value for key, value in valid.items() if key != name}
        yield {**valid, name: None}
    for name, member in shape.members.items():
        for value in wrong_values(member):
            yield {**copy.deepcopy(valid), name: value}
    if "NextToken" in shape.members:
        for token in ("x", "0", "-1", "999", "WyJ4IiwgMV0=", "bm9wZQ==", "null"):
            yield {**valid, "NextToken": token}


DEFINITION = {
    "Version": "2020-12-01",
    "Steps": [{"Name": "Say", "Type": "Fail", "Arguments": {"ErrorMessage": "no"}}],
}


@pytest.fixture
def present(endpoint, call):
    """Create a pipeline with an execution, a model package and a model, and return a call that names them."""
    text = {"PipelineDefinition": json.dumps(DEFINITION), "RoleArn": ROLE, "ClientRequestToken": "c" * 32}
    call("CreatePipeline", {"PipelineName": "present", **text})
    started = call("StartPipelineExecution", {"PipelineName": "present", "ClientRequestToken": "s" * 32})[2]
    call("CreateModelPackageGroup", {"ModelPackageGroupName": "present"})
    package = call("CreateModelPackage", {"ModelPackageGroupName": "present"})[2]["ModelPackageArn"]
    call("CreateModel", {"ModelName": "present"})

    def send(operation, request):
        body = request if isinstance(request, bytes) else json.dumps(request).encode()
        body = body.replace(EXECUTION.encode(), started["PipelineExecutionArn"].encode())
        body = body.replace(f"{ARN}:model-package/absent/1".encode(), package.encode())
        return call(operation, body.replace(b"absent", b"present"))

    return send


@pytest.mark.representatives(12)
@pytest.mark.parametrize("operation", [*NAMES, *MODELS])
def test_request_for_something_that_exists_never_fails(present, operation):
    shape = MODEL.operation_model(operation).input_shape
    valid = sample(shape)
    singles = ({**valid, name: sample(member, name)} for name, member in shape.members.items())
    for request in (*singles, full(shape), *invalid_requests(shape)):
        status, code, answer = present(operation, request)
        assert (status in (200, 400), (status == 200) is (code == "")) == (True, True), (request, answer)


@pytest.mark.representatives(12)
@pytest.mark.parametrize("operation", [*NAMES, *MODELS])
def test_request_is_answered_or_refused_with_a_documented_error_and_never_fails(call, operation):
    declared = COMMON | {shape.name for shape in MODEL.operation_model(operation).error_shapes}
    shape = MODEL.operation_model(operation).input_shape
    for request in (sample(shape), full(shape), *invalid_requests(shape)):
        status, code, answer = call(operation, request)
        assert status in (200, 400), (request, answer)
        assert (status == 200) is (code == ""), (request, answer)
        assert code in {"", *declared}, (request, answer)
        if code == "UnknownOperationException":
            assert operation in answer["message"]


@pytest.mark.representatives(12)
@pytest.mark.parametrize("operation", [*NAMES, *MODELS])
def test_missing_member_is_a_validation_error_that_names_it(call, operation):
    shape = MODEL.operation_model(operation).input_shape
    valid = sample(shape)
    if call(operation, valid)[1] == "UnknownOperationException":
        pytest.skip("refused by name")
    for name in shape.required_members:
        status, code, answer = call(operation, {key: value for key, value in valid.items() if key != name})
        assert (status, code) == (400, "ValidationException")
        assert f"Value 'null' at '{name[0].lower()}{name[1:]}' failed to satisfy constraint" in answer["message"]


SERVED = {
    "CreatePipeline", "DescribePipeline", "UpdatePipeline", "DeletePipeline", "ListPipelines", "StartPipelineExecution",
    "DescribePipelineExecution", "ListPipelineExecutions", "ListPipelineExecutionSteps", "StopPipelineExecution",
    "RetryPipelineExecution", "UpdatePipelineExecution", "DescribePipelineDefinitionForExecution",
    "ListPipelineParametersForExecution", "ListPipelineVersions", "UpdatePipelineVersion",
    "SendPipelineExecutionStepSuccess", "SendPipelineExecutionStepFailure", "DescribeProcessingJob",
    "ListProcessingJobs", "DescribeTrainingJob", "ListTrainingJobs", "DescribeHyperParameterTuningJob",
    "ListHyperParameterTuningJobs", "ListTrainingJobsForHyperParameterTuningJob", "CreateModelPackage",
    "DescribeModelPackage", "UpdateModelPackage", "DeleteModelPackage", "ListModelPackages",
    "BatchDescribeModelPackage",
    "CreateModelPackageGroup", "DescribeModelPackageGroup", "DeleteModelPackageGroup", "ListModelPackageGroups",
    "GetModelPackageGroupPolicy", "PutModelPackageGroupPolicy", "DeleteModelPackageGroupPolicy", "AddTags", "ListTags",
    "DeleteTags",
}  # fmt: skip


def test_all_operations_for_pipelines_are_served(call):
    assert {name for name in NAMES if "Pipeline" in name} <= SERVED
    for operation in SERVED:
        assert call(operation, {})[1] != "UnknownOperationException", operation


@pytest.mark.parametrize(
    "operation",
    [
        "CreateProcessingJob",
        "CreateTrainingJob",
        "CreateHyperParameterTuningJob",
        "StopTrainingJob",
    ],
)
def test_operation_that_would_only_seem_to_run_a_job_is_refused_by_name(call, operation):
    status, code, answer = call(operation, sample(MODEL.operation_model(operation).input_shape))
    assert (status, code) == (400, "UnknownOperationException")
    assert f"{operation} is not supported by this endpoint" in answer["message"]


@pytest.mark.parametrize("operation", ["CreateWorkforce", "ListHubs", "Nonsense", "", "createPipeline", "__init__"])
def test_unknown_operation_is_refused_by_name(call, operation):
    status, code, answer = call(operation, {})
    assert (status, code) == (400, "UnknownOperationException")
    assert operation in answer["message"]


@pytest.mark.parametrize(("service", "operation"), [("kendra", "list_indices"), ("comprehend", "list_datasets")])
def test_service_or_operation_that_moto_does_not_know_is_refused_by_name(endpoint, service, operation):
    with pytest.raises(ClientError, match="UnknownOperationException.*is not supported by this endpoint"):
        getattr(endpoint.client(service), operation)()


NOWHERE = "created-by-no-test"
"""The other tests share the endpoint and create what they name."""
NO_PIPELINE = f"{ARN}:pipeline/{NOWHERE}"
NO_EXECUTION = f"{NO_PIPELINE}/execution/e1"


@pytest.mark.parametrize(
    ("operation", "request_", "code"),
    [
        ("DescribePipeline", {"PipelineName": NO_PIPELINE}, "ResourceNotFound"),
        ("StartPipelineExecution", {"PipelineName": NOWHERE, "ClientRequestToken": "t" * 32}, "ResourceNotFound"),
        ("DeletePipeline", {"PipelineName": NOWHERE, "ClientRequestToken": "t" * 32}, "ResourceNotFound"),
        ("UpdatePipeline", {"PipelineName": NOWHERE}, "ResourceNotFound"),
        (
            "DescribePipelineExecution",
            {"PipelineExecutionArn": NO_EXECUTION},
            "ResourceNotFound",
        ),
        (
            "UpdatePipelineExecution",
            {"PipelineExecutionArn": NO_EXECUTION},
            "ResourceNotFound",
        ),
        (
            "ListPipelineExecutionSteps",
            {"PipelineExecutionArn": NO_EXECUTION},
            "ResourceNotFound",
        ),
        ("ListPipelineVersions", {"PipelineName": NOWHERE}, "ResourceNotFound"),
        ("ListPipelineExecutions", {"PipelineName": NOWHERE}, "ResourceNotFound"),
        ("DescribeTrainingJob", {"TrainingJobName": NOWHERE}, "ResourceNotFound"),
        ("DescribeHyperParameterTuningJob", {"HyperParameterTuningJobName": NOWHERE}, "ResourceNotFound"),
        ("ListTags", {"ResourceArn": NO_PIPELINE}, "ValidationException"),
        (
            "AddTags",
            {"ResourceArn": NO_PIPELINE, "Tags": [{"Key": "a", "Value": "b"}]},
            "ValidationException",
        ),
        ("DescribeModelPackage", {"ModelPackageName": f"{ARN}:model-package/{NOWHERE}/1"}, "ValidationException"),
        ("DescribeModelPackageGroup", {"ModelPackageGroupName": NOWHERE}, "ValidationException"),
        ("DescribeModel", {"ModelName": NOWHERE}, "ValidationException"),
        ("CreatePipeline", {"PipelineName": "-", "RoleArn": "x", "ClientRequestToken": "t"}, "ValidationException"),
        ("ListPipelines", {"MaxResults": 101}, "ValidationException"),
        ("ListPipelines", {"MaxResults": "1"}, "SerializationException"),
        ("ListPipelines", {"SortBy": "Color"}, "ValidationException"),
        ("ListPipelines", {"NextToken": "nonsense"}, "ValidationException"),
    ],
)
def test_error_is_that_of_the_reference(call, operation, request_, code):
    status, answered, _ = call(operation, request_)
    assert (status, answered) == (400, code)


def test_all_violated_constraints_are_reported_at_once(call):
    request = {"PipelineName": "-", "RoleArn": "x", "ClientRequestToken": "t"}
    message = call("CreatePipeline", request)[2]["message"]
    assert message.startswith("3 validation errors detected: ")
    for member in ("pipelineName", "roleArn", "clientRequestToken"):
        assert f"at '{member}' failed to satisfy constraint" in message
