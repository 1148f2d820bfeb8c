"""Options of runs in an account, and the command-line options that they are read from."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_core import UsageError
from mlops_core.runners.remote.options import RemoteOptions, pipeline_name_option, prices_option, run_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    import click

from mlops_core.cli.options import HomePath

_ACCOUNT_NAMES = ("role", "bucket", "image")


@dataclass(frozen=True, slots=True, kw_only=True)
class SageMakerOptions(RemoteOptions):
    """Options of one run in an account.

    Attributes:
        region: AWS region; None for AWS_REGION, or the region of the profile.
    """

    region: str | None = None


def command_options(command: str) -> tuple[click.Option, ...]:
    """Return the options that a command of core accepts with ``--runner sagemaker``."""
    if command == "run":
        return (*account_options(), *run_options())
    if command == "doctor":
        return (*account_options(), pipeline_name_option())
    if command in ("estimate", "plan", "deploy"):
        return (*account_options(), prices_option())
    if command == "compile":
        return (*settings_options(), *_name_options())
    if command == "fetch":
        return (_region_option(),)
    return ()


def settings_options() -> tuple[click.Option, ...]:
    """Return ``--settings`` and ``--set-sagemaker``."""
    import click

    return (
        click.Option(
            ["--settings"],
            type=HomePath(dir_okay=False, path_type=Path),
            help="Settings file (sagemaker.yaml): account, overrides of steps, inference.",
        ),
        click.Option(
            ["--set-sagemaker", "settings_overrides"],
            multiple=True,
            metavar="KEY=VALUE",
            help="Override one setting, for example steps.train.spot=true. Repeatable.",
        ),
    )


def account_options() -> tuple[click.Option, ...]:
    """Return the options for an account: settings, role, bucket, image, region."""
    return (*settings_options(), *_name_options(), _region_option())


def _name_options() -> tuple[click.Option, ...]:
    import click

    return (
        click.Option(["--role"], help="ARN of the execution role of the jobs (default: SAGEMAKER_PIPELINE_ROLE_ARN)."),
        click.Option(["--bucket"], help="Bucket for data and results (default: ARTIFACT_BUCKET)."),
        click.Option(["--image"], help="URI of the step image (default: MLOPS_STEP_IMAGE)."),
    )


def _region_option() -> click.Option:
    import click

    return click.Option(["--region"], help="AWS region (default: AWS_REGION, or the region of the profile).")


def read_options(values: Mapping[str, Any]) -> SageMakerOptions:
    """Return the options from the values of `command_options`; role, bucket and image become settings.

    Raises:
        UsageError: a value is not an option of these runners.
    """
    known = {*_ACCOUNT_NAMES, *(item.name for item in fields(SageMakerOptions))}
    for name in values:
        if name not in known:
            raise UsageError(f"runners of mlops-sagemaker have no option '{name}'; leave it out")
    present = {name: value for name, value in values.items() if value is not None}
    names = {name: present.pop(name, None) for name in _ACCOUNT_NAMES}
    changes = tuple(f"account.{name}={json.dumps(value)}" for name, value in names.items() if value)
    present["settings_overrides"] = (*present.get("settings_overrides", ()), *changes)
    return SageMakerOptions(**present)
