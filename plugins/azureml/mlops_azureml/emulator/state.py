"""The state of the endpoint's one workspace: computes, datastores, assets and jobs, in memory."""

from __future__ import annotations

import datetime as dt
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_azureml.emulator.web.errors import InvalidError, NotFoundError

if TYPE_CHECKING:
    from pathlib import Path

Json = Any

DEFAULTS: dict[str, dict[str, Json]] = {"models": {"flavors": {}}}
"""Properties that an answer always has."""
FIXED = {"data": ("dataUri", "dataType"), "models": ("modelUri", "modelType"), "environments": ("image",)}
"""Properties of an asset's version that can never change; tags and descriptions can."""


@dataclass(frozen=True, kw_only=True)
class Names:
    """The names of the endpoint's resources, which do not matter to anybody else."""

    subscription: str = "00000000-0000-4000-8000-000000000000"
    group: str = "mlops-local"
    workspace: str = "mlops-local"
    account: str = "mlopslocal"
    container: str = "workspaceblobstore"  # that of the datastore, whose folder is thereby found by its name
    datastore: str = "workspaceblobstore"

    @property
    def workspace_id(self) -> str:
        """The resource id of the workspace."""
        return (
            f"/subscriptions/{self.subscription}/resourceGroups/{self.group}/providers/"
            f"Microsoft.MachineLearningServices/workspaces/{self.workspace}"
        )


@dataclass(frozen=True, kw_only=True)
class ExternalStorage:
    """A storage account elsewhere on this machine, for a datastore whose blobs the endpoint does not serve itself.

    Attributes:
        address: host and port.
        account: name of the account.
        container: name of the container.
        key: key of the account.
    """

    address: str
    account: str
    container: str
    key: str = field(repr=False)


@dataclass(kw_only=True)
class RunState:
    """A run: a job, one of its nodes, or a trial of a sweep.

    Attributes:
        name: id of the run.
        display_name: for a node, its name in the pipeline.
        status: in the words of the service.
        parent: id of the parent; empty for a job.
        created: when it was submitted, ISO 8601 in UTC.
        started: when it began; empty before.
        ended: when it ended; empty before.
        error: why it failed; empty for other reasons.
        properties: texts.
        tags: texts.
        metrics: name -> values that were logged, in order.
        parameters: name -> value that was logged.
        logs: name of a log -> path of its file.
        outputs: name of an output -> address in a datastore.
        metrics_folder: for a trial, where the sweep reads its metrics; None for any other run.
    """

    name: str
    display_name: str = ""
    status: str = "NotStarted"
    parent: str = ""
    created: str = ""
    started: str = ""
    ended: str = ""
    error: str = ""
    properties: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    logs: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    metrics_folder: Path | None = None


class WorkspaceState:
    """What the workspace holds. Whoever reads or changes it holds its lock."""

    def __init__(self, names: Names, *, storage: ExternalStorage | None = None) -> None:
        """Begin with two clusters that scale to zero, and no assets or jobs."""
        self.names = names
        self.storage = storage
        self.lock = threading.RLock()
        self.computes: dict[str, Json] = {
            name: {
                "computeType": "AmlCompute",
                "provisioningState": "Succeeded",
                "properties": {
                    "vmSize": size,
                    "vmPriority": "Dedicated",
                    "scaleSettings": {"minNodeCount": 0, "maxNodeCount": 4, "nodeIdleTimeBeforeScaleDown": "PT30S"},
                },
            }
            for name, size in (("cpu-cluster", "Standard_DS3_v2"), ("gpu-cluster", "Standard_NC6s_v3"))
        }
        self.assets: dict[str, dict[str, dict[str, Json]]] = {}
        self.jobs: dict[str, Json] = {}
        self.runs: dict[str, RunState] = {}

    def versions(self, kind: str, name: str) -> dict[str, Json]:
        """Return the versions of an asset, in the order of their creation; empty if it does not exist."""
        return self.assets.setdefault(kind, {}).setdefault(name, {})

    def version(self, kind: str, name: str, version: str) -> Json:
        """Return a version of an asset.

        Raises:
            NotFoundError: it does not exist.
        """
        found = self.versions(kind, name).get(version)
        if found is None:
            raise NotFoundError(f"{kind}: {name}:{version} was not found", code="UserError")
        return found

    def put_version(self, kind: str, name: str, version: str, properties: Json) -> Json:
        """Create a version of an asset, or change what can be changed of it.

        Raises:
            InvalidError: it exists with another content.
        """
        existing: Json = self.versions(kind, name).get(version)
        for each in FIXED.get(kind, ()) if existing else ():
            if properties.get(each) != existing["properties"].get(each):
                raise InvalidError(
                    f"A {kind.removesuffix('s')} version with this name and version already exists, and its {each} "
                    f"cannot be changed: {name}:{version}"
                )
        created = existing["systemData"]["createdAt"] if existing else now()
        stored = {
            "id": f"{self.names.workspace_id}/{kind}/{name}/versions/{version}",
            "name": version,
            "type": f"Microsoft.MachineLearningServices/workspaces/{kind}/versions",
            "properties": {**DEFAULTS.get(kind, {}), **properties, "provisioningState": "Succeeded"},
            "systemData": {"createdAt": created, "createdByType": "Application", "lastModifiedAt": now()},
        }
        self.versions(kind, name)[version] = stored
        return stored

    def run(self, name: str) -> RunState:
        """Return a run.

        Raises:
            NotFoundError: it does not exist.
        """
        if name not in self.runs:
            raise NotFoundError(f"Run {name} was not found", code="UserError")
        return self.runs[name]

    def children(self, name: str) -> list[RunState]:
        """Return the runs below a run, in the order of their creation."""
        return [run for run in self.runs.values() if run.parent == name]


def now() -> str:
    """Return the time, ISO 8601 in UTC."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
