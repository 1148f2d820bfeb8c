"""The bridge to azure-ai-ml: a compiled job as the SDK's ``PipelineJob``.

This is the only module that imports ``azure.ai.ml`` (extra ``sdk``), and only when its function is called. The SDK
reads the very text that `mlops compile` writes, so nothing is translated twice.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_core.runners import RunnerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mlops_azureml.compiler.job import PipelineJob

SdkObject = Any
"""An object of the SDK, which is not typed."""

_TELEMETRY = "AZUREML_SDKV2_TELEMETRY_OPTOUT"


def to_azure_pipeline(
    use_case: str,
    *,
    config: Path | str | None = None,
    overrides: Sequence[str] = (),
    parameters: Mapping[str, str] | None = None,
    settings: Path | None = None,
    settings_overrides: Sequence[str] = (),
) -> SdkObject:
    """Return the pipeline of a use case as an ``azure.ai.ml.entities.PipelineJob``, without any request.

    ``MLClient(...).jobs.create_or_update(to_azure_pipeline("AED"))`` submits it.

    Args:
        use_case: name of the use case.
        config: path of a ``user_config.yaml``.
        overrides: overrides of the configuration, such as ``"training.epochs=3"``.
        parameters: parameter values by name; they become inputs of the job.
        settings: an ``azureml.yaml``.
        settings_overrides: texts such as ``"workspace.image=registry.azurecr.io/mlops:1"``.

    Raises:
        RunnerError: the SDK is not installed, or does not accept the job.
        ConfigError: configuration, parameters or settings are invalid.
    """
    from mlops_azureml.compiler.job import compile_pipeline
    from mlops_azureml.settings import load_settings
    from mlops_core import prepare_run
    from mlops_core.runners import read_settings

    request = prepare_run(use_case, config=config, overrides=overrides, parameters=parameters)
    loaded = load_settings(settings, overrides=settings_overrides, environ=read_settings().environ)
    return sdk_job(compile_pipeline(request, loaded))


def sdk_job(job: PipelineJob) -> SdkObject:
    """Return the SDK's object for a compiled job.

    Raises:
        RunnerError: the SDK is not installed, or does not accept the job.
    """
    with _without_telemetry(), tempfile.TemporaryDirectory(prefix="mlops-azureml-") as folder:
        load_job = _load_job()
        path = Path(folder) / "job.yml"
        path.write_text(job.to_text(), encoding="utf-8")
        try:
            return load_job(path)
        except Exception as error:  # the SDK raises its own classes, marshmallow's and the standard library's
            reason = " ".join(str(error).split())[:300]
            raise RunnerError(f"azure-ai-ml does not accept the job: {reason}; update mlops-azureml[sdk]") from error


def _load_job() -> Any:
    try:
        from azure.ai.ml import load_job
    except ImportError as error:
        raise RunnerError(f"the Azure ML SDK cannot be imported: {error}; pip install 'mlops-azureml[sdk]'") from error
    return load_job


@contextlib.contextmanager
def _without_telemetry() -> Iterator[None]:
    """Set the SDK's switch against telemetry, and restore the environment."""
    former = os.environ.get(_TELEMETRY)
    os.environ[_TELEMETRY] = "true"
    try:
        yield
    finally:
        if former is None:
            del os.environ[_TELEMETRY]
        else:
            os.environ[_TELEMETRY] = former
