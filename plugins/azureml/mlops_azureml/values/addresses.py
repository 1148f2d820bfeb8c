"""Addresses of a workspace, of its jobs, and of folders in its datastores."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import unquote

from mlops_core import UsageError

_PROVIDER = "Microsoft.MachineLearningServices"
_SUBSCRIPTION = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_GROUP = re.compile(r"[\w.()-]{1,90}\Z")
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{1,32}\Z")
_RESOURCE_ID = re.compile(
    r"/subscriptions/(?P<subscription>[^/]+)/resourceGroups/(?P<group>[^/]+)/providers/"
    r"Microsoft\.MachineLearningServices/workspaces/(?P<name>[^/]+)",
    re.IGNORECASE,
)
_URI = re.compile(
    r"azureml://(?:subscriptions/(?P<subscription>[^/]+)/resource[gG]roups/(?P<group>[^/]+)/(?:providers/"
    r"Microsoft\.MachineLearningServices/)?workspaces/(?P<workspace>[^/]+)/)?datastores/(?P<datastore>[^/]+)"
    r"(?:/paths(?:/(?P<path>.*))?)?\Z"
)
_DATASTORE = re.compile(r"[a-z0-9_]{1,255}\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceId:
    """The address of a workspace.

    Attributes:
        subscription: id of the subscription.
        group: name of the resource group.
        name: name of the workspace.
    """

    subscription: str
    group: str
    name: str

    def __post_init__(self) -> None:
        """Check the names, before one becomes part of an address.

        Raises:
            UsageError: Azure would refuse one.
        """
        for what, value, pattern, expected in (
            ("subscription id", self.subscription, _SUBSCRIPTION, "a UUID"),
            ("resource group", self.group, _GROUP, "letters, digits and . _ - ( )"),
            ("workspace name", self.name, _NAME, "2 to 33 letters, digits, hyphens and underscores"),
        ):
            if not pattern.match(value):
                raise UsageError(f"{value!r} is not a valid {what}; expected {expected}")

    @classmethod
    def parse(cls, text: str) -> WorkspaceId:
        """Return the workspace in a resource id.

        Raises:
            UsageError: there is none in it.
        """
        match = _RESOURCE_ID.search(text)
        if match is None:
            raise UsageError(f"{text!r} is not the id of a workspace; expected /subscriptions/.../workspaces/NAME")
        return cls(subscription=match["subscription"], group=match["group"], name=match["name"])

    def __str__(self) -> str:
        """Return the resource id."""
        return (
            f"/subscriptions/{self.subscription}/resourceGroups/{self.group}/providers/{_PROVIDER}"
            f"/workspaces/{self.name}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DatastoreUri:
    """An address in a datastore.

    Attributes:
        datastore: name of the datastore.
        path: path in it, without a slash at its ends.
        workspace: the workspace that the long form of the address names; None for the short form.
    """

    datastore: str
    path: str
    workspace: WorkspaceId | None = None

    @classmethod
    def parse(cls, text: str) -> DatastoreUri:
        """Parse ``azureml://datastores/NAME/paths/PATH``, or the long form with a workspace.

        Raises:
            UsageError: it is not such an address.
        """
        match = _URI.match(text)
        if match is None or not _DATASTORE.match(match["datastore"]):
            raise UsageError(
                f"{text!r} is not an address in a datastore; expected azureml://datastores/NAME/paths/PATH"
            )
        path = (match["path"] or "").strip("/")
        if {".", ".."} & set(path.split("/")) or "?" in path or "#" in path:
            raise UsageError(f"{text!r}: a path in a datastore has no '.', '..', '?' or '#'; leave it out")
        workspace = None
        if match["workspace"]:
            workspace = WorkspaceId(
                subscription=match["subscription"], group=match["group"], name=unquote(match["workspace"])
            )
        return cls(datastore=match["datastore"], path=path, workspace=workspace)

    def join(self, *parts: str) -> DatastoreUri:
        """Return the address with parts appended to the path."""
        path = "/".join(part for part in (self.path, *parts) if part)
        return DatastoreUri(datastore=self.datastore, path=path, workspace=self.workspace)

    def __str__(self) -> str:
        """Return the address: the short form, where no workspace is named."""
        prefix = ""
        if self.workspace is not None:
            each = self.workspace
            prefix = f"subscriptions/{each.subscription}/resourcegroups/{each.group}/workspaces/{each.name}/"
        return f"azureml://{prefix}datastores/{self.datastore}/paths/{self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobId:
    """The address of a job.

    Attributes:
        workspace: its workspace.
        name: name of the job.
    """

    workspace: WorkspaceId
    name: str

    @classmethod
    def parse(cls, text: str) -> JobId:
        """Return the job of a resource id.

        Raises:
            UsageError: it is not the id of a job.
        """
        _, separator, name = text.rpartition("/jobs/")
        if not separator or not name or "/" in name:
            raise UsageError(f"{text!r} is not the id of a job; expected /subscriptions/.../workspaces/NAME/jobs/JOB")
        return cls(workspace=WorkspaceId.parse(text), name=name)

    def renamed(self, name: str) -> JobId:
        """Return the address of another job of the workspace."""
        return replace(self, name=name)

    def __str__(self) -> str:
        """Return the resource id."""
        return f"{self.workspace}/jobs/{self.name}"
