"""Who may use the endpoint: signed requests of local programs, and nobody else."""

import http.client
import json
import os
import urllib.error
import urllib.request
from contextlib import closing

import pytest

boto3 = pytest.importorskip("boto3", reason="boto3 is not installed")
pytest.importorskip("moto", reason="moto is not installed")
from botocore.auth import S3SigV4Auth, SigV4Auth  # noqa: E402  after the skip
from botocore.awsrequest import AWSRequest  # noqa: E402  the same
from botocore.config import Config  # noqa: E402  the same
from botocore.credentials import Credentials  # noqa: E402  the same
from botocore.exceptions import ClientError  # noqa: E402  the same
from mlops_sagemaker.emulator.endpoint.access.credentials import Credential  # noqa: E402  the same
from mlops_sagemaker.emulator.endpoint.server import SageMakerEndpoint  # noqa: E402  the same

LIST = {"X-Amz-Target": "SageMaker.ListPipelines", "Content-Type": "application/x-amz-json-1.1"}


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    with SageMakerEndpoint(tmp_path_factory.mktemp("endpoint")) as endpoint:
        endpoint.client("s3").create_bucket(Bucket="own")
        endpoint.client("s3").put_object(Bucket="own", Key="a.txt", Body=b"content")
        yield endpoint


def send(endpoint, *, method="POST", path="/", body=b"{}", headers=None):
    """Send a request as it is, and return status, headers and body."""
    sent = {"Host": endpoint.url.removeprefix("http://"), "Content-Length": str(len(body)), **(headers or {})}
    with closing(http.client.HTTPConnection(endpoint.url.removeprefix("http://"), timeout=20)) as connection:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in sent.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders(body)
        with connection.getresponse() as answer:
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def signed(endpoint, *, method="POST", path="/", body=b"{}", headers=None, service="sagemaker", secret=None):
    """Return the headers of a request that is signed with the credential of the endpoint."""
    keys = Credentials(endpoint.credential.access_key, secret or endpoint.credential.secret_key)
    host = {"Host": (headers or {}).get("Host") or endpoint.url.removeprefix("http://")}
    request = AWSRequest(method=method, url=endpoint.url + path, data=body, headers={**(headers or {}), **host})
    (S3SigV4Auth if service == "s3" else SigV4Auth)(keys, service, "us-east-1").add_auth(request)
    return dict(request.headers.items())


def test_signed_request_is_answered(endpoint):
    status, _, content = send(endpoint, headers=signed(endpoint, headers=LIST))
    assert (status, json.loads(content)) == (200, {"PipelineSummaries": []})


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost"])
@pytest.mark.parametrize("method", ["POST", "GET", "OPTIONS"])
def test_request_of_a_page_of_another_origin_is_refused_even_if_it_is_signed(endpoint, origin, method):
    headers = signed(endpoint, method=method, headers={**LIST, "Origin": origin})
    status, answered, _ = send(endpoint, method=method, headers=headers)
    assert status == 403
    assert not [name for name in answered if name.startswith("access-control-")]


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example", "127.0.0.1, evil"),
        *("[::1]:80", "169.254.169.254", "0.0.0.0", "", None),
    ],
)
def test_request_with_a_rebound_host_is_refused_even_if_it_is_signed(endpoint, host):
    headers = signed(endpoint, headers={**LIST, **({"Host": host} if host else {})})
    status, _, _ = send(endpoint, headers={**headers, "Host": host})
    assert status == 403


def test_address_of_another_host_in_the_request_line_is_refused(endpoint):
    status, _, _ = send(endpoint, path="http://evil.example/", headers=signed(endpoint, headers=LIST))
    assert status == 403


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_both_names_of_this_machine_are_accepted(endpoint, host):
    headers = signed(endpoint, headers={**LIST, "Host": f"{host}:{endpoint.url.rpartition(':')[2]}"})
    assert send(endpoint, headers=headers)[0] == 200


def test_preflight_is_refused_and_no_answer_has_cors_headers(endpoint):
    status, headers, _ = send(endpoint, method="OPTIONS", body=b"", headers={"Access-Control-Request-Method": "POST"})
    assert (status, [name for name in headers if name.startswith("access-control-")]) == (403, [])
    for path, service in (("/", "sagemaker"), ("/own/a.txt", "s3")):
        method, body = ("POST", b"{}") if service == "sagemaker" else ("GET", b"")
        options = {"method": method, "path": path, "body": body}
        own = {"Origin": endpoint.url, **(LIST if service == "sagemaker" else {})}
        headers = signed(endpoint, **options, service=service, headers=own)
        status, headers, _ = send(endpoint, **options, headers=headers)
        assert (status, [name for name in headers if name.startswith("access-control-")]) == (200, [])


UNSIGNED = {
    "no signature": ({}, "MissingAuthenticationToken"),
    "basic": ({"Authorization": "Basic YW55OmFueQ=="}, "IncompleteSignature"),
    "version 2": ({"Authorization": "AWS any:c2ln"}, "IncompleteSignature"),
    "only a scope": (
        {"Authorization": "AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/sagemaker/aws4_request"},
        "IncompleteSignature",
    ),
}


@pytest.mark.parametrize("kind", UNSIGNED)
def test_unsigned_request_is_refused(endpoint, kind):
    headers, code = UNSIGNED[kind]
    status, _, content = send(endpoint, headers={**LIST, **headers})
    assert (status, json.loads(content)["__type"]) == (403, code)


def test_object_cannot_be_read_written_or_listed_without_a_signature(endpoint):
    for method, path in (("GET", "/own/a.txt"), ("PUT", "/own/b.txt"), ("GET", "/own"), ("DELETE", "/own/a.txt")):
        status, _, content = send(endpoint, method=method, path=path, body=b"" if method == "GET" else b"x")
        assert (status, b"MissingAuthenticationToken" in content) == (403, True)
    keys = [item["Key"] for item in endpoint.client("s3").list_objects_v2(Bucket="own")["Contents"]]
    assert keys == ["a.txt"]


@pytest.mark.parametrize("service", ["sagemaker", "s3", "sts", "iam", "sqs", "events", "logs", "ecr"])
def test_another_credential_is_refused_by_every_service(endpoint, service):
    known = endpoint.credential.access_key
    for key in ("any", "AKIAIOSFODNN7EXAMPLE", known):
        client = boto3.client(
            service,
            endpoint_url=endpoint.url,
            region_name="us-east-1",
            aws_access_key_id=key,
            aws_secret_access_key="any",
            config=Config(retries={"max_attempts": 1}),
        )
        call = {
            "sagemaker": lambda client: client.list_pipelines(),
            "s3": lambda client: client.list_buckets(),
            "sts": lambda client: client.get_caller_identity(),
            "iam": lambda client: client.list_roles(),
            "sqs": lambda client: client.list_queues(),
            "events": lambda client: client.list_rules(),
            "logs": lambda client: client.describe_log_groups(),
            "ecr": lambda client: client.describe_repositories(),
        }[service]
        expected = "SignatureDoesNotMatch" if key == known else "UnrecognizedClientException|InvalidAccessKeyId"
        with pytest.raises(ClientError, match=expected) as caught:
            call(client)
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_changed_request_does_not_match_its_signature(endpoint):
    headers = signed(endpoint, headers=LIST)
    assert send(endpoint, headers=headers, body=b'{"MaxResults": 1}')[0] == 403
    assert send(endpoint, headers={**headers, "X-Amz-Target": "SageMaker.ListModels"})[0] == 403
    assert send(endpoint, headers=headers, path="/?a=b")[0] == 403
    assert send(endpoint, headers=headers, method="PUT")[0] == 403
    scope = headers["Authorization"].replace("us-east-1", "eu-west-1")
    assert send(endpoint, headers={**headers, "Authorization": scope})[0] == 403
    assert send(endpoint, headers={**headers, "X-Amz-Date": "20200101T000000Z"})[0] == 403


def test_operation_must_be_signed(endpoint):
    headers = signed(endpoint, headers={"Content-Type": LIST["Content-Type"]})
    assert send(endpoint, headers={**headers, "X-Amz-Target": "SageMaker.ListPipelines"})[0] == 403


def test_body_of_an_object_must_match_the_signed_digest(endpoint):
    path = "/own/c.txt"
    headers = signed(endpoint, method="PUT", path=path, body=b"right", service="s3")
    status, _, content = send(endpoint, method="PUT", path=path, body=b"wrong", headers=headers)
    assert (status, b"XAmzContentSHA256Mismatch" in content) == (400, True)
    assert send(endpoint, method="PUT", path=path, body=b"right", headers=headers)[0] == 200


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_presigned_url_is_valid_for_its_object_until_it_expires(endpoint, version):
    client = boto3.client(
        "s3",
        endpoint_url=endpoint.url,
        region_name="us-east-1",
        aws_access_key_id=endpoint.credential.access_key,
        aws_secret_access_key=endpoint.credential.secret_key,
        config=Config(signature_version=version),
    )
    url = client.generate_presigned_url("get_object", Params={"Bucket": "own", "Key": "a.txt"})
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"content"
    expired = client.generate_presigned_url("get_object", Params={"Bucket": "own", "Key": "a.txt"}, ExpiresIn=-1)
    for changed in (url.replace("a.txt", "b.txt"), url.replace("Expires=", "Expires=1"), expired):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(changed)
        with caught.value as error:
            assert error.code in (400, 403)


@pytest.mark.parametrize(
    "key", ["with space.txt", "ünïcode/ß.txt", "a+b&c=d.txt", "a/../b", "x//y", "100%.txt", "~t'(1)*!"]
)
def test_keys_and_metadata_of_any_kind_can_be_signed(endpoint, key):
    client = endpoint.client("s3")
    client.put_object(Bucket="own", Key=key, Body=b"1" * 70_000, Metadata={"my_key": "a  b"})
    assert client.head_object(Bucket="own", Key=key)["ContentLength"] == 70_000
    assert client.list_objects_v2(Bucket="own", Prefix=key)["Contents"][0]["Key"] == key
    client.delete_object(Bucket="own", Key=key)


def test_access_keys_that_iam_and_sts_issue_can_sign(endpoint):
    issued = endpoint.client("sts").assume_role(RoleArn="arn:aws:iam::123456789012:role/r", RoleSessionName="session")
    keys = issued["Credentials"]
    client = boto3.client(
        "sagemaker",
        endpoint_url=endpoint.url,
        region_name="us-east-1",
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )
    assert client.list_pipelines()["PipelineSummaries"] == []


@pytest.mark.parametrize(
    "path", ["/moto-api/reset", "/moto-api/data.json", "/latest/meta-data/iam/security-credentials/"]
)
def test_paths_that_are_not_part_of_aws_are_refused_even_if_they_are_signed(endpoint, path):
    for headers in ({}, signed(endpoint, path=path, headers=LIST)):
        assert send(endpoint, path=path, headers=headers)[0] == 403
    assert endpoint.client("s3").list_objects_v2(Bucket="own")["KeyCount"] >= 1


def test_health_check_needs_no_signature_but_the_right_host(endpoint):
    status, _, content = send(endpoint, method="GET", path="/health", body=b"")
    assert (status, json.loads(content)) == (200, {"status": "ok"})
    assert send(endpoint, method="GET", path="/health", body=b"", headers={"Host": "evil.example"})[0] == 403
    assert send(endpoint, method="POST", path="/health", body=b"")[0] == 403


@pytest.mark.parametrize("length", ["abc", "-1", "9" * 30])
def test_length_that_is_not_a_size_is_refused(endpoint, length):
    headers = {**signed(endpoint, headers=LIST), "Content-Length": length}
    try:
        status, _, _ = send(endpoint, headers=headers)
    except (OSError, http.client.HTTPException):
        return  # the connection was closed
    assert status in (400, 403, 413)


def test_each_endpoint_has_another_random_credential():
    first, second = Credential(), Credential()
    assert first.access_key != second.access_key
    assert first.secret_key != second.secret_key
    assert len(first.secret_key) >= 40
    assert first.secret_key not in repr(first)


def test_containers_get_no_variable_of_the_user_that_is_not_listed(monkeypatch):
    from mlops_sagemaker.emulator.jobs.containers import inherited_environment

    secrets = (
        "GITHUB_TOKEN",
        "DB_URL",
        "SSH_AUTH_SOCK",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_PROFILE",
        "MLOPS_TOKEN",
        "http_proxy",
    )
    with monkeypatch.context() as patch:
        for name in secrets:
            patch.setenv(name, "user:secret")
        patch.setenv("OMP_NUM_THREADS", "1")
        inherited = inherited_environment()
    assert [name for name, value in inherited.items() if "secret" in value] == []
    assert (inherited["OMP_NUM_THREADS"], inherited["PATH"]) == ("1", os.environ["PATH"])
