"""The settings file ``azureml.yaml``: names of the workspace, computes, data that are there, and overrides of steps.

Every setting is optional. Names that are not set come from the environment variables of existing projects
(`VARIABLES`), then from the defaults here. The file is loaded like every configuration, so errors name the line.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pydantic

from mlops_core import ConfigError, Section, UseCaseConfig
from mlops_core.runners import load_config

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

VARIABLES = {
    "workspace.subscription_id": "SUBSCRIPTION_ID",
    "workspace.resource_group": "RESOURCE_GROUP_NAME",
    "workspace.workspace_name": "WORKSPACE_NAME",
    "workspace.tenant_id": "AZURE_TENANT_ID",
    "workspace.datastore": "DATA_STORE_NAME",
    "workspace.image": "MLOPS_STEP_IMAGE",
    "workspace.serving_image": "MLOPS_SERVING_IMAGE",
    "workspace.model_name": "MODEL_BASE_NAME",
    "workspace.build_id": "BUILD_ID",
    "workspace.build_source": "BUILD_SOURCE",
    "computes.cpu": "PIPELINE_CPU_COMPUTE_NAME",
    "computes.gpu": "TRAINING_GPU_COMPUTE_NAME",
    "data.images": "INPUT_IMAGE_DATA_PATH",
    "data.labels": "INPUT_LABEL_DATA_PATH",
}
"""Setting -> the environment variable that fills it; the file and ``--set-azureml`` take precedence."""
DATA_VARIABLES = ("INPUT_IMAGE_DATA_PATH", "INPUT_LABEL_DATA_PATH")
"""Variables that name data in a datastore of a workspace."""
SERVERLESS = "serverless"
"""Name of the compute that the service provides for each step, instead of a cluster of the workspace."""

_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_WORKSPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{2,32}\Z")
_GROUP = re.compile(r"[\w().-]{0,89}[\w()-]\Z")
_COMPUTE = re.compile(r"[A-Za-z][A-Za-z0-9-]{1,31}(?<!-)\Z")
_DATASTORE = re.compile(r"[a-z0-9_]{1,255}\Z")
_ASSET = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}\Z")
_ENVIRONMENT = re.compile(r"azureml:[A-Za-z0-9][A-Za-z0-9_.-]{0,254}(:[A-Za-z0-9_.-]+|@latest)\Z")
_PREFIX = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*\Z")
_PATH = re.compile(r"(azureml:|https://|wasbs?://|abfss?://|file:|/|\.)\S*\Z")

Seconds = Annotated[int, pydantic.Field(gt=0)]


class WorkspaceSettings(Section):
    """Names of a workspace, and where models and results go.

    Attributes:
        subscription_id: id of the subscription.
        resource_group: name of the resource group.
        workspace_name: name of the workspace.
        tenant_id: id of the tenant; None for that of the login.
        datastore: datastore for data sets and results.
        image: address of the step image, which contains core and the plugin, in a container registry.
        serving_image: address of the image that serves models, for ``mlops deploy``.
        environment: environment of the workspace instead of `image`, such as ``azureml:mlops-aed:3``.
        experiment: name of the experiment; None for the name of the pipeline.
        prefix: path below the datastore for data sets and champions; None for the name of the pipeline.
        model_name: name under which accepted models are registered; None for the name of the pipeline.
        registration: who registers an accepted model: a node of the ``pipeline``, which needs the right to, or the
            ``driver``, which then has to wait for the end.
        build_id: id of the build, a tag of the model.
        build_source: what built it, a tag of the model.
        identity: identity with which the nodes reach the workspace; None for the default of their compute.
        input_mode: how inputs arrive in the containers: mounted or downloaded.
        reuse: allow the service to reuse the results of unchanged steps.
        tags: tags of the job.
    """

    subscription_id: str | None = None
    resource_group: str | None = None
    workspace_name: str | None = None
    tenant_id: str | None = None
    datastore: str = "workspaceblobstore"
    image: str | None = None
    serving_image: str | None = None
    environment: str | None = None
    experiment: str | None = None
    prefix: str | None = None
    model_name: str | None = None
    registration: Literal["pipeline", "driver"] = "pipeline"
    build_id: str = "local"
    build_source: str = "local"
    identity: Literal["managed", "user_identity"] | None = None
    input_mode: Literal["ro_mount", "download"] = "ro_mount"
    reuse: bool = True
    tags: dict[str, str] = pydantic.Field(default_factory=dict)

    @pydantic.field_validator("subscription_id", "tenant_id")
    @classmethod
    def _check_guid(cls, value: str | None) -> str | None:
        return _matched(value, _GUID, "expected 32 hexadecimal digits in five groups, as the portal shows it")

    @pydantic.field_validator("resource_group")
    @classmethod
    def _check_group(cls, value: str | None) -> str | None:
        return _matched(value, _GROUP, "expected letters, digits, '_', '-', '.', '(' and ')', without '.' at the end")

    @pydantic.field_validator("workspace_name")
    @classmethod
    def _check_workspace(cls, value: str | None) -> str | None:
        return _matched(value, _WORKSPACE, "expected 3 to 33 letters, digits, '-' and '_'")

    @pydantic.field_validator("datastore")
    @classmethod
    def _check_datastore(cls, value: str) -> str:
        _matched(value, _DATASTORE, "expected lower-case letters, digits and '_'")
        return value

    @pydantic.field_validator("experiment", "model_name")
    @classmethod
    def _check_name(cls, value: str | None) -> str | None:
        return _matched(value, _ASSET, "expected letters, digits, '_', '-' and '.', a letter or digit first")

    @pydantic.field_validator("environment")
    @classmethod
    def _check_environment(cls, value: str | None) -> str | None:
        return _matched(value, _ENVIRONMENT, "expected azureml:NAME:VERSION or azureml:NAME@latest")

    @pydantic.field_validator("prefix")
    @classmethod
    def _check_prefix(cls, value: str | None) -> str | None:
        if value is not None and {".", ".."} & set(value.split("/")):
            raise ValueError("not a path below a datastore; expected parts joined by '/', without '.' and '..'")
        return _matched(value, _PREFIX, "expected parts of letters, digits, '_', '-' and '.', joined by '/'")

    @pydantic.field_validator("image", "serving_image")
    @classmethod
    def _check_image(cls, value: str | None) -> str | None:
        if value is not None and (not value or "://" in value or value != "".join(value.split())):
            raise ValueError("not the address of an image; expected for example myregistry.azurecr.io/mlops:aed-1")
        return value

    @pydantic.model_validator(mode="after")
    def _check_image_or_environment(self) -> WorkspaceSettings:
        if self.image is not None and self.environment is not None:
            raise ValueError("image and environment cannot both be set")
        return self


class ComputeSettings(Section):
    """The clusters of the workspace that execute steps.

    Attributes:
        cpu: cluster for steps without accelerators, or ``serverless``.
        gpu: cluster for steps with accelerators, or ``serverless``.
        shm_gb: shared memory of the containers, in GB; None for the service's default.
    """

    cpu: str = "cpu-cluster"
    gpu: str = "gpu-cluster"
    shm_gb: Annotated[int, pydantic.Field(ge=1, le=1024)] | None = None

    @pydantic.field_validator("cpu", "gpu")
    @classmethod
    def _check_compute(cls, value: str) -> str:
        _matched(value, _COMPUTE, "expected 2 to 32 letters, digits and '-', a letter first, or serverless")
        return value


class DataSettings(Section):
    """Data that are already in a datastore; they are mounted, and this machine downloads nothing.

    Attributes:
        images: folder with images; a path such as ``azureml://datastores/workspaceblobstore/paths/data/images``.
        labels: folder with labels.
    """

    images: str | None = None
    labels: str | None = None

    @pydantic.field_validator("images", "labels")
    @classmethod
    def _check_path(cls, value: str | None) -> str | None:
        return _matched(value, _PATH, "expected azureml://datastores/NAME/paths/FOLDER, azureml:ASSET:VERSION or a URL")

    @pydantic.model_validator(mode="after")
    def _check_both(self) -> DataSettings:
        if (self.images is None) is not (self.labels is None):
            raise ValueError("images and labels must be set together (INPUT_IMAGE_DATA_PATH, INPUT_LABEL_DATA_PATH)")
        return self


class StepSettings(Section):
    """Overrides for the node of one step; anything not set comes from the plugin's `Resources`.

    Attributes:
        compute: cluster of the workspace, or ``serverless``.
        instance_type: VM size for serverless compute; None for the cheapest one that fits the step's resources.
        timeout_s: time limit per attempt, in seconds.
        reuse: allow the service to reuse an earlier result of the unchanged step.
        environment: environment variables of the container.
        assets: output -> name of the data asset as which the service registers it; the version follows from everything
            that decides its content, so that equal content has one version.
        raw: YAML that is merged over the compiled node, for anything that has no setting here.
    """

    compute: str | None = None
    instance_type: Annotated[str, pydantic.StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{2,63}$")] | None = None
    timeout_s: Seconds | None = None
    reuse: bool = True
    environment: dict[str, str] = pydantic.Field(default_factory=dict)
    assets: dict[str, Annotated[str, pydantic.StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,254}$")]] = (
        pydantic.Field(default_factory=dict)
    )
    raw: dict[str, Any] = pydantic.Field(default_factory=dict)

    @pydantic.field_validator("compute")
    @classmethod
    def _check_compute(cls, value: str | None) -> str | None:
        return _matched(value, _COMPUTE, "expected 2 to 32 letters, digits and '-', a letter first, or serverless")


class CompileSettings(UseCaseConfig):
    """The contents of ``azureml.yaml``.

    Attributes:
        workspace: names of the workspace.
        computes: the clusters.
        data: data that are already in a datastore.
        steps: overrides by step name.
        raw_jobs: additional nodes as YAML, added to the job unchanged.
    """

    workspace: WorkspaceSettings = WorkspaceSettings()
    computes: ComputeSettings = ComputeSettings()
    data: DataSettings = DataSettings()
    steps: dict[str, StepSettings] = pydantic.Field(default_factory=dict)
    raw_jobs: dict[str, dict[str, Any]] = pydantic.Field(default_factory=dict)


def load_settings(
    path: Path | None = None,
    *,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> CompileSettings:
    """Return the settings of the file `path`, with overrides such as ``workspace.image=name``.

    Args:
        path: settings file; None for none.
        overrides: texts ``KEY=VALUE``; they take precedence over the file.
        environ: the environment variables, for ``${NAME}`` in the file and for `VARIABLES`.

    Raises:
        ConfigError: the settings are invalid; lists all errors, each with file, line and key.
    """
    environ = environ or {}
    loaded = _loaded(path, overrides, environ)
    filled = [
        f"{key}={json.dumps(environ[variable])}"
        for key, variable in VARIABLES.items()
        if environ.get(variable) and not _is_set(loaded, key)
    ]
    if loaded.workspace.environment is not None:  # it stands for an image
        filled = [text for text in filled if not text.startswith("workspace.image=")]
    return _loaded(path, (*filled, *overrides), environ) if filled else loaded


def _loaded(path: Path | None, overrides: Sequence[str], environ: Mapping[str, str]) -> CompileSettings:
    try:
        loaded = load_config(CompileSettings, default=None, path=path, overrides=overrides, environ=environ)
    except ConfigError as error:  # core names the option of a use case's configuration
        raise ConfigError(str(error).replace("--set ", "--set-azureml ")) from error
    assert isinstance(loaded.model, CompileSettings)  # noqa: S101  for mypy: load_config has validated it
    return loaded.model


def _is_set(settings: CompileSettings, key: str) -> bool:
    section, _, name = key.partition(".")
    return name in getattr(settings, section).model_fields_set


def _matched(value: str | None, pattern: re.Pattern[str], expected: str) -> str | None:
    if value is not None and not pattern.match(value):
        raise ValueError(f"not a valid value; {expected}")
    return value
