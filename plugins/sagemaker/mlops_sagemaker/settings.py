"""The settings file ``sagemaker.yaml``: names of the account, and overrides of single steps.

Every setting is optional. An account name that is not set becomes a pipeline parameter without a default and must be
passed when an execution is started. The file is loaded like every configuration, so errors name the line.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pydantic

from mlops_core import ConfigError, Section, UseCaseConfig
from mlops_core.runners import load_config
from mlops_core.runners.remote.secrets import names_secret
from mlops_sagemaker.values.account import bucket_fault
from mlops_sagemaker.values.durations import duration_fix, parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[A-Za-z0-9+=,.@/_-]+\Z")
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_PREFIX = re.compile(r"[A-Za-z0-9!_.'()-]+(/[A-Za-z0-9!_.'()-]+)*\Z")

InstanceType = Annotated[str, pydantic.StringConstraints(pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9-]+$")]
Seconds = Annotated[int, pydantic.Field(gt=0)]


class StepSettings(Section):
    """Overrides for the job of one step; anything not set comes from the plugin's `Resources`.

    Attributes:
        instance_type: machine type; None for the cheapest one that fits the step's resources.
        volume_gb: disk size per machine, in GB.
        timeout_s: time limit per attempt, in seconds.
        spot: use spot capacity; training steps only.
        max_wait_s: time limit for waiting and training together, in seconds; requires `spot`.
        checkpoints: keep ``/opt/ml/checkpoints`` in S3, so that an interrupted training resumes; training steps only.
        cache: allow the service to reuse an earlier result of the unchanged step.
        sharded_inputs: inputs whose files are distributed over the machines instead of copied to each. For steps with
            ``shards`` that process each file independently.
        environment: environment variables of the container.
        raw: JSON that is merged over the compiled step, for anything that has no setting here.
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
    """The inference specification of a registered model.

    Attributes:
        image: image that serves the model; None for the step image.
        content_types: content types of requests.
        response_types: content types of responses.
        realtime_instances: machine types for endpoints.
        transform_instances: machine types for batch transform.
    """

    image: str | None = None
    content_types: tuple[str, ...] = ("application/json",)
    response_types: tuple[str, ...] = ("application/json",)
    realtime_instances: tuple[InstanceType, ...] = ("ml.m5.large",)
    transform_instances: tuple[InstanceType, ...] = ("ml.m5.large",)


class LabelSettings(Section):
    """The table with the labels of a data set without a folder per class.

    Attributes:
        file: relative path of the CSV table in the data set.
        sample: column with the sample: its name or, for a table without names, its position from 0.
        label: column with the label, likewise.
    """

    file: str
    sample: str
    label: str


class IngestSettings(Section):
    """The step ``ingest``, which makes the data set of an execution from what has arrived in S3.

    Attributes:
        enabled: compile the step, and the parameters ``DatasetUri`` and ``DatasetVersion``.
        dataset_uri: default of ``DatasetUri``: an object or, with a slash at its end, a prefix; None for the place to
            which `mlops run` uploads the data set.
        annotations_uri: prefix with annotations, below which there is at least one object; None for none.
        labels: where labels are; None for a folder per class.
        instance_type: machine type.
        volume_gb: disk size, in GB; the data is on it twice.
    """

    enabled: bool = False
    dataset_uri: Annotated[str, pydantic.StringConstraints(pattern=r"^s3://[a-z0-9][a-z0-9.-]+/.+$")] | None = None
    annotations_uri: Annotated[str, pydantic.StringConstraints(pattern=r"^s3://[a-z0-9][a-z0-9.-]+/.+/$")] | None = None
    labels: LabelSettings | None = None
    instance_type: InstanceType = "ml.m5.xlarge"
    volume_gb: Annotated[int, pydantic.Field(gt=0, le=16_384)] = 100


class AccountSettings(Section):
    """Names and defaults of an account; each name that is set becomes the default of a pipeline parameter.

    Attributes:
        role: ARN of the execution role of the jobs.
        bucket: bucket for data sets, results and models.
        image: URI of the step image, which contains core and the plugin.
        prefix: key prefix of all results; None for the name of the pipeline.
        model_package_group: group in which accepted models are registered; None for the name of the use case.
        approval_status: approval status of a new model version.
        subnets: subnets of a private network; requires `security_groups`.
        security_groups: security groups of that network.
        network_isolation: deny the jobs all network access.
        encrypt_traffic: encrypt the traffic between the machines of a job.
        kms_key: KMS key for results in S3.
        volume_kms_key: KMS key for the disks of the machines.
        tags: tags of the pipeline and of every job.
        cache_days: maximum age of a reused result, in days; 0 disables reuse.
        cache_expires: the same as an ISO 8601 duration such as ``PT12H``, instead of `cache_days`.
        max_parallel_steps: number of steps of an execution to run in parallel; None for the service's default.
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
    cache_expires: str | None = None
    max_parallel_steps: Annotated[int, pydantic.Field(ge=1)] | None = None

    @pydantic.field_validator("role")
    @classmethod
    def _check_role(cls, value: str | None) -> str | None:
        if value is not None and not _ROLE.match(value):
            raise ValueError("not the ARN of a role; expected for example arn:aws:iam::111122223333:role/Name")
        return value

    @pydantic.field_validator("bucket")
    @classmethod
    def _check_bucket(cls, value: str | None) -> str | None:
        if value is not None and (fault := bucket_fault(value)):
            raise ValueError(fault.removeprefix("is "))
        return value

    @pydantic.field_validator("prefix")
    @classmethod
    def _check_prefix(cls, value: str | None) -> str | None:
        if value is not None and (not _PREFIX.match(value) or {".", ".."} & set(value.split("/"))):
            raise ValueError(
                "not a valid key prefix; expected parts joined by '/', without '/' at either end, '..' and '*'"
            )
        return value

    @pydantic.field_validator("cache_expires")
    @classmethod
    def _check_duration(cls, value: str | None) -> str | None:
        if value is not None and parse_duration(value) is None:
            raise ValueError(f"not a duration; {duration_fix(value)}")
        return value

    @property
    def cache_duration(self) -> str:
        """The maximum age of a reused result as a duration of the definition; empty if results are not reused."""
        return self.cache_expires or (f"P{self.cache_days}D" if self.cache_days else "")

    @pydantic.model_validator(mode="after")
    def _check_cache(self) -> AccountSettings:
        if self.cache_expires is not None and "cache_days" in self.model_fields_set:
            raise ValueError("cache_days and cache_expires cannot both be set")
        return self

    @pydantic.model_validator(mode="after")
    def _check_network(self) -> AccountSettings:
        if bool(self.subnets) != bool(self.security_groups):
            raise ValueError("subnets and security_groups must be set together")
        return self


class CompileSettings(UseCaseConfig):
    """The contents of ``sagemaker.yaml``.

    Attributes:
        account: names and defaults of the account.
        inference: inference specification of a registered model.
        ingest: the step that makes the data set from what has arrived.
        steps: overrides by step name.
        raw_steps: additional steps as JSON, added to the definition unchanged.
    """

    account: AccountSettings = AccountSettings()
    inference: InferenceSettings = InferenceSettings()
    ingest: IngestSettings = IngestSettings()
    steps: dict[str, StepSettings] = pydantic.Field(default_factory=dict)
    raw_steps: tuple[dict[str, Any], ...] = ()


def load_settings(
    path: Path | None = None, *, overrides: Sequence[str] = (), environ: Mapping[str, str] | None = None
) -> CompileSettings:
    """Return the settings of the file `path`, with overrides such as ``account.bucket=name``.

    Raises:
        ConfigError: the settings are invalid; lists all errors, each with file, line and key.
    """
    try:
        loaded = load_config(CompileSettings, default=None, path=path, overrides=overrides, environ=environ or {})
    except ConfigError as error:  # core names the option of a use case's configuration
        raise ConfigError(str(error).replace("--set ", "--set-sagemaker ")) from error
    _refuse_secrets(loaded.secrets)
    assert isinstance(loaded.model, CompileSettings)  # noqa: S101  for mypy: load_config has validated it
    return loaded.model


def _refuse_secrets(secrets: Mapping[str, str]) -> None:
    """Refuse settings from variables that name a secret: all settings become part of the definition.

    Raises:
        ConfigError: a setting does, with its key and variable.
    """
    for key, reference in secrets.items():
        variables = _VARIABLE.findall(reference)
        if any(map(names_secret, (key.rpartition(".")[2], *variables))):
            raise ConfigError(
                f"{key} ({reference or 'from the environment'}) is a secret, but settings become part of the "
                "definition, which everybody in the account can read; let the step fetch it with its role"
            )
