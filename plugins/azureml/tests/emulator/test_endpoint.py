"""The loopback control plane: who may use it, what it refuses by name, and its blobs."""

import http.client
import json
import os
import ssl
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest.importorskip("azure.identity", reason="azure-identity is not installed")
pytest.importorskip("cryptography", reason="the extra 'emulator' is not installed")

from mlops_azureml.emulator.web.access import MANAGEMENT
from mlops_azureml.service.connection import ServiceError
from mlops_azureml.service.datastores import DatastoreContainer
from mlops_azureml.service.workspace import API_VERSION, open_workspace
from mlops_azureml.values.addresses import WorkspaceId

from mlops_core.errors import DatasetError
from mlops_core.runners.remote.object_store import LargeFile, Sending


@pytest.fixture
def opened(endpoint):
    names = endpoint.names
    found = open_workspace(WorkspaceId(subscription=names.subscription, group=names.group, name=names.workspace))
    yield found
    found.connection.close()


@pytest.fixture
def ask(endpoint):
    """Return a function that sends a request as any program could; it returns status and body."""
    place = urlsplit(endpoint.url)
    context = ssl.create_default_context(cafile=endpoint.certificates)

    def send(method, path, *, body=None, **headers):
        connection = http.client.HTTPSConnection(place.hostname, place.port, timeout=30, context=context)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body=body, headers=named)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    return send


def test_requests_need_a_token_of_this_endpoint_for_the_right_audience(endpoint, ask):
    path = f"{endpoint.names.workspace_id}?api-version={API_VERSION}"
    assert ask("GET", path)[0] == 401
    assert ask("GET", path, Authorization="Bearer a.b.c")[0] == 401
    wrong = endpoint.access.token("https://storage.azure.com")
    status, text = ask("GET", path, Authorization=f"Bearer {wrong}")
    assert (status, json.loads(text)["error"]["code"]) == (401, "InvalidAuthenticationTokenAudience")
    header, payload, signature = endpoint.access.token(MANAGEMENT).split(".")
    assert ask("GET", path, Authorization=f"Bearer {header}.{payload}x.{signature}")[0] == 401
    assert ask("GET", path, Authorization=f"Bearer {header}.{payload}.{signature}")[0] == 200


def test_pages_of_other_origins_and_foreign_hosts_are_refused(endpoint, ask):
    token = f"Bearer {endpoint.access.token(MANAGEMENT)}"
    path = f"{endpoint.names.workspace_id}?api-version={API_VERSION}"
    for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}, {"Host": "127.0.0.1.evil.example"}):
        status, text = ask("GET", path, Authorization=token, **headers)
        assert (status, json.loads(text)["error"]["code"]) == (403, "Forbidden")
    assert ask("GET", "/health") == (200, '{"status": "ok"}')


def test_clients_without_the_certificate_are_refused_by_tls(endpoint):
    place = urlsplit(endpoint.url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody
    connection = http.client.HTTPSConnection(place.hostname, place.port, timeout=30, context=context)
    with pytest.raises(ssl.SSLCertVerificationError):
        connection.request("GET", "/health")
    connection.close()


def test_what_no_client_asks_for_is_refused_by_name(endpoint, opened, ask):
    for method, path, name in (
        ("DELETE", "jobs/x", "DELETE jobs/x"),
        ("GET", "schedules/x", "GET schedules/x"),
        ("PUT", "computes/x", "PUT computes/x"),
    ):
        with pytest.raises(ServiceError, match=f"{name} is not supported by this endpoint"):
            opened.arm(method, path, body={} if method == "PUT" else None)
    with pytest.raises(ServiceError, match="a job of type 'AutoML' is not supported by this endpoint"):
        opened.put_job("automl", {"jobType": "AutoML"})
    with pytest.raises(ServiceError, match=r"jobs\.a: a node of type 'spark' is not supported"):
        opened.put_job("spark", {"jobType": "Pipeline", "jobs": {"a": {"type": "spark"}}})
    token = f"Bearer {endpoint.access.token(MANAGEMENT)}"
    assert ask("GET", endpoint.names.workspace_id, Authorization=token)[0] == 400  # no api-version


def test_secret_of_a_job_is_worth_nothing_after_its_end(endpoint, ask):
    secret = endpoint.access.open_job("job-1")
    path = f"/msi/token?resource={MANAGEMENT}&api-version=2017-09-01"
    status, text = ask("GET", path, secret=secret)
    assert status == 200
    assert json.loads(text)["access_token"]
    endpoint.access.close_job("job-1")
    assert ask("GET", path, secret=secret)[0] == 401
    assert ask("GET", path, secret="guessed")[0] == 401


def test_nodes_see_only_a_short_list_of_the_users_variables(endpoint, environ):
    environ.setenv("A_SECRET_OF_THE_USER", "x")
    variables = endpoint._executions.node_environment("job-2", "job-2_a")
    assert "AZURE_CLIENT_SECRET" not in variables
    assert variables["MSI_SECRET"] != endpoint.access.credential.secret
    from mlops_core.runners.container.processes import inherited_environment

    assert {"A_SECRET_OF_THE_USER", "AZURE_CLIENT_SECRET"} & set(inherited_environment()) == set()
    endpoint.access.close_job("job-2")


def test_blobs_are_written_whole_read_listed_in_order_and_removed(opened, tmp_path):
    container = DatastoreContainer(opened, "workspaceblobstore")
    assert container.read("t/none") is None
    files = []
    for name in ("b", "a/x", "a-y", "ä z"):
        path = tmp_path / f"{len(files)}"
        path.write_text(name)
        sent = []
        files.append(Sending(path=path, key=f"t/{name}", is_unchanged=lambda: True, on_sent=sent.append))
    container.send(files)
    assert [each.key for each in container.objects("t")] == ["t/a-y", "t/a/x", "t/b", "t/ä z"]
    assert container.read("t/ä z").decode() == "ä z"
    large = tmp_path / "large"
    large.write_bytes(os.urandom(17 << 20))
    file = LargeFile(path=large, key="t/large", name="large", sha256="", size=17 << 20)
    container.send_large(file, receipts=None)
    container.download("t/large", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == large.read_bytes()
    container.remove(["t/a-y", "t/a/x", "t/b", "t/ä z", "t/large"])
    assert list(container.objects("t")) == []


def test_half_uploaded_blob_is_not_visible_and_is_sent_again(endpoint, opened, tmp_path):
    from faulty_endpoint import Fault

    container = DatastoreContainer(opened, "workspaceblobstore")
    large = tmp_path / "large"
    large.write_bytes(os.urandom(17 << 20))
    file = LargeFile(path=large, key="half/large", name="large", sha256="", size=17 << 20)
    endpoint.faults = [Fault("PUT", "half/large", "403", after=1)]  # the first block arrives, no other request
    with pytest.raises(DatasetError, match="uploaded files are kept|access denied"):
        container.send_large(file, receipts=None)
    assert list(container.objects("half")) == []
    endpoint.faults = []
    container.send_large(file, receipts=None)
    assert [each.size for each in container.objects("half")] == [17 << 20]
    container.remove(["half/large"])


def test_blobs_need_a_signature_of_their_container_that_has_not_expired(endpoint, ask):
    names = endpoint.names
    path = f"/{names.account}/{names.container}/none"
    version = {"x_ms_version": "2021-12-02"}
    assert ask("GET", path, **version)[0] == 403
    assert ask("GET", f"{path}?{endpoint.access.signature(names.container)}", **version)[0] == 404
    assert ask("GET", f"{path}?{endpoint.access.signature('azureml')}", **version)[0] == 403
    assert ask("GET", f"{path}?{endpoint.access.signature(names.container, lifetime_s=-5)}", **version)[0] == 403
    signed = endpoint.access.signature(names.container)
    for bad in ("../x", "a/%2e%2e/x", "a//x"):
        status, text = ask("PUT", f"/{names.account}/{names.container}/{bad}?{signed}", body=b"", **version)
        assert (status, "InvalidResourceName" in text) == (400, True), bad


def test_workspace_on_loopback_is_a_command(tmp_path):
    command = [sys.executable, "-c", "from mlops_core.cli import main; main()", "--workspace", str(tmp_path / "w")]
    process = subprocess.Popen([*command, "azureml", "emulate"], stdout=subprocess.PIPE, text=True)
    try:
        lines = []
        for line in process.stdout:
            lines.append(line.strip())
            if "Ctrl-C" in line:
                break
        variables = dict(line.removeprefix("export ").split("=", 1) for line in lines if line.startswith("export "))
        assert {"AZURE_CLIENT_SECRET", "ARM_CLOUD_METADATA_URL", "REQUESTS_CA_BUNDLE", "SUBSCRIPTION_ID"} <= set(
            variables
        )
        assert lines[0].startswith("Azure ML workspace: https://localhost:")
        assert Path(variables["SSL_CERT_FILE"]).is_file()
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 0


# --- Other clients -----------------------------------------------------------------------------------------------


@pytest.mark.slow_suite
@pytest.mark.skipif("MLOPS_TEST_AZURE_PYTHON" not in os.environ, reason="MLOPS_TEST_AZURE_PYTHON is not set")
def test_azure_ai_ml_submits_our_yaml_and_reads_the_result(endpoint, tmp_path, toy):
    """No part of azure-ai-ml is patched; only the name of the storage account is resolved to this machine."""
    from mlops_azureml.compiler.job import compile_pipeline
    from mlops_azureml.settings import load_settings

    from mlops_core.api import prepare_run

    data = endpoint.blobs.container_folder("workspaceblobstore") / "datasets" / "words" / ("d" * 64)
    data.mkdir(parents=True)
    from mlops_core import api

    record = api.run("TOY", workspace=tmp_path / "w")
    (data / "words.csv").write_bytes((Path(record.dataset.path) / "words.csv").read_bytes())
    request = prepare_run("TOY")
    job = compile_pipeline(
        request, load_settings(overrides=['workspace.image="r.azurecr.io/m:1"']), dataset_digest="d" * 64
    )
    (tmp_path / "job.yml").write_text(job.to_text())
    client = Path(__file__).with_name("sdk_client.py")
    done = subprocess.run(
        [os.environ["MLOPS_TEST_AZURE_PYTHON"], str(client), str(tmp_path / "job.yml")],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
        env={**os.environ, **endpoint.environment()},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["status"] == "Completed"
    assert result["children"] == sorted(["preprocess", "train", "evaluate", "gate", "register_model", "tag_model"])
    assert float(result["model_tags"]["acc"]) == next(
        each.value for name, each in _metrics(record, tmp_path / "w").items() if name == "acc"
    )
    assert result["model_tags"]["best_model"] == "true"
    assert result["cancelled"] in ("CancelRequested", "Canceled", "Completed", "Running")
    assert result["data_path"].startswith("azureml://")


def _metrics(record, workspace):
    from mlops_core import Pipeline
    from mlops_core.evaluation.evaluation_file import read_evaluation

    return read_evaluation(workspace / "runs" / record.run_id, Pipeline.from_json(record.pipeline).metrics).values
