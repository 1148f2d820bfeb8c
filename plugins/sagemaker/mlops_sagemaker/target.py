"""The target of a run: pipeline name, role, bucket and image, from options, ``sagemaker.yaml`` and environment."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core import UsageError
from mlops_core.runners import read_settings
from mlops_sagemaker.compiler.definition import model_package_group
from mlops_sagemaker.settings import CompileSettings, load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_sagemaker.options import SageMakerOptions

_VARIABLES = {
    "role": "SAGEMAKER_PIPELINE_ROLE_ARN",
    "bucket": "ARTIFACT_BUCKET",
    "image": "MLOPS_STEP_IMAGE",
}
"""Environment variables of the SageMaker project templates; options and settings take precedence."""
_NAME_VARIABLE = "SAGEMAKER_PROJECT_NAME_ID"
_PIPELINE_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,255}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The target of a run.

    Attributes:
        pipeline: name of the pipeline at the service.
        role: ARN of the execution role.
        bucket: bucket for data and results.
        settings: settings with role, bucket and image set.
    """

    pipeline: str
    role: str
    bucket: str
    settings: CompileSettings


def find_target(use_case: str, options: SageMakerOptions) -> Target:
    """Return the target of a run of a use case.

    Raises:
        UsageError: role, bucket or image is missing, or the pipeline name is invalid.
        ConfigError: the settings are invalid.
    """
    settings = complete_settings(options)
    account = settings.account
    for name, advice in missing_names(settings).items():
        raise UsageError(f"no {name}: {advice}")
    pipeline = options.pipeline_name or read_settings().environ.get(_NAME_VARIABLE) or model_package_group(use_case)
    check_pipeline_name(pipeline)
    assert account.role and account.bucket  # noqa: S101, PT018  for mypy: checked above
    return Target(pipeline=pipeline, role=account.role, bucket=account.bucket, settings=settings)


def missing_names(settings: CompileSettings) -> dict[str, str]:
    """Return each of role, bucket and image that is not set -> where to set it."""
    return {
        name: f"pass --{name}, set account.{name} in the settings file, or set the variable {variable}"
        for name, variable in _VARIABLES.items()
        if getattr(settings.account, name) is None
    }


def complete_settings(options: SageMakerOptions) -> CompileSettings:
    """Return the settings, with missing names filled in from the variables of the project templates.

    Raises:
        ConfigError: the settings are invalid.
    """
    environ = read_settings().environ
    settings = load_settings(options.settings, overrides=options.settings_overrides, environ=environ)
    missing = [
        f'account.{name}="{environ[variable]}"'
        for name, variable in _VARIABLES.items()
        if getattr(settings.account, name) is None and environ.get(variable)
    ]
    if not missing:
        return settings
    return load_settings(options.settings, overrides=(*missing, *options.settings_overrides), environ=environ)


def check_pipeline_name(name: str) -> None:
    """Raise for a pipeline name that the service would refuse.

    Raises:
        UsageError: the name is invalid.
    """
    if not _PIPELINE_NAME.match(name):
        raise UsageError(
            f"{name!r} is not a valid pipeline name; expected letters and digits, separated by single hyphens, "
            "at most 256 characters"
        )


def pipeline_tags(settings: CompileSettings) -> list[Mapping[str, str]]:
    """Return the tags of the pipeline, which are those of its jobs."""
    return [{"Key": key, "Value": value} for key, value in sorted(settings.account.tags.items())]
