"""Submits a compiled job: what it refers to first, then the job, under a name that makes a repetition harmless."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_azureml.service.bodies import job_bodies
from mlops_azureml.service.connection import ServiceError
from mlops_core.runners import RunnerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_azureml.service.bodies import JobBodies
    from mlops_azureml.service.workspace import Workspace

RUN_PROPERTY = "mlops.run"
"""Property of a job: the run that submitted it."""


def bodies_of(workspace: Workspace, data: Mapping[str, object]) -> JobBodies:
    """Return the requests for a compiled job; references to newest versions are resolved in the workspace.

    Raises:
        RunnerError: an asset that the job refers to does not exist.
    """
    return job_bodies(data, workspace.id, latest=lambda kind, name: newest_version(workspace, kind, name))


def newest_version(workspace: Workspace, kind: str, name: str) -> str:
    """Return the newest version of an asset.

    Raises:
        RunnerError: the asset does not exist.
    """
    newest = next(workspace.versions(kind, name), None)
    if newest is None:
        advice = {
            "environments": "create it from the image of mlops package, or pass --image",
            "data": "register it, or name another one",
        }.get(kind, "create it")
        what = {"environments": "environment", "data": "data asset"}.get(kind, kind.removesuffix("s"))
        raise RunnerError(f"{what} '{name}' does not exist in workspace '{workspace.id.name}'; {advice}")
    return str(newest["name"])


def submit(workspace: Workspace, bodies: JobBodies, *, name: str, run_id: str) -> None:
    """Create the job `name`; one that this run has submitted already is left as it is.

    Args:
        workspace: where to.
        bodies: the requests.
        name: name of the job.
        run_id: the run that submits it.

    Raises:
        RunnerError: the workspace refuses, or a job of another run has the name.
    """
    for asset in bodies.assets:
        workspace.put_asset(asset.kind, asset.name, asset.version, dict(asset.properties))
    properties = {**bodies.properties, "properties": {RUN_PROPERTY: run_id}}
    try:
        created = workspace.put_job(name, properties)
    except ServiceError as error:
        created = workspace.job(name) if error.status in (400, 409) else None
        if created is None:
            raise
    owner = ((created.get("properties") or {}).get("properties") or {}).get(RUN_PROPERTY, run_id)
    if owner != run_id:
        raise RunnerError(f"job {name} exists in workspace '{workspace.id.name}' and belongs to run {owner}")


def job_name(run_id: str, *, token: str = "") -> str:
    """Return the name of the job of a run: that of the run, and a mark for each continuation."""
    name = "".join(each if each.isalnum() or each in "-_" else "-" for each in run_id)
    return f"{name}-{hashlib.sha256(token.encode()).hexdigest()[:8]}" if token else name


def stamped(bodies: JobBodies, **tags: str) -> JobBodies:
    """Return the requests with more tags of the job."""
    properties = dict(bodies.properties)
    properties["tags"] = {**properties["tags"], **tags}
    return replace(bodies, properties=properties)
