"""Uploads to azurite, the blob store emulator of Azure: opt-in, since it is 186 MB of npm.

Set MLOPS_TEST_AZURITE to the program ``azurite-blob``.
"""

import base64
import contextlib
import os
import secrets
import socket
import subprocess
import time

import pytest

pytest.importorskip("azure.identity", reason="azure-identity is not installed")
pytest.importorskip("cryptography", reason="the extra 'emulator' is not installed")

from azureml_tests.faulty_endpoint import FaultyEndpoint
from mlops_azureml.emulator.state import ExternalStorage
from mlops_azureml.service.datastores import DatastoreContainer
from mlops_azureml.service.workspace import open_workspace
from mlops_azureml.values.addresses import WorkspaceId

from mlops_core.runners.remote.object_store import LargeFile

pytestmark = [
    pytest.mark.slow_suite,
    pytest.mark.skipif("MLOPS_TEST_AZURITE" not in os.environ, reason="MLOPS_TEST_AZURITE is not set"),
]


@pytest.fixture
def storage(tmp_path):
    """Yield a storage account of azurite with one container."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    command = [os.environ["MLOPS_TEST_AZURITE"], "--location", str(tmp_path / "azurite"), "--silent"]
    command += ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--skipApiVersionCheck", "--disableTelemetry"]
    environ = {**os.environ, "AZURITE_ACCOUNTS": f"local:{key}"}
    process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            assert time.monotonic() < deadline, "azurite does not listen"
            time.sleep(0.1)
        _create_container(port, key)
        yield ExternalStorage(address=f"127.0.0.1:{port}", account="local", container="data", key=key)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _create_container(port, key):
    """Create the container with a request that is signed by hand; obstore creates none."""
    import email.utils
    import hashlib
    import hmac
    import http.client

    date = email.utils.formatdate(usegmt=True)
    headers = f"x-ms-date:{date}\nx-ms-version:2021-12-02\n"
    text = "PUT" + "\n" * 12 + headers + "/local/local/data\nrestype:container"
    signature = base64.b64encode(hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()).decode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    sent = {"x-ms-date": date, "x-ms-version": "2021-12-02", "Authorization": f"SharedKey local:{signature}"}
    connection.request("PUT", "/local/data?restype=container", headers={**sent, "Content-Length": "0"})
    answer = connection.getresponse()
    assert answer.status == 201, answer.read()
    answer.read()
    connection.close()


def test_data_set_is_sent_to_azurite_and_an_unchanged_one_is_not(storage, tmp_path, environ, workspace, toy):
    from mlops_core.api import prepare_run
    from mlops_core.runners.remote.by_digest import provide_by_digest
    from mlops_core.workspace.store import Store

    with FaultyEndpoint(tmp_path / "endpoint", storage=storage) as endpoint:
        for name, value in endpoint.environment().items():
            environ.setenv(name, value)
        names = endpoint.names
        found = open_workspace(WorkspaceId(subscription=names.subscription, group=names.group, name=names.workspace))
        container = DatastoreContainer(found, "workspaceblobstore")
        assert container.endpoint.startswith("http://127.0.0.1:")
        large = tmp_path / "large"
        large.write_bytes(os.urandom(17 << 20))
        container.send_large(
            LargeFile(path=large, key="x/large", name="large", sha256="", size=17 << 20), receipts=None
        )
        container.download("x/large", tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == large.read_bytes()
        uri = "azureml://datastores/workspaceblobstore/paths/datasets/words/"
        with Store(workspace) as store:
            request = prepare_run("TOY")
            first = provide_by_digest(request, uri, store=store, bucket=container, progress=lambda *_: None)
            again = provide_by_digest(request, uri, store=store, bucket=container, progress=lambda *_: None)
        assert (first.sent, again.sent, again.was_there) == (1, 0, True)
        with Store(tmp_path / "other") as store:  # another machine fetches and sends nothing
            other = provide_by_digest(request, uri, store=store, bucket=container, progress=lambda *_: None)
            assert not (store.datasets / "words").exists()
        assert other.record.digest == first.record.digest
        found.connection.close()
