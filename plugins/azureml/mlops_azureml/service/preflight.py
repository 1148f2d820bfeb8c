"""Checks of a workspace before a run: identity, workspace, datastore, computes, environment, rights, each with a fix.

The checks change nothing. What the identity may not read is reported as not checked, not as an error.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from mlops_azureml.service.connection import ServiceError
from mlops_azureml.service.datastores import DatastoreContainer
from mlops_azureml.service.submission import newest_version
from mlops_azureml.settings import SERVERLESS
from mlops_core import MlopsError
from mlops_core.runners import HealthCheck, RunnerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlops_azureml.service.connection import Connection
    from mlops_azureml.service.workspace import Workspace
    from mlops_azureml.target import Target

Json = Any

ACTIONS = (
    "Microsoft.MachineLearningServices/workspaces/read",
    "Microsoft.MachineLearningServices/workspaces/computes/read",
    "Microsoft.MachineLearningServices/workspaces/datastores/read",
    "Microsoft.MachineLearningServices/workspaces/components/write",
    "Microsoft.MachineLearningServices/workspaces/environments/write",
    "Microsoft.MachineLearningServices/workspaces/jobs/read",
    "Microsoft.MachineLearningServices/workspaces/jobs/write",
    "Microsoft.MachineLearningServices/workspaces/jobs/cancel/action",
    "Microsoft.MachineLearningServices/workspaces/data/versions/write",
    "Microsoft.MachineLearningServices/workspaces/models/versions/read",
)
"""What the identity of a driver needs; the identity of the computes also has to write versions of models."""
_ROLE = "ask for the role 'AzureML Data Scientist' on the workspace"
_SHOWN = 4


def examine_access(connection: Connection) -> Iterator[HealthCheck]:
    """Yield the checks of packages and identity, which need no workspace."""
    missing = [name for name in ("azure.identity", "obstore") if not _is_installed(name)]
    fix = "pip install 'mlops-azureml'" if missing else ""
    detail = f"cannot import {', '.join(missing)}" if missing else "azure-identity and obstore are installed"
    yield HealthCheck(subject="packages", is_good=not missing, detail=detail, fix=fix)
    try:
        connection.tokens.get(connection.cloud.management_scope)
    except MlopsError as error:
        yield HealthCheck(subject="identity", is_good=False, detail=str(error), fix="az login")
    else:
        detail = f"signed in at {connection.cloud.resource_manager}"
        yield HealthCheck(subject="identity", is_good=True, detail=detail)


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the package above it is missing
        return False


def examine_workspace(job: Mapping[str, Json], target: Target, *, workspace: Workspace) -> Iterator[HealthCheck]:
    """Yield a health check for each requirement of a run.

    Args:
        job: the compiled job.
        target: target of the run.
        workspace: workspace to check.
    """
    is_signed_in = True
    for check in examine_access(workspace.connection):
        yield check
        is_signed_in = is_signed_in and check.is_good
    if not is_signed_in:
        return
    try:
        description = workspace.describe()
    except RunnerError as error:
        fix = "check SUBSCRIPTION_ID, RESOURCE_GROUP_NAME and WORKSPACE_NAME"
        yield HealthCheck(subject="workspace", is_good=False, detail=str(error), fix=_fix(error, fix))
        return
    where = description.get("location") or "an unknown region"
    yield HealthCheck(subject="workspace", is_good=True, detail=f"{workspace.id.name} exists in {where}")
    yield _datastore(workspace, target.settings.workspace.datastore)
    for name in sorted(_computes(job)):
        yield _compute(workspace, name)
    yield _environment(workspace, job)
    yield _rights(workspace)


def _datastore(workspace: Workspace, name: str) -> HealthCheck:
    """Check that the datastore exists, and that the identity can list it."""
    try:
        container = DatastoreContainer(workspace, name)
        next(iter(container.objects("azureml/none")), None)
    except MlopsError as error:
        fix = "set DATA_STORE_NAME, or ask for the role 'Storage Blob Data Contributor' on its account"
        return HealthCheck(subject="datastore", is_good=False, detail=str(error), fix=fix)
    detail = f"{name}: container {container.container} of account {container.account}"
    return HealthCheck(subject="datastore", is_good=True, detail=detail)


def _computes(job: Mapping[str, Json]) -> set[str]:
    names = {str(node.get("compute", "")).removeprefix("azureml:") for node in job["jobs"].values()}
    names.add(str(job["settings"].get("default_compute", "")).removeprefix("azureml:"))
    return names - {"", SERVERLESS}


def _compute(workspace: Workspace, name: str) -> HealthCheck:
    try:
        properties = workspace.compute(name).get("properties") or {}
    except RunnerError as error:
        fix = _fix(error, f"create it: az ml compute create --type amlcompute --min-instances 0 --name {name}")
        return HealthCheck(subject="compute", is_good=False, detail=str(error), fix=fix)
    kind, state = properties.get("computeType"), properties.get("provisioningState")
    if kind != "AmlCompute":
        fix = "name a cluster (AmlCompute) in azureml.yaml, or serverless"
        return HealthCheck(subject="compute", is_good=False, detail=f"{name} is of type {kind}", fix=fix)
    if state not in ("Succeeded", None):
        fix = "wait until it is provisioned, or look at its errors in the studio"
        return HealthCheck(subject="compute", is_good=False, detail=f"{name} is {state}", fix=fix)
    inner = properties.get("properties") or {}
    scale = inner.get("scaleSettings") or {}
    if not int(scale.get("maxNodeCount") or 0):
        fix = f"az ml compute update --name {name} --max-instances N"
        return HealthCheck(subject="compute", is_good=False, detail=f"{name} has no nodes at most", fix=fix)
    least = int(scale.get("minNodeCount") or 0)
    detail = f"{name}: {inner.get('vmSize')}, {least} to {scale.get('maxNodeCount')} nodes"
    if least:
        detail += f"; warning: {least} node{'s' if least > 1 else ''} cost money all the time, also without a run"
    return HealthCheck(subject="compute", is_good=True, detail=detail)


def _environment(workspace: Workspace, job: Mapping[str, Json]) -> HealthCheck:
    node = next(iter(job["jobs"].values()))
    environment = (node.get("component") or node.get("trial") or {}).get("environment")
    if isinstance(environment, dict):
        image = str(environment.get("image"))
        registry = image.partition("/")[0]
        if "." not in registry:
            fix = "push the image of mlops package to a registry, and pass its address with --image"
            return HealthCheck(subject="environment", is_good=False, detail=f"{image!r} names no registry", fix=fix)
        detail = f"image {image}; whether the workspace can pull it shows the first node only"
        return HealthCheck(subject="environment", is_good=True, detail=detail)
    name, _, version = str(environment).removeprefix("azureml:").replace("@", ":").partition(":")
    try:
        if version == "latest":
            version = newest_version(workspace, "environments", name)
        is_there = workspace.asset("environments", name, version) is not None
    except RunnerError as error:
        fix = "write the build context of an image with mlops package, build and push it, and pass --image"
        return HealthCheck(subject="environment", is_good=False, detail=str(error), fix=fix)
    detail = f"{name}:{version} {'exists' if is_there else 'does not exist in the workspace'}"
    fix = "" if is_there else "az ml environment create, or pass --image"
    return HealthCheck(subject="environment", is_good=is_there, detail=detail, fix=fix)


def _rights(workspace: Workspace) -> HealthCheck:
    """Check the rights of the identity on the workspace, as the Resource Manager lists them."""
    try:
        granted = list(workspace.permissions())
    except RunnerError as error:
        if isinstance(error, ServiceError):
            return HealthCheck(subject="rights", is_good=True, detail=f"not checked: {error}")
        raise
    missing = [action for action in ACTIONS if not any(_allows(each, action) for each in granted)]
    if not missing:
        return HealthCheck(subject="rights", is_good=True, detail=f"all {len(ACTIONS)} actions are allowed")
    shown = ", ".join(missing[:_SHOWN]) + (f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else "")
    return HealthCheck(subject="rights", is_good=False, detail=f"not allowed: {shown}", fix=_ROLE)


def _allows(permission: Json, action: str) -> bool:
    """Return whether an entry of the permissions allows an action; patterns have ``*`` for any text."""
    allowed = any(_matches(pattern, action) for pattern in permission.get("actions") or ())
    return allowed and not any(_matches(pattern, action) for pattern in permission.get("notActions") or ())


def _matches(pattern: str, action: str) -> bool:
    parts = pattern.lower().split("*")
    text = action.lower()
    if len(parts) == 1:
        return text == parts[0]
    if not text.startswith(parts[0]) or not text.endswith(parts[-1]) or len(text) < len(parts[0]) + len(parts[-1]):
        return False
    position = len(parts[0])
    for part in parts[1:-1]:
        found = text.find(part, position, len(text) - len(parts[-1]))
        if found < 0:
            return False
        position = found + len(part)
    return True


def _fix(error: RunnerError, fix: str) -> str:
    return _ROLE if isinstance(error, ServiceError) and error.is_denied else fix
