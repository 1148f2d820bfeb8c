"""Requests to Azure: tokens, retries and one-line errors, against the loopback endpoint."""

import os
import subprocess
import sys
import time

import pytest

pytest.importorskip("azure.identity", reason="azure-identity is not installed")
pytest.importorskip("cryptography", reason="the extra 'emulator' is not installed")

from mlops_azureml.service.cloud import MACHINE_LEARNING_SCOPE, Cloud
from mlops_azureml.service.connection import Connection, ServiceError
from mlops_azureml.service.datastores import DatastoreContainer, fault_text
from mlops_azureml.service.tokens import Tokens
from mlops_azureml.service.workspace import Workspace
from mlops_azureml.values.addresses import WorkspaceId

from mlops_core import UsageError
from mlops_core.runners import RunnerError


@pytest.fixture
def waits():
    return []


@pytest.fixture
def open_workspace(endpoint, waits):
    """Return a function that opens the endpoint's workspace, or another one, with a connection of its own."""
    connections = []

    def open_it(**names):
        own = endpoint.names
        identifier = {"subscription": own.subscription, "group": own.group, "name": own.workspace, **names}
        connections.append(Connection(pause=waits.append))
        return Workspace(WorkspaceId(**identifier), connection=connections[-1])

    yield open_it
    for connection in connections:
        connection.close()


def test_throttled_requests_wait_as_long_as_azure_asks(endpoint, open_workspace, waits):
    endpoint.faults = [fault("GET", "computes", "429", times=2, retry_after="7")]
    assert open_workspace().compute("cpu-cluster")["name"] == "cpu-cluster"
    assert waits == [7.0, 7.0]
    endpoint.faults = [fault("GET", "computes", "429", retry_after="100000", message="too many requests")]
    with pytest.raises(ServiceError, match=r"gave up after 3 attempts: Azure throttles the requests: too many"):
        open_workspace().compute("cpu-cluster")
    assert max(waits) <= 120


def test_failed_and_lost_answers_are_asked_for_again(endpoint, open_workspace, waits):
    endpoint.faults = [fault("GET", "computes", "503", times=1), fault("GET", "computes", "drop", times=1)]
    assert open_workspace().compute("cpu-cluster")["name"] == "cpu-cluster"
    assert len(waits) == 2
    endpoint.faults = [fault("GET", "computes", "drop")]
    with pytest.raises(ServiceError) as caught:
        open_workspace().compute("cpu-cluster")
    text = str(caught.value)
    assert "gave up after 3 attempts: no connection: Remote end closed" in text
    assert "check the network and the address" in text
    assert "\n" not in text


def test_token_that_is_no_longer_accepted_is_replaced_once(endpoint, open_workspace):
    workspace = open_workspace()
    workspace.describe()
    endpoint.access._key = b"another key"  # all tokens become worthless
    assert workspace.describe()["name"] == endpoint.names.workspace
    endpoint.faults = [fault("GET", "workspaces", "401", message="revoked")]
    with pytest.raises(ServiceError, match=r"the token is not accepted: revoked; sign in again \(az login\)"):
        workspace.describe()


def test_token_is_replaced_before_it_expires(endpoint, open_workspace):
    endpoint.access.lifetime_s = 2
    tokens = Tokens()
    first, until = tokens.get_with_expiry(MACHINE_LEARNING_SCOPE)
    assert tokens.get(MACHINE_LEARNING_SCOPE) == first
    assert until < time.time() + 1.5
    while time.time() < until + 0.5:  # the claims have whole seconds
        time.sleep(0.05)
    assert tokens.get(MACHINE_LEARNING_SCOPE) != first


def test_missing_right_is_named(endpoint, open_workspace):
    message = (
        "The client 'x' does not have authorization to perform action "
        "'Microsoft.MachineLearningServices/workspaces/jobs/write' over scope '/subscriptions/1'."
    )
    endpoint.faults = [fault("GET", "computes", "403", code="AuthorizationFailed", message=message)]
    with pytest.raises(ServiceError) as caught:
        open_workspace().compute("cpu-cluster")
    assert caught.value.is_denied
    assert "allow Microsoft.MachineLearningServices/workspaces/jobs/write: the role 'AzureML Data Scientist'" in str(
        caught.value
    )


def test_wrong_secret_is_one_line(endpoint, open_workspace, environ):
    environ.setenv("AZURE_CLIENT_SECRET", "wrong")
    with pytest.raises(RunnerError) as caught:
        open_workspace().describe()
    assert str(caught.value).startswith("Azure refuses the sign-in: ")
    assert "AADSTS7000215" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_azure_identity_logs_about_a_refused_sign_in_is_not_printed(endpoint, tmp_path):
    code = "from mlops_azureml.service.tokens import Tokens\nTokens().get('https://ml.azure.com/.default')"
    environ = {**os.environ, "AZURE_CLIENT_SECRET": "wrong"}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "AADSTS7000215" in done.stderr.splitlines()[-1]
    assert not done.stderr.startswith("DefaultAzureCredential failed")


def test_secret_of_the_datastore_is_used_whatever_the_environment_names(endpoint, open_workspace, environ):
    container = DatastoreContainer(open_workspace(), "workspaceblobstore")
    environ.setenv("AZURE_CLIENT_SECRET", "wrong")
    endpoint.seen.clear()
    container.write("any/object", b"content")
    assert container.read("any/object") == b"content"
    assert not [path for _, path in endpoint.seen if "oauth2" in path]


def test_store_without_a_trusted_certificate_is_one_line_with_a_fix(endpoint, open_workspace):
    container = DatastoreContainer(open_workspace(), "workspaceblobstore")
    text = fault_text(OSError("HTTP error: error sending request"), store=container)
    assert "or its certificate is not trusted; check the network, and SSL_CERT_FILE" in text


def test_nobody_signed_in_is_one_line(endpoint, open_workspace, environ):
    environ.delenv("AZURE_CLIENT_SECRET")
    with pytest.raises(RunnerError) as caught:
        open_workspace().describe()
    assert str(caught.value).startswith("not signed in to Azure: ")
    assert "az login" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_each_wrong_name_has_its_own_message(open_workspace):
    for names, expected in (
        ({"subscription": "00000000-0000-4000-8000-00000000000f"}, "check SUBSCRIPTION_ID"),
        ({"group": "other"}, "resource group 'other' does not exist"),
        ({"name": "other"}, "no workspace 'other' in resource group 'mlops-local'"),
    ):
        with pytest.raises(ServiceError, match=expected):
            open_workspace(**names).describe()
    with pytest.raises(ServiceError, match=r"compute 'cpu-clusta' does not exist .* did you mean 'cpu-cluster'"):
        open_workspace().compute("cpu-clusta")
    with pytest.raises(ServiceError, match=r"datastore 'x' does not exist .* it has workspaceblobstore"):
        open_workspace().datastore("x")
    with pytest.raises(UsageError, match=r"'my-subscription' is not a valid subscription id; expected a UUID"):
        open_workspace(subscription="my-subscription")


def test_token_is_sent_to_no_other_server(endpoint, open_workspace):
    workspace = open_workspace()
    page = {"value": [{"name": "1"}], "nextLink": "https://elsewhere.example/page"}
    endpoint.answers[f"{endpoint.names.workspace_id}/models/m/versions"] = lambda _: page
    with pytest.raises(RunnerError, match=r"the next page is at elsewhere\.example, which is not trusted"):
        list(workspace.versions("models", "m"))


def test_listings_are_followed_page_by_page(endpoint, open_workspace):
    workspace = open_workspace()
    for number in range(120):
        endpoint.state.put_version("models", "m", str(number), {"modelUri": "azureml://x"})
    versions = [each["name"] for each in workspace.versions("models", "m")]
    assert versions == [str(number) for number in reversed(range(120))]
    assert list(workspace.versions("models", "none")) == []


def test_lost_answer_to_a_submission_is_recognised(endpoint, open_workspace):
    endpoint.answers[f"{endpoint.names.workspace_id}/jobs/mine"] = submitted = _Submitted()
    assert open_workspace().put_job("mine", {"jobType": "Pipeline"}) == {"name": "mine", "once": True}
    assert submitted.puts == 2  # the first answer was lost, the second says that the name is taken


class _Submitted:
    """Loses the answer to the first submission, and refuses the second one."""

    puts = 0

    def __call__(self, request):
        from mlops_azureml.emulator.web.errors import ConflictError

        if request.method == "GET":
            return {"name": "mine", "once": True}
        self.puts += 1
        if self.puts == 1:
            raise ConnectionResetError
        raise ConflictError("A job with the name mine already exists.")


def test_job_of_github_actions_signs_in_with_its_own_token(endpoint, open_workspace, environ):
    asked = []

    def issue(request):
        asked.append((request.headers["authorization"], request.query["audience"]))
        return {"value": endpoint.access.token("api://AzureADTokenExchange")}

    endpoint.answers["/oidc"] = issue
    environ.delenv("AZURE_CLIENT_SECRET")
    environ.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"{endpoint.url}/oidc?job=1")
    environ.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "of-the-job")
    assert open_workspace().describe()["name"] == endpoint.names.workspace
    assert asked == [("Bearer of-the-job", "api://AzureADTokenExchange")]


def test_public_cloud_is_the_default(environ):
    environ.delenv("ARM_CLOUD_METADATA_URL", raising=False)
    assert Connection().cloud == Cloud()
    assert Cloud().blob_endpoint("data") == "https://data.blob.core.windows.net"


def fault(*positional, **named):
    from azureml_tests.faulty_endpoint import Fault

    return Fault(*positional, **named)
