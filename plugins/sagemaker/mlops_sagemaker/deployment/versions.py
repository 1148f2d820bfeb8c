"""Model packages as model versions: which one is wanted, what it contains, and how its approval is now."""

from __future__ import annotations

import json
import re
import shutil
import tarfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_core import UsageError
from mlops_core.deployments import ApprovalStatus, ModelReference
from mlops_core.runners import RunnerError
from mlops_sagemaker.service.account import code_of, faults
from mlops_sagemaker.service.results import download
from mlops_sagemaker.service.uris import S3Uri

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlops_core.runners import Store
    from mlops_sagemaker.service.account import Account

_ARN = re.compile(r"arn:aws[a-z-]*:sagemaker:([a-z0-9-]*):\d{12}:model-package/([^/]+)/(\d+)\Z")
_USE_CASE = "use_case"
_COMPLETED = "Completed"
_GZIP = "Gzip"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagedModel:
    """A version of a model package group.

    Attributes:
        arn: of the model package.
        version: its number in the group.
        approval: as it was read.
        container: the only container of its inference specification.
        instance_types: on which it may be deployed; empty for any.
        use_case: what the registration said; empty if it said nothing.
    """

    arn: str
    version: int
    approval: ApprovalStatus
    container: Mapping[str, Any]
    instance_types: tuple[str, ...]
    use_case: str = ""


class PackageVersions:
    """The versions of one model package group."""

    def __init__(self, account: Account, group: str, *, store: Store) -> None:
        """Use a group of an account; the files of models are kept as artifacts of `store`."""
        self._account = account
        self._store = store
        self._artifacts: dict[str, str] = {}
        self.group = group

    def find(self, use_case: str, wanted: str | None) -> PackagedModel | None:
        """Return a version; None if the group does not exist or has never had it.

        Args:
            use_case: of which the version must be.
            wanted: its number or its ARN; None for the newest that is not rejected.

        Raises:
            UsageError: it was deleted, is of another use case, or cannot be deployed.
            RunnerError: the service refuses.
        """
        if wanted is None:
            arn = self._newest()
        elif wanted.isdecimal():
            arn = self._numbered(int(wanted))
        elif wanted.startswith("arn:"):
            arn = self._checked_arn(wanted)
        else:
            return None
        package = self._described(arn) if arn else None
        if package is not None and package.use_case not in ("", use_case):
            raise UsageError(f"model package {package.arn} is of use case '{package.use_case}', not of '{use_case}'")
        return package

    def reference(self, use_case: str, package: PackagedModel) -> ModelReference:
        """Return a version as core knows it, with the digest of its files."""
        return ModelReference(
            use_case=use_case,
            version=package.version,
            artifact=self._artifact(package),
            approval=package.approval,
            location=package.arn,
        )

    # --- Which one ----------------------------------------------------------------------------------------

    def _newest(self) -> str:
        """Return the newest version that is not rejected; without an order, the service lists the oldest first."""
        for item in self._listed():
            if item.get("ModelApprovalStatus") != ApprovalStatus.REJECTED:
                return str(item["ModelPackageArn"])
        return ""

    def _numbered(self, number: int) -> str:
        """Return the version of a number; empty if there was never one.

        Raises:
            UsageError: it was deleted.
        """
        highest = 0
        for item in self._listed():
            highest = max(highest, int(item["ModelPackageVersion"]))
            if int(item["ModelPackageVersion"]) == number:
                return str(item["ModelPackageArn"])
        if number < highest:
            raise UsageError(
                f"version {number} of model package group '{self.group}' was deleted; deploy another version: the "
                f"newest is {highest}"
            )
        return ""

    def _listed(self) -> list[Mapping[str, Any]]:
        """Return the versions of the group, newest first; none if it does not exist."""
        try:
            return list(
                self._account.pages(
                    "sagemaker",
                    "list_model_packages",
                    "ModelPackageSummaryList",
                    ModelPackageGroupName=self.group,
                    SortBy="CreationTime",
                    SortOrder="Descending",
                )
            )
        except RunnerError as error:
            if is_missing(error):
                return []
            raise

    def _checked_arn(self, arn: str) -> str:
        match = _ARN.match(arn)
        if match is None:
            raise UsageError(f"{arn!r} is not the ARN of a version of a model package group")
        if match[2] != self.group.lower():
            raise UsageError(
                f"model package {arn} belongs to group '{match[2]}', not to '{self.group}'; see "
                "account.model_package_group in the settings file"
            )
        return arn

    def _described(self, arn: str) -> PackagedModel:
        try:
            data = self._account.call("sagemaker", "describe_model_package", ModelPackageName=arn)
        except RunnerError as error:
            if is_missing(error):
                raise UsageError(f"model package {arn} was deleted; deploy another version") from error
            raise
        containers = data.get("InferenceSpecification", {}).get("Containers", [])
        if len(containers) != 1 or data.get("ModelPackageStatus") != _COMPLETED:
            raise UsageError(
                f"model package {arn} cannot be deployed: it has {len(containers)} containers and is "
                f"{data.get('ModelPackageStatus')}; expected one container and {_COMPLETED}"
            )
        specification = data["InferenceSpecification"]
        return PackagedModel(
            arn=arn,
            version=int(data["ModelPackageVersion"]),
            approval=ApprovalStatus(data["ModelApprovalStatus"]),
            container={name: value for name, value in containers[0].items() if name in _KEPT},
            instance_types=tuple(specification.get("SupportedRealtimeInferenceInstanceTypes", ())),
            use_case=data.get("CustomerMetadataProperties", {}).get(_USE_CASE, ""),
        )

    # --- Its files ----------------------------------------------------------------------------------------

    def _artifact(self, package: PackagedModel) -> str:
        """Return the digest of the model's files, with which the workspace recognizes a version of its own."""
        source = package.container.get("ModelDataSource", {}).get("S3DataSource", {})
        uri = str(package.container.get("ModelDataUrl") or source.get("S3Uri") or "")
        is_archive = bool(package.container.get("ModelDataUrl")) or source.get("CompressionType") == _GZIP
        if not uri:
            raise UsageError(f"model package {package.arn} has no model data")
        key = json.dumps([uri, self._listing(uri)])
        if key not in self._artifacts:
            work = self._store.work_folder("deployed-model")
            try:
                _fetch(self._account, uri, work / "files", is_archive=is_archive)
                self._artifacts[key] = self._store.artifacts.add(work / "files")
            finally:
                shutil.rmtree(work, ignore_errors=True)
        return self._artifacts[key]

    def _listing(self, uri: str) -> list[list[str]]:
        place = S3Uri.parse(uri)
        items = self._account.pages("s3", "list_objects_v2", "Contents", Bucket=place.bucket, Prefix=place.key)
        listed = [[str(item["Key"]), str(item["ETag"])] for item in items]
        if not listed:
            raise UsageError(f"{uri}: the files of the model are gone; run the use case again")
        return listed


_KEPT = ("Image", "ModelDataUrl", "ModelDataSource", "Environment", "ContainerHostname")


def is_missing(error: BaseException) -> bool:
    """Return whether the service said that something does not exist; it has no error code of its own for that."""
    text = str(error)
    return code_of(error) in ("ResourceNotFound", "ObjectNotFoundException") or (
        code_of(error) == "ValidationException" and ("Could not find" in text or "does not exist" in text)
    )


def _fetch(account: Account, uri: str, folder: Path, *, is_archive: bool) -> None:
    if not is_archive:
        download(account, uri, folder)
        return
    place, archive = S3Uri.parse(uri), folder.with_name("model.tar.gz")
    folder.mkdir(parents=True)
    with faults():
        account.client("s3").download_file(place.bucket, place.key, str(archive))
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{uri} is not an archive of a model: {error}") from error
