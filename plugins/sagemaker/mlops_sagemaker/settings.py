"""What a definition needs to know of an account, and what a user may change of its steps: ``sagemaker.yaml``.

Nothing is required: what is not set becomes a parameter without default, to be given when an execution is started.
The file is read and checked as every configuration is, so a fault is named with its line.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pydantic

from mlops_core import ConfigError, Section, UseCaseConfig
from mlops_core.runners import load_config

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[A-Za-z0-9+=,.@/_-]+\Z")
_PREFIX = re.compile(r"[A-Za-z0-9!_.*'()-]+(/[A-Za-z0-9!_.*'()-]+)*\Z")

InstanceType = Annotated[str, pydantic.StringConstraints(pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9-]+$")]
Seconds = Annotated[int, pydantic.Field(gt=0)]


class StepSettings(Section):
    """What is changed of one step's job; what is not set comes from the plugin's `Resources`.

    Attributes:
        instance_type: of its machines.
        volume_gb: of each machine's disk.
        timeout_s: of each attempt of the step.
        spot: use spare capacity; training only.
        max_wait_s: for spare capacity and the training together; needs `spot`.
        checkpoints: keep ``/opt/ml/checkpoints`` of a training in S3, so that an interrupted one goes on.
        cache: take the service's former result of an unchanged step.
        sharded_inputs: inputs of which each machine gets a share of the files instead of all; the step then works on
            all that it sees. For steps with ``shards`` that treat each file by itself.
        environment: variables of the container.
        raw: merged over the step's JSON, last: whatever is not modelled here.
    """

    instance_type: InstanceType | None = None
    volume_gb: Annotated[int, pydantic.Field(gt=0, le=16_384)] | None = None
    timeout_s: Seconds | None = None
    spot: bool = False
    max_wait_s: Seconds | None = None
    checkpoints: bool = False
    cache: bool = True
    sharded_inputs: tuple[str, ...] = ()
    environment: dict[str, str] = pydantic.Field(default_factory=dict)
    raw: dict[str, Any] = pydantic.Field(default_factory=dict)

    @pydantic.model_validator(mode="after")
    def _check_spot(self) -> StepSettings:
        if self.max_wait_s is not None and not self.spot:
            raise ValueError("max_wait_s needs spot: true")
        return self


class InferenceSettings(Section):
    """How a registered model may be used.

    Attributes:
        image: that serves the model; the steps' image where it is not set.
        content_types: of requests.
        response_types: of answers.
        realtime_instances: machines for an endpoint.
        transform_instances: machines for batch transform.
    """

    image: str | None = None
    content_types: tuple[str, ...] = ("application/json",)
    response_types: tuple[str, ...] = ("application/json",)
    realtime_instances: tuple[InstanceType, ...] = ("ml.m5.large",)
    transform_instances: tuple[InstanceType, ...] = ("ml.m5.large",)


class AccountSettings(Section):
    """Names of an account; each set one becomes the default of a parameter.

    Attributes:
        role: ARN of the role that the jobs assume.
        bucket: for data sets, results and models.
        image: URI of the image that holds core and the plugin.
        prefix: of all results in the bucket; the use case's name where it is not set.
        model_package_group: where accepted models are registered; the use case's name where it is not set.
        approval_status: of a new model version.
        subnets: of a private network; with `security_groups`.
        security_groups: of that network.
        network_isolation: jobs may not use the network at all.
        encrypt_traffic: between the machines of one job.
        kms_key: encrypts results in S3.
        volume_kms_key: encrypts the machines' disks.
        tags: of every job.
        cache_days: how old a reused result may be; 0 for no reuse.
        max_parallel_steps: of one execution; None for the service's default.
    """

    role: str | None = None
    bucket: str | None = None
    image: str | None = None
    prefix: str | None = None
    model_package_group: (
        Annotated[str, pydantic.StringConstraints(pattern=r"^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}$")] | None
    ) = None
    approval_status: Literal["PendingManualApproval", "Approved", "Rejected"] = "PendingManualApproval"
    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    network_isolation: bool = False
    encrypt_traffic: bool = False
    kms_key: str | None = None
    volume_kms_key: str | None = None
    tags: dict[str, str] = pydantic.Field(default_factory=dict)
    cache_days: Annotated[int, pydantic.Field(ge=0, le=3650)] = 30
    max_parallel_steps: Annotated[int, pydantic.Field(ge=1)] | None = None

    @pydantic.field_validator("role")
    @classmethod
    def _check_role(cls, value: str | None) -> str | None:
        if value is not None and not _ROLE.match(value):
            raise ValueError("not the ARN of a role, such as arn:aws:iam::111122223333:role/Name")
        return value

    @pydantic.field_validator("bucket")
    @classmethod
    def _check_bucket(cls, value: str | None) -> str | None:
        if value is not None and (not _BUCKET.match(value) or ".." in value):
            raise ValueError("not the name of a bucket: 3 to 63 lower-case letters, digits, dots and hyphens, no s3://")
        return value

    @pydantic.field_validator("prefix")
    @classmethod
    def _check_prefix(cls, value: str | None) -> str | None:
        if value is not None and not _PREFIX.match(value):
            raise ValueError("not a prefix of keys: parts joined by '/', none at the ends")
        return value

    @pydantic.model_validator(mode="after")
    def _check_network(self) -> AccountSettings:
        if bool(self.subnets) != bool(self.security_groups):
            raise ValueError("subnets and security_groups must be set together")
        return self


class CompileSettings(UseCaseConfig):
    """All of ``sagemaker.yaml``.

    Attributes:
        account: names and defaults.
        inference: how a registered model may be used.
        steps: step -> what is changed of it.
        raw_steps: further steps as JSON, passed through as they are.
    """

    account: AccountSettings = AccountSettings()
    inference: InferenceSettings = InferenceSettings()
    steps: dict[str, StepSettings] = pydantic.Field(default_factory=dict)
    raw_steps: tuple[dict[str, Any], ...] = ()


def load_settings(
    path: Path | None = None, *, overrides: Sequence[str] = (), environ: Mapping[str, str] | None = None
) -> CompileSettings:
    """Return the settings of the file `path`, with overrides such as ``account.bucket=name``.

    Raises:
        ConfigError: every fault at once, each with file, line and key.
    """
    try:
        loaded = load_config(CompileSettings, default=None, path=path, overrides=overrides, environ=environ or {})
    except ConfigError as error:  # which calls every override by the option of a use case's configuration
        raise ConfigError(str(error).replace("--set ", "--set-sagemaker ")) from error
    assert isinstance(loaded.model, CompileSettings)  # noqa: S101  for mypy: load_config has validated it
    return loaded.model
