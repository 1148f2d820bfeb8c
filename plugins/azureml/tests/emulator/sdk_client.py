"""A client with azure-ai-ml, in an environment of its own: submits a job, and prints what it sees as JSON.

No part of the package is patched. It addresses the storage account by name, so the one name that the endpoint has below
``localhost`` is resolved here, as a resolver that follows RFC 6761 does by itself.
"""

import json
import os
import socket
import sys
import tempfile
import time
from pathlib import Path

os.environ["AZUREML_SDKV2_TELEMETRY_OPTOUT"] = "1"
_resolve = socket.getaddrinfo
socket.getaddrinfo = lambda host, *more, **named: _resolve(
    "127.0.0.1" if str(host).endswith(".localhost") else host, *more, **named
)

from azure.ai.ml import MLClient, load_job  # noqa: E402
from azure.ai.ml.entities import Data  # noqa: E402
from azure.identity import DefaultAzureCredential  # noqa: E402


def main():
    client = MLClient(
        DefaultAzureCredential(disable_instance_discovery=True),
        os.environ["SUBSCRIPTION_ID"],
        os.environ["RESOURCE_GROUP_NAME"],
        os.environ["WORKSPACE_NAME"],
    )
    job = client.jobs.create_or_update(load_job(sys.argv[1]))
    deadline = time.monotonic() + 200
    while client.jobs.get(job.name).status not in ("Completed", "Failed", "Canceled"):
        assert time.monotonic() < deadline
        time.sleep(1)
    children = list(client.jobs.list(parent_job_name=job.name))
    model = next(iter(client.models.list("toy")))
    folder = Path(tempfile.mkdtemp())
    (folder / "a.txt").write_text("a")
    data = client.data.create_or_update(Data(name="local", version="1", path=str(folder), type="uri_folder"))
    other = client.jobs.create_or_update(load_job(sys.argv[1]))
    client.jobs.begin_cancel(other.name)
    result = {
        "status": client.jobs.get(job.name).status,
        "children": sorted(each.display_name for each in children),
        "model_tags": client.models.get("toy", model.version).tags,
        "data_path": data.path,
        "cancelled": client.jobs.get(other.name).status,
    }
    sys.stdout.write(json.dumps(result))


main()
