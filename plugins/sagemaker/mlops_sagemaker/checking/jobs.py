"""Checks rules for job arguments that the shapes do not express: unique names, folders, times, exclusive arguments."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.checking.document import as_list
from mlops_sagemaker.checking.faults import below

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mlops_sagemaker.checking.document import StepEntry
    from mlops_sagemaker.checking.faults import Faults

_TRANSFORM_MB = 100
"""Largest payload of a transform job, also times the number of requests at once."""
_PROCESSING_ROOT = "/opt/ml/processing"


def check_job(step: StepEntry, faults: Faults) -> None:
    """Check the rules for the type of a step."""
    check = _CHECKS.get(step.type)
    if check:
        check(step, faults)
    _check_tags(step, faults)


def _processing(step: StepEntry, faults: Faults) -> None:
    inputs = as_list(step.arguments.get("ProcessingInputs"))
    outputs = as_list(_member(step.arguments, "ProcessingOutputConfig").get("Outputs"))
    path = step.arguments_path
    _unique(inputs, "InputName", f"{path}.ProcessingInputs", faults)
    _unique(outputs, "OutputName", f"{path}.ProcessingOutputConfig.Outputs", faults)
    _folders(inputs, "S3Input", f"{path}.ProcessingInputs", faults)
    _folders(outputs, "S3Output", f"{path}.ProcessingOutputConfig.Outputs", faults)


def _folders(items: list[Any], member: str, path: str, faults: Faults) -> None:
    seen: dict[str, int] = {}
    for index, item in enumerate(items):
        folder = _member(item, member).get("LocalPath") if isinstance(item, dict) else None
        if not isinstance(folder, str):
            continue
        place = f"{path}[{index}].{member}.LocalPath"
        if _climbs(folder):
            faults.add(place, f"{folder!r} contains '..'", "write the path without it")
        elif folder != _PROCESSING_ROOT and not folder.startswith(f"{_PROCESSING_ROOT}/"):
            faults.add(
                place,
                f"{folder!r} is not below {_PROCESSING_ROOT}",
                f"use {_PROCESSING_ROOT}/input/... or {_PROCESSING_ROOT}/output/...",
            )
        if folder in seen:
            faults.add(place, f"{folder!r} is also the folder of item {seen[folder]}", "use different folders")
        seen.setdefault(folder, index)


def _climbs(path: object) -> bool:
    return isinstance(path, str) and ".." in path.split("/")


def _check_local_paths(step: StepEntry, faults: Faults) -> None:
    """Check the paths in the containers of a training job."""
    places = {
        name: step.arguments.get(name) for name in ("CheckpointConfig", "DebugHookConfig", "TensorBoardOutputConfig")
    }
    rules = (
        *as_list(step.arguments.get("DebugRuleConfigurations")),
        *as_list(step.arguments.get("ProfilerRuleConfigurations")),
    )
    for name, config in (*places.items(), *(("DebugRuleConfigurations", rule) for rule in rules)):
        if isinstance(config, dict) and _climbs(config.get("LocalPath")):
            problem = f"{config['LocalPath']!r} contains '..'"
            faults.add(f"{step.arguments_path}.{name}.LocalPath", problem, "write the path without it")


def _training(step: StepEntry, faults: Faults) -> None:
    path = step.arguments_path
    algorithm = _member(step.arguments, "AlgorithmSpecification")
    if algorithm and ("TrainingImage" in algorithm) == ("AlgorithmName" in algorithm):
        faults.add(
            f"{path}.AlgorithmSpecification", "needs either TrainingImage or AlgorithmName", "use exactly one of them"
        )
    channels = as_list(step.arguments.get("InputDataConfig"))
    _unique(channels, "ChannelName", f"{path}.InputDataConfig", faults)
    _unique(
        as_list(algorithm.get("MetricDefinitions")), "Name", f"{path}.AlgorithmSpecification.MetricDefinitions", faults
    )
    _spot(step.arguments, path, faults)
    _check_local_paths(step, faults)


def _spot(arguments: Mapping[str, Any], path: str, faults: Faults) -> None:
    stopping = _member(arguments, "StoppingCondition")
    run_s, wait_s = stopping.get("MaxRuntimeInSeconds"), stopping.get("MaxWaitTimeInSeconds")
    place = f"{path}.StoppingCondition.MaxWaitTimeInSeconds"
    is_spot = arguments.get("EnableManagedSpotTraining") is True
    if is_spot and wait_s is None:
        faults.add(place, "is required with EnableManagedSpotTraining", "set it to at least MaxRuntimeInSeconds")
    if not is_spot and wait_s is not None and "EnableManagedSpotTraining" not in arguments:
        faults.add(place, "has no effect without EnableManagedSpotTraining", "remove it, or enable spot training")
    if isinstance(run_s, int) and isinstance(wait_s, int) and wait_s < run_s:
        faults.add(place, f"{wait_s} is less than MaxRuntimeInSeconds ({run_s})", "make it at least as long")


def _tuning(step: StepEntry, faults: Faults) -> None:
    arguments, path = step.arguments, step.arguments_path
    _exactly_one(arguments, ("TrainingJobDefinition", "TrainingJobDefinitions"), path, faults)
    single = arguments.get("TrainingJobDefinition")
    definitions = [(f"{path}.TrainingJobDefinition", single)] if isinstance(single, dict) else []
    several = as_list(arguments.get("TrainingJobDefinitions"))
    definitions += [(f"{path}.TrainingJobDefinitions[{index}]", item) for index, item in enumerate(several)]
    if "TrainingJobDefinitions" in arguments and not several:
        faults.add(f"{path}.TrainingJobDefinitions", "has no job definition", "add the jobs to tune")
    _unique(several, "DefinitionName", f"{path}.TrainingJobDefinitions", faults)
    for place, definition in definitions:
        if isinstance(definition, dict):
            algorithm = _member(definition, "AlgorithmSpecification")
            if algorithm:
                names = ("TrainingImage", "AlgorithmName")
                _exactly_one(algorithm, names, f"{place}.AlgorithmSpecification", faults)
            _exactly_one(definition, ("ResourceConfig", "HyperParameterTuningResourceConfig"), place, faults)
            _unique(as_list(definition.get("InputDataConfig")), "ChannelName", f"{place}.InputDataConfig", faults)
            _spot(definition, place, faults)


def _transform(step: StepEntry, faults: Faults) -> None:
    arguments, path = step.arguments, step.arguments_path
    data, output = _member(arguments, "TransformInput"), _member(arguments, "TransformOutput")
    split, strategy = data.get("SplitType", "None"), arguments.get("BatchStrategy")
    if strategy is not None and split == "None":
        fix = "set SplitType to Line, RecordIO or TFRecord, or remove BatchStrategy"
        faults.add(f"{path}.BatchStrategy", f"{strategy!r} needs a TransformInput.SplitType that is not None", fix)
    payload, concurrent = arguments.get("MaxPayloadInMB"), arguments.get("MaxConcurrentTransforms")
    is_known = type(payload) is int and type(concurrent) is int
    if is_known and payload * concurrent > _TRANSFORM_MB:  # type: ignore[operator]
        problem = f"{payload} times MaxConcurrentTransforms {concurrent} is more than {_TRANSFORM_MB}"
        faults.add(f"{path}.MaxPayloadInMB", problem, "reduce one of them")
    if type(payload) is int and payload > _TRANSFORM_MB:
        faults.add(f"{path}.MaxPayloadInMB", f"{payload} is more than {_TRANSFORM_MB}", "reduce it")
    joins = _member(arguments, "DataProcessing").get("JoinSource", "None") == "Input"
    if joins and split != "None" and output.get("AssembleWith", "None") == "None":
        problem = "is None, but records are joined with those of the input"
        faults.add(f"{path}.TransformOutput.AssembleWith", problem, "set it to Line, or remove JoinSource")
    _check_objects(data, output, path, faults)


def _check_objects(data: Mapping[str, Any], output: Mapping[str, Any], path: str, faults: Faults) -> None:
    source = _member(_member(data, "DataSource"), "S3DataSource").get("S3Uri")
    target = output.get("S3OutputPath")
    if isinstance(source, str) and isinstance(target, str) and f"{target.rstrip('/')}/".startswith(source):
        problem = f"{target!r} is below TransformInput {source!r}: a later job would predict its own answers"
        faults.warn(f"{path}.TransformOutput.S3OutputPath", problem, "write to another prefix")


def _model(step: StepEntry, faults: Faults) -> None:
    arguments, path = step.arguments, step.arguments_path
    _exactly_one(arguments, ("PrimaryContainer", "Containers"), path, faults)
    containers = [(f"{path}.PrimaryContainer", arguments.get("PrimaryContainer"))]
    several = as_list(arguments.get("Containers"))
    if "Containers" in arguments and not several:
        faults.add(f"{path}.Containers", "has no container", "add the containers of the model")
    containers += [(f"{path}.Containers[{index}]", item) for index, item in enumerate(several)]
    for place, container in containers:
        if isinstance(container, dict) and not container.keys() & {"Image", "ModelPackageName"}:
            faults.add(place, "has neither Image nor ModelPackageName", "set the image that serves the model")
    _unique(several, "ContainerHostname", f"{path}.Containers", faults)


def _exactly_one(data: Mapping[str, Any], names: tuple[str, str], path: str, faults: Faults) -> None:
    present = [name for name in names if name in data]
    if len(present) != 1:
        problem = "has both" if present else "has neither"
        faults.add(path, f"{problem} {' and '.join(names) if present else ' nor '.join(names)}", "use exactly one")


def _registration(step: StepEntry, faults: Faults) -> None:
    arguments, path = step.arguments, step.arguments_path
    if "ModelPackageName" in arguments:
        fix = "remove it: a pipeline registers versions of ModelPackageGroupName"
        faults.add(f"{path}.ModelPackageName", "is not allowed in a RegisterModel step", fix)
    if "ModelPackageGroupName" not in arguments:
        faults.add(f"{path}.ModelPackageGroupName", "is missing", "set the group for the model version")
    if "InferenceSpecification" not in arguments and "SourceAlgorithmSpecification" not in arguments:
        faults.add(f"{path}.InferenceSpecification", "is missing", "set the image and the model data")


def _fail(step: StepEntry, faults: Faults) -> None:
    for key in step.arguments:
        if key != "ErrorMessage":
            faults.add(below(step.arguments_path, key), "unknown argument of a Fail step", "expected: ErrorMessage")
    message = step.arguments.get("ErrorMessage")
    if message is not None and not isinstance(message, str | dict):
        faults.add(
            f"{step.arguments_path}.ErrorMessage", "is not a text", "use a text or an expression that returns one"
        )


def _check_tags(step: StepEntry, faults: Faults) -> None:
    _unique(as_list(step.arguments.get("Tags")), "Key", f"{step.arguments_path}.Tags", faults)


def _unique(items: Iterable[Any], key: str, path: str, faults: Faults) -> None:
    names = [item.get(key) if isinstance(item, dict) else None for item in items]
    counts = Counter(name for name in names if isinstance(name, str))
    for index, name in enumerate(names):
        if isinstance(name, str) and counts[name] > 1:
            faults.add(f"{path}[{index}].{key}", f"'{name}' is used {counts[name]} times", "use different names")


def _member(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    member = data.get(key)
    return member if isinstance(member, dict) else {}


_CHECKS: Mapping[str, Callable[[StepEntry, Faults], None]] = {
    "Processing": _processing,
    "ClarifyCheck": _processing,
    "QualityCheck": _processing,
    "Training": _training,
    "Tuning": _tuning,
    "Model": _model,
    "Transform": _transform,
    "RegisterModel": _registration,
    "Fail": _fail,
}
