"""The bridge to the SageMaker SDK (version 3): a compiled definition as the SDK's ``Pipeline``.

This is the only module that imports ``sagemaker`` (extra ``sdk``), and only when one of its functions is called.
Parameters, conditions, property files and the Fail step become objects of the SDK; every job becomes a step whose
arguments are the compiled JSON. `Pipeline.definition()` therefore equals the output of `mlops compile`.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any

from mlops_core import UsageError
from mlops_core.runners import RunnerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from mlops_sagemaker.compiler.definition import Definition

SdkObject = Any
"""An object of the SDK, which is not typed."""

_REGION_VARIABLE = "AWS_DEFAULT_REGION"
_TELEMETRY_OFF = {
    "SchemaVersion": "1.0",
    "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
}
_COMPARISONS = {
    "Equals": "ConditionEquals",
    "GreaterThan": "ConditionGreaterThan",
    "GreaterThanOrEqualTo": "ConditionGreaterThanOrEqualTo",
    "LessThan": "ConditionLessThan",
    "LessThanOrEqualTo": "ConditionLessThanOrEqualTo",
}
_PROPERTIES = {
    "Processing": "DescribeProcessingJobResponse",
    "Training": "DescribeTrainingJobResponse",
    "Transform": "DescribeTransformJobResponse",
    "Model": "DescribeModelOutput",
    "RegisterModel": "DescribeModelPackageOutput",
}


def to_sagemaker_pipeline(
    use_case: str,
    *,
    name: str | None = None,
    config: Path | str | None = None,
    overrides: Sequence[str] = (),
    parameters: Mapping[str, str] | None = None,
    **account: Any,
) -> SdkObject:
    """Return the pipeline of a use case as a ``sagemaker.mlops.workflow.pipeline.Pipeline``, without calling AWS.

    Args:
        use_case: name of the use case.
        name: name of the pipeline; None for the name of the use case, with hyphens for underscores.
        config: path of a ``user_config.yaml``.
        overrides: overrides of the configuration, such as ``"training.epochs=3"``.
        parameters: parameter values by name; they become the defaults.
        account: ``region``, ``role``, ``bucket``, ``image``, ``model_package_group``, ``dataset_digest``, ``settings``
            (a ``sagemaker.yaml``), or ``sagemaker_session``, an SDK session to use instead of a new one.

    Raises:
        RunnerError: the SDK is not installed, or has another major version.
        UsageError: a keyword is unknown.
        ConfigError: configuration, parameters or settings are invalid.
    """
    from mlops_sagemaker.target import check_pipeline_name

    region = account.pop("region", None)
    session = account.pop("sagemaker_session", None)
    pipeline_name = name or use_case.replace("_", "-")
    check_pipeline_name(pipeline_name)
    definition = compile_use_case(use_case, config=config, overrides=overrides, parameters=parameters, **account)
    return sdk_pipeline(definition, name=pipeline_name, region=region, session=session)


def get_pipeline(
    region: str | None = None,
    role: str | None = None,
    default_bucket: str | None = None,
    pipeline_name: str | None = None,
    model_package_group_name: str | None = None,
    **options: Any,
) -> SdkObject:
    """Return the SDK's pipeline for the keywords of the SageMaker project templates.

    Args:
        region: AWS region.
        role: ARN of the execution role of the jobs.
        default_bucket: bucket for data and results.
        pipeline_name: name of the pipeline.
        model_package_group_name: group in which accepted models are registered.
        options: ``usecase_name`` (default: the environment variable USECASE_NAME), ``image_uri``,
            ``sagemaker_session``; keywords that a definition does not need, such as ``base_job_prefix`` and
            ``sagemaker_project_name``, are ignored.

    Raises:
        UsageError: no use case is named.
    """
    use_case = options.pop("usecase_name", None) or _environment_use_case()
    return to_sagemaker_pipeline(
        use_case,
        name=pipeline_name,
        region=region,
        role=role,
        bucket=default_bucket,
        image=options.pop("image_uri", None),
        model_package_group=model_package_group_name,
        sagemaker_session=options.pop("sagemaker_session", None),
    )


def compile_use_case(
    use_case: str,
    *,
    config: Path | str | None = None,
    overrides: Sequence[str] = (),
    parameters: Mapping[str, str] | None = None,
    **account: Any,
) -> Definition:
    """Return the compiled definition of a use case; the keywords are those of `to_sagemaker_pipeline`."""
    from pathlib import Path

    from mlops_core import load_use_case
    from mlops_core.runners import RunRequest, read_settings
    from mlops_sagemaker.compiler.definition import compile_pipeline
    from mlops_sagemaker.settings import load_settings

    settings_path, digest = account.pop("settings", None), account.pop("dataset_digest", "")
    unknown = sorted(account.keys() - {"role", "bucket", "image", "model_package_group"})
    if unknown:
        raise UsageError(
            f"unknown keyword '{unknown[0]}'; expected: region, role, bucket, image, model_package_group, settings, "
            "dataset_digest, sagemaker_session"
        )
    changes = [f"account.{key}={json.dumps(value)}" for key, value in account.items() if value]
    path = Path(settings_path) if settings_path else None
    environ = read_settings().environ
    settings = load_settings(path, overrides=changes, environ=environ)
    loaded = load_use_case(use_case)
    configuration = loaded.load_config(Path(config) if config else None, overrides=overrides, environ=environ)
    pipeline = loaded.pipeline(configuration.model)
    values = pipeline.resolve_parameters(parameters or {})
    request = RunRequest(use_case=loaded, config=configuration, pipeline=pipeline, parameters=values)
    return compile_pipeline(request, settings, dataset_digest=digest)


def sdk_pipeline(
    definition: Definition, *, name: str, region: str | None = None, session: SdkObject | None = None
) -> SdkObject:
    """Return a definition as the SDK's ``Pipeline``.

    Args:
        definition: a compiled definition.
        name: name of the pipeline.
        region: AWS region to submit to; None for the region of the AWS environment variables.
        session: session of the SDK; None for a new one without telemetry.

    Raises:
        RunnerError: the SDK is not installed.
    """
    with _region_for_import(region):
        _require_sdk()
        from sagemaker.mlops.workflow.pipeline import Pipeline

        builder = _Builder(definition.data)
        experiment = builder.experiment_config()
        return Pipeline(
            name=name,
            parameters=list(builder.parameters.values()),
            pipeline_experiment_config=experiment,
            steps=[builder.step(data) for data in definition.data["Steps"]],
            sagemaker_session=session or _quiet_session(region),
        )


def _quiet_session(region: str | None) -> SdkObject:
    import boto3
    from sagemaker.core.helper.session_helper import Session

    boto_session = boto3.Session(region_name=region or os.environ.get(_REGION_VARIABLE))
    return Session(boto_session=boto_session, sagemaker_config=_TELEMETRY_OFF)


def _require_sdk() -> None:
    try:
        import sagemaker.mlops.workflow.pipeline  # noqa: F401  only checks that it can be imported
    except ImportError as error:
        raise RunnerError(
            f"the SageMaker SDK, version 3, cannot be imported: {error}; pip install 'mlops-sagemaker[sdk]', or use "
            "`mlops compile`, which needs no SDK"
        ) from error


@contextlib.contextmanager
def _region_for_import(region: str | None) -> Iterator[None]:
    """Set a region while the SDK is imported and its objects are built; it cannot be imported without one."""
    previous = os.environ.get(_REGION_VARIABLE)
    os.environ[_REGION_VARIABLE] = region or previous or os.environ.get("AWS_REGION") or "us-east-1"
    try:
        yield
    finally:
        if previous is None:
            del os.environ[_REGION_VARIABLE]
        else:
            os.environ[_REGION_VARIABLE] = previous


def _environment_use_case() -> str:
    from mlops_core.runners import read_settings

    name = read_settings().use_case
    if not name:
        raise UsageError("no use case: pass usecase_name, or set USECASE_NAME")
    return name


class _Builder:
    """Builds the SDK's objects from the parts of a definition."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.parameters = {item["Name"]: _parameter(item) for item in data.get("Parameters", ())}
        self._step_class = _step_class()
        self._jobs: dict[str, SdkObject] = {}

    def experiment_config(self) -> SdkObject:
        from sagemaker.core.workflow.execution_variables import ExecutionVariables
        from sagemaker.mlops.workflow.pipeline_experiment_config import PipelineExperimentConfig

        return PipelineExperimentConfig(ExecutionVariables.PIPELINE_NAME, ExecutionVariables.PIPELINE_EXECUTION_ID)

    def step(self, data: Mapping[str, Any]) -> SdkObject:
        if data["Type"] == "Condition":
            return self._condition_step(data)
        if data["Type"] == "Fail":
            return self._fail_step(data)
        step = self._step_class(data)
        self._jobs[data["Name"]] = step
        return step

    def _condition_step(self, data: Mapping[str, Any]) -> SdkObject:
        from sagemaker.mlops.workflow.condition_step import ConditionStep

        arguments = data["Arguments"]
        return ConditionStep(
            name=data["Name"],
            depends_on=data.get("DependsOn"),
            conditions=[self._condition(item) for item in arguments["Conditions"]],
            if_steps=[self.step(item) for item in arguments.get("IfSteps", ())],
            else_steps=[self.step(item) for item in arguments.get("ElseSteps", ())],
        )

    def _fail_step(self, data: Mapping[str, Any]) -> SdkObject:
        from sagemaker.mlops.workflow.fail_step import FailStep

        message = self._value(data["Arguments"].get("ErrorMessage", ""))
        return FailStep(name=data["Name"], error_message=message, depends_on=data.get("DependsOn"))

    def _condition(self, data: Mapping[str, Any]) -> SdkObject:
        from sagemaker.core.workflow import conditions

        kind = data["Type"]
        if kind == "Not":
            return conditions.ConditionNot(self._condition(data["Condition"]))
        if kind == "Or":
            return conditions.ConditionOr([self._condition(item) for item in data["Conditions"]])
        if kind == "In":
            values = [self._value(item) for item in data["Values"]]
            return conditions.ConditionIn(value=self._value(data["QueryValue"]), in_values=values)
        comparison = getattr(conditions, _COMPARISONS[kind])
        return comparison(left=self._value(data["LeftValue"]), right=self._value(data["RightValue"]))

    def _value(self, data: Any) -> SdkObject:
        """Return the SDK's object for an expression; constants are returned unchanged."""
        from sagemaker.core.workflow.functions import Join, JsonGet

        match data:
            case {"Get": str(target)} if target.startswith("Parameters."):
                return self.parameters[target.partition(".")[2]]
            case {"Get": str(target)} if target.startswith("Steps."):
                _, name, path = target.split(".", 2)
                return self._jobs[name].property(path)
            case {"Std:Join": {"On": separator, "Values": values}}:
                return Join(on=separator, values=[self._value(item) for item in values])
            case {"Std:JsonGet": {"PropertyFile": {"Get": target}, "Path": path}}:
                _, name, _, file = target.split(".", 3)
                return JsonGet(step_name=name, property_file=file, json_path=path)
        return data


def _parameter(data: Mapping[str, Any]) -> SdkObject:
    from sagemaker.core.workflow import parameters

    kind = getattr(parameters, f"Parameter{data['Type']}")
    options = {"default_value": data["DefaultValue"]} if "DefaultValue" in data else {}
    if "EnumValues" in data:
        options["enum_values"] = data["EnumValues"]
    return kind(name=data["Name"], **options)


def _step_class() -> type:
    """Return a subclass of the SDK's ``Step``; it is defined here because the SDK is imported on use only."""
    from sagemaker.core.workflow.properties import Properties, PropertyFile
    from sagemaker.mlops.workflow.steps import Step, StepTypeEnum

    class CompiledStep(Step):  # type: ignore[misc]
        """A step with the JSON that `mlops compile` writes."""

        def __init__(self, data: Mapping[str, Any]) -> None:
            super().__init__(
                data["Name"],
                data.get("DisplayName"),
                data.get("Description"),
                StepTypeEnum(data["Type"]),
                data.get("DependsOn"),
            )
            self._data = data
            self._properties = Properties(step_name=self.name, step=self, shape_name=_PROPERTIES.get(data["Type"]))
            self.property_files = [
                PropertyFile(name=item["PropertyFileName"], output_name=item["OutputName"], path=item["FilePath"])
                for item in data.get("PropertyFiles", ())
            ]

        @property
        def arguments(self) -> Any:
            return self._data["Arguments"]

        @property
        def properties(self) -> Any:
            return self._properties

        def property(self, path: str) -> Any:
            return Properties(step_name=self.name, path=path, step=self)

        def to_request(self) -> Any:
            return dict(self._data)

    return CompiledStep
