"""What the shapes do not say of a job's arguments: names used twice, folders, times, what excludes what."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.checking.document import as_list
from mlops_sagemaker.checking.faults import below

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mlops_sagemaker.checking.document import StepEntry
    from mlops_sagemaker.checking.faults import Faults

_PROCESSING_ROOT = "/opt/ml/processing"


def check_job(step: StepEntry, faults: Faults) -> None:
    """Check the rules of the step's type."""
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
        if folder != _PROCESSING_ROOT and not folder.startswith(f"{_PROCESSING_ROOT}/"):
            faults.add(
                place,
                f"{folder!r} is not below {_PROCESSING_ROOT}",
                f"put it at {_PROCESSING_ROOT}/input/... or output/...",
            )
        if folder in seen:
            faults.add(place, f"{folder!r} is the folder of item {seen[folder]} too", "give each its own folder")
        seen.setdefault(folder, index)


def _training(step: StepEntry, faults: Faults) -> None:
    path = step.arguments_path
    algorithm = _member(step.arguments, "AlgorithmSpecification")
    if algorithm and ("TrainingImage" in algorithm) == ("AlgorithmName" in algorithm):
        faults.add(f"{path}.AlgorithmSpecification", "needs either TrainingImage or AlgorithmName", "give exactly one")
    channels = as_list(step.arguments.get("InputDataConfig"))
    _unique(channels, "ChannelName", f"{path}.InputDataConfig", faults)
    _unique(
        as_list(algorithm.get("MetricDefinitions")), "Name", f"{path}.AlgorithmSpecification.MetricDefinitions", faults
    )
    _spot(step.arguments, path, faults)


def _spot(arguments: Mapping[str, Any], path: str, faults: Faults) -> None:
    stopping = _member(arguments, "StoppingCondition")
    run_s, wait_s = stopping.get("MaxRuntimeInSeconds"), stopping.get("MaxWaitTimeInSeconds")
    place = f"{path}.StoppingCondition.MaxWaitTimeInSeconds"
    is_spot = arguments.get("EnableManagedSpotTraining") is True
    if is_spot and wait_s is None:
        faults.add(place, "is required with EnableManagedSpotTraining", "set it to at least MaxRuntimeInSeconds")
    if not is_spot and wait_s is not None and "EnableManagedSpotTraining" not in arguments:
        faults.add(place, "means nothing without EnableManagedSpotTraining", "remove it, or train on spare capacity")
    if isinstance(run_s, int) and isinstance(wait_s, int) and wait_s < run_s:
        faults.add(place, f"{wait_s} is less than MaxRuntimeInSeconds ({run_s})", "make it at least as long")


def _registration(step: StepEntry, faults: Faults) -> None:
    arguments, path = step.arguments, step.arguments_path
    if "ModelPackageGroupName" not in arguments and "ModelPackageName" not in arguments:
        faults.add(f"{path}.ModelPackageGroupName", "is missing", "name the group to which the version is added")
    if "InferenceSpecification" not in arguments and "SourceAlgorithmSpecification" not in arguments:
        faults.add(f"{path}.InferenceSpecification", "is missing", "say which image and model data are registered")


def _fail(step: StepEntry, faults: Faults) -> None:
    for key in step.arguments:
        if key != "ErrorMessage":
            faults.add(below(step.arguments_path, key), "unknown argument of a Fail step", "known: ErrorMessage")
    message = step.arguments.get("ErrorMessage")
    if message is not None and not isinstance(message, str | dict):
        faults.add(f"{step.arguments_path}.ErrorMessage", "is no text", "give a text or an expression of one")


def _check_tags(step: StepEntry, faults: Faults) -> None:
    _unique(as_list(step.arguments.get("Tags")), "Key", f"{step.arguments_path}.Tags", faults)


def _unique(items: Iterable[Any], key: str, path: str, faults: Faults) -> None:
    names = [item.get(key) if isinstance(item, dict) else None for item in items]
    counts = Counter(name for name in names if isinstance(name, str))
    for index, name in enumerate(names):
        if isinstance(name, str) and counts[name] > 1:
            faults.add(f"{path}[{index}].{key}", f"'{name}' is used {counts[name]} times", "give each its own name")


def _member(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = data.get(key)
    return found if isinstance(found, dict) else {}


_CHECKS: Mapping[str, Callable[[StepEntry, Faults], None]] = {
    "Processing": _processing,
    "Training": _training,
    "RegisterModel": _registration,
    "Fail": _fail,
}
