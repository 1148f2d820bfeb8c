"""What the emulator cannot execute as asked, found before anything runs.

The arguments of a step are checked with the values of the parameters, and again when all their expressions are known.
An expression whose value is not known yet is not judged.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mlops_core.runners import DefinitionError
from mlops_sagemaker.emulator.faults import FaultKind, StepFault
from mlops_sagemaker.emulator.functions import known_values
from mlops_sagemaker.emulator.jobs.models import model_problems
from mlops_sagemaker.emulator.paths import OPT_ML, is_inside, leaves_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mlops_sagemaker.emulator.definition import Definition

    FindModel = Callable[[str], Mapping[str, Any] | None]

_STEP = re.compile(r"Steps\.([A-Za-z0-9_-]+)\.ModelName\Z")
_PRODUCT_MB = 100
_ELSEWHERE = "is not a path below {below} in the container"


def require_executable(
    definition: Definition, values: Mapping[str, Any], *, find_model: FindModel = lambda _: None
) -> None:
    """Raise for the first step that cannot be executed as the definition says.

    Args:
        definition: definition to execute.
        values: values of all parameters, by name.
        find_model: returns the arguments with which a model outside of the definition was created; None for none.

    Raises:
        DefinitionError: an argument of a step is not supported here; names the step and the argument.
    """
    for name, step in definition.steps.items():
        arguments = known_values(step.arguments, values)
        for problem in problems_of(step.type, arguments):
            raise DefinitionError(f"step '{name}': {problem}")
        if step.type == "Transform":
            _require_served(name, arguments, definition, values, find_model)


def _require_served(
    name: str,
    arguments: Mapping[str, Any],
    definition: Definition,
    values: Mapping[str, Any],
    find_model: FindModel,
) -> None:
    """Raise if the model of a Transform step cannot be served here."""
    model = arguments.get("ModelName")
    origin = _STEP.match(str(model.get("Get"))) if isinstance(model, dict) else None
    if origin and definition.steps[origin[1]].type == "Model":
        what = f"its model is that of step '{origin[1]}'"
        request = known_values(definition.steps[origin[1]].arguments, values)
    elif isinstance(model, str):
        what = f"its model is '{model}'"
        created = find_model(model)
        if created is None:
            raise DefinitionError(f"step '{name}': {what}, which does not exist here; create it with a Model step")
        request = created
    else:
        raise DefinitionError(f"step '{name}': ModelName must be the name of a model or that of a Model step")
    for problem in model_problems(request, environment=arguments.get("Environment")):
        raise DefinitionError(f"step '{name}': {what}: {problem}")


def require_supported(kind: str, request: Mapping[str, Any]) -> None:
    """Raise for the first argument that cannot be executed.

    Args:
        kind: type of the step, for example ``Training``.
        request: arguments of the step without expressions.

    Raises:
        StepFault: an argument is not supported here.
    """
    for problem in problems_of(kind, request):
        raise StepFault(FaultKind.CLIENT, problem)


def problems_of(kind: str, request: Mapping[str, Any]) -> Iterator[str]:
    """Yield the arguments of a step that cannot be executed, each with the reason."""
    check = _CHECKS.get(kind)
    if check:
        yield from check(request)


def _processing(request: Mapping[str, Any]) -> Iterator[str]:
    for item in _objects(request, "ProcessingInputs"):
        where = f"input '{item.get('InputName')}'"
        source = item.get("S3Input")
        if item.get("AppManaged") is True:
            yield f"{where}: AppManaged is not supported here"
        elif not isinstance(source, dict):
            yield f"{where}: only S3Input is supported here"
        else:
            yield from _one_of(source, "S3InputMode", ("File",), where)
            yield from _one_of(source, "S3CompressionType", ("None",), where)
            yield from _one_of(source, "S3DataType", ("S3Prefix", "ManifestFile"), where)
            yield from _local(source.get("LocalPath"), f"{where}: LocalPath")
    for item in _objects(request.get("ProcessingOutputConfig"), "Outputs"):
        where = f"output '{item.get('OutputName')}'"
        target = item.get("S3Output")
        if item.get("AppManaged") is True:
            yield f"{where}: AppManaged is not supported here"
        elif not isinstance(target, dict):
            yield f"{where}: only S3Output is supported here"
        else:
            yield from _local(target.get("LocalPath"), f"{where}: LocalPath")
    yield from _command(request.get("AppSpecification"), "AppSpecification")


def _training(request: Mapping[str, Any]) -> Iterator[str]:
    specification = request.get("AlgorithmSpecification")
    mode = specification.get("TrainingInputMode") if isinstance(specification, dict) else None
    for item in _objects(request, "InputDataConfig"):
        yield from _channel(item, mode)
    if not request.get("InputDataConfig"):
        yield from _one_of({"TrainingInputMode": mode}, "TrainingInputMode", _FILES, "AlgorithmSpecification")
    output = request.get("OutputDataConfig")
    if isinstance(output, dict):
        yield from _one_of(output, "CompressionType", ("GZIP", "NONE"), "OutputDataConfig")
    resources = request.get("ResourceConfig")
    if isinstance(resources, dict) and resources.get("InstanceGroups"):
        yield "ResourceConfig: InstanceGroups is not supported here"
    checkpoints = request.get("CheckpointConfig")
    if isinstance(checkpoints, dict) and "LocalPath" in checkpoints:
        yield from _local(checkpoints["LocalPath"], "CheckpointConfig: LocalPath")
    yield from _command(specification, "AlgorithmSpecification")


_FILES = ("File", "FastFile")


def _channel(item: Mapping[str, Any], mode: object) -> Iterator[str]:
    name = item.get("ChannelName")
    where = f"channel '{name}'"
    if isinstance(name, str) and ("/" in name or name in ("", ".", "..")):
        yield f"{where}: the name is not the name of a folder"
    yield from _one_of({"InputMode": item.get("InputMode") or mode}, "InputMode", _FILES, where)
    yield from _one_of(
        item, "CompressionType", ("None",), where, hint=" with files: SageMaker uses it in Pipe mode only"
    )
    yield from _one_of(item, "RecordWrapperType", ("None",), where)
    if item.get("ShuffleConfig"):
        yield f"{where}: ShuffleConfig is not supported here"
    source = item.get("DataSource")
    if not isinstance(source, dict) or _is_unknown(source):
        return
    if not isinstance(source.get("S3DataSource"), dict):
        yield f"{where}: only S3DataSource is supported here"
        return
    yield from _one_of(source["S3DataSource"], "S3DataType", ("S3Prefix", "ManifestFile"), where)


def _tuning(request: Mapping[str, Any]) -> Iterator[str]:
    definitions = [request.get("TrainingJobDefinition"), *_objects(request, "TrainingJobDefinitions")]
    for definition in definitions:
        if isinstance(definition, dict):
            yield from _training(definition)
            yield from _ranges(definition.get("HyperParameterRanges"), "HyperParameterRanges")
            resources = definition.get("HyperParameterTuningResourceConfig")
            if isinstance(resources, dict) and resources.get("InstanceConfigs"):
                yield "HyperParameterTuningResourceConfig: InstanceConfigs is not supported here"
    if request.get("WarmStartConfig"):
        yield "WarmStartConfig is not supported here"
    if isinstance(autotune := request.get("Autotune"), dict) and autotune.get("Mode") == "Enabled":
        yield "Autotune is not supported here"
    config = request.get("HyperParameterTuningJobConfig")
    if isinstance(config, dict):
        yield from _ranges(config.get("ParameterRanges"), "ParameterRanges")
        limits = config.get("ResourceLimits")
        if isinstance(limits, dict) and not limits.get("MaxNumberOfTrainingJobs") and config.get("Strategy") != GRID:
            yield "ResourceLimits: MaxNumberOfTrainingJobs is missing; only a grid search is executed without it"
        if config.get("TuningJobCompletionCriteria"):
            yield "HyperParameterTuningJobConfig: TuningJobCompletionCriteria is not supported here"


GRID = "Grid"
"""The strategy that tries all combinations."""


def _ranges(ranges: object, where: str) -> Iterator[str]:
    if isinstance(ranges, dict) and ranges.get("AutoParameters"):
        yield f"{where}: AutoParameters is not supported here"


def _transform(request: Mapping[str, Any]) -> Iterator[str]:
    data, output = _member(request, "TransformInput"), _member(request, "TransformOutput")
    yield from _one_of(data, "SplitType", ("None", "Line"), "TransformInput")
    yield from _one_of(data, "CompressionType", ("None",), "TransformInput")
    source = _member(_member(data, "DataSource"), "S3DataSource")
    yield from _one_of(source, "S3DataType", ("S3Prefix",), "TransformInput")
    yield from _one_of(output, "AssembleWith", ("None", "Line"), "TransformOutput")
    processing = _member(request, "DataProcessing")
    for name, default in (("InputFilter", "$"), ("OutputFilter", "$"), ("JoinSource", "None")):
        yield from _one_of(processing, name, (default,), "DataProcessing")
    if request.get("DataCaptureConfig"):
        yield "DataCaptureConfig is not supported here"
    count = _member(request, "TransformResources").get("InstanceCount", 1)
    if isinstance(count, int) and count != 1:
        yield f"TransformResources: InstanceCount {count} is not supported here; supported: 1"
    yield from transform_contradictions(request)


def transform_contradictions(request: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the service refuses in a Transform step although each argument is legal."""
    split = _member(request, "TransformInput").get("SplitType", "None")
    if request.get("BatchStrategy") and split == "None":
        yield f"BatchStrategy {request['BatchStrategy']!r} needs a SplitType that is not None"
    payload, concurrent = request.get("MaxPayloadInMB"), request.get("MaxConcurrentTransforms")
    if isinstance(payload, int) and isinstance(concurrent, int) and payload * concurrent > _PRODUCT_MB:
        yield f"MaxPayloadInMB {payload} times MaxConcurrentTransforms {concurrent} is more than {_PRODUCT_MB}"


def _member(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    member = data.get(name)
    return member if isinstance(member, dict) else {}


_CHECKS: dict[str, Callable[[Mapping[str, Any]], Iterator[str]]] = {
    "Processing": _processing,
    "Training": _training,
    "Tuning": _tuning,
    "Transform": _transform,
}


def _objects(request: object, name: str) -> list[Mapping[str, Any]]:
    items = request.get(name) if isinstance(request, dict) else None
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _one_of(
    data: Mapping[str, Any], name: str, supported: tuple[str, ...], where: str, *, hint: str = ""
) -> Iterator[str]:
    value = data.get(name)
    if isinstance(value, str) and value not in supported:
        yield f"{where}: {name} {value!r} is not supported here{hint}; supported: {', '.join(supported)}"


def _local(value: object, where: str) -> Iterator[str]:
    if not isinstance(value, dict) and not is_inside(value):
        yield f"{where} {value!r} {_ELSEWHERE.format(below=OPT_ML)}"


def _command(specification: object, where: str) -> Iterator[str]:
    """Yield the parts of a command that name a path of the container outside of its tree."""
    if not isinstance(specification, dict):
        return
    for name in ("ContainerEntrypoint", "ContainerArguments"):
        for part in specification.get(name) or ():
            if isinstance(part, str) and leaves_tree(part):
                yield f"{where}: {name} {part!r} {_ELSEWHERE.format(below=OPT_ML)}"


def _is_unknown(value: Mapping[str, Any]) -> bool:
    return len(value) == 1 and next(iter(value)) in ("Get", "Std:Join", "Std:JsonGet")
