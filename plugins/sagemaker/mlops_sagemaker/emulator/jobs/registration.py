"""Creates the model packages and models of ``RegisterModel`` and ``Model`` steps.

A `ModelRegistrar` determines where they are stored: in a folder, or in the endpoint that started the execution.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any, Protocol

from mlops_core.runners import write_atomically
from mlops_sagemaker.emulator.faults import FaultKind, StepFault
from mlops_sagemaker.emulator.jobs.common import JobPlace, JobResult, job_name
from mlops_sagemaker.emulator.objects import parse_uri
from mlops_sagemaker.emulator.paths import require_entity

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

APPROVALS = ("Approved", "Rejected", "PendingManualApproval")


class ModelRegistrar(Protocol):
    """A registry for model packages and models."""

    def register(self, request: Mapping[str, Any], place: JobPlace) -> str:
        """Create a model package from the arguments of ``CreateModelPackage``, atomically, and return its ARN."""

    def create_model(self, name: str, request: Mapping[str, Any], place: JobPlace) -> str:
        """Create a model from the arguments of ``CreateModel`` and return its ARN."""

    def find_model(self, name: str) -> Mapping[str, Any] | None:
        """Return the arguments with which a model was created; None if it does not exist."""


class FolderRegistrar:
    """Stores each package in ``<folder>/<group>/<version>.json``."""

    def __init__(self, folder: Path) -> None:
        """Store the packages in `folder`."""
        self._folder = folder
        self._lock = threading.Lock()

    def register(self, request: Mapping[str, Any], place: JobPlace) -> str:
        """Write the package as the next version of its group."""
        name = str(request["ModelPackageGroupName"])
        name = name.rpartition("/")[2] if name.startswith("arn:") else name
        group = self._folder / require_entity(name, what="ModelPackageGroupName")
        with self._lock:
            group.mkdir(parents=True, exist_ok=True)
            version = 1 + max((int(path.stem) for path in group.glob("*.json")), default=0)
            arn = f"{place.arn_prefix}:model-package/{group.name.lower()}/{version}"
            package = {**request, "ModelPackageArn": arn, "ModelPackageVersion": version}
            write_atomically(group / f"{version}.json", json.dumps(package, indent=1, sort_keys=True))
        return arn

    def create_model(self, name: str, request: Mapping[str, Any], place: JobPlace) -> str:
        """Write the model to a file with its name."""
        require_entity(name, what="ModelName")
        arn = f"{place.arn_prefix}:model/{name.lower()}"
        self._folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**request, "ModelName": name, "ModelArn": arn}, indent=1, sort_keys=True)
        write_atomically(self._folder / f"model-{name}.json", text)
        return arn

    def find_model(self, name: str) -> Mapping[str, Any] | None:
        """Return the contents of the file with the model's name."""
        path = self._folder / f"model-{require_entity(name, what='ModelName')}.json"
        if not path.is_file():
            return None
        model: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return model


def run_registration(request: Mapping[str, Any], place: JobPlace, registrar: ModelRegistrar) -> JobResult:
    """Execute a ``RegisterModel`` step, after checking that its model data exists.

    Raises:
        StepFault: the group is missing, the approval status is unknown, or the model data does not exist.
    """
    approval = request.get("ModelApprovalStatus", "PendingManualApproval")
    if approval not in APPROVALS:
        raise StepFault(FaultKind.CLIENT, f"ModelApprovalStatus: '{approval}' is not one of {', '.join(APPROVALS)}")
    if not request.get("ModelPackageGroupName"):
        raise StepFault(FaultKind.CLIENT, "RegisterModel without ModelPackageGroupName")
    _require_data(request, place)
    arn = registrar.register(request, place)
    properties = {**request, "ModelPackageArn": arn, "ModelPackageStatus": "Completed", "ModelApprovalStatus": approval}
    return JobResult(properties=properties, metadata={"RegisterModel": {"Arn": arn}})


def _require_data(request: Mapping[str, Any], place: JobPlace) -> None:
    containers = (request.get("InferenceSpecification") or {}).get("Containers") or ()
    for container in containers:
        source = (container.get("ModelDataSource") or {}).get("S3DataSource") or {}
        uri = container.get("ModelDataUrl") or source.get("S3Uri")
        if uri and next(iter(place.objects.keys(parse_uri(uri))), None) is None:
            raise StepFault(FaultKind.CLIENT, f"Could not find model data at {uri}")


def run_model_creation(step: str, request: Mapping[str, Any], place: JobPlace, registrar: ModelRegistrar) -> JobResult:
    """Execute a ``Model`` step."""
    name = str(request.get("ModelName") or job_name(place, step))
    arn = registrar.create_model(name, request, place)
    return JobResult(properties={**request, "ModelName": name, "ModelArn": arn}, metadata={"Model": {"Arn": arn}})
