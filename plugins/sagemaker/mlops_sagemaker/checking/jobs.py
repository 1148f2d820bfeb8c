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
        if folder != _PROCESSING_ROOT and not folder.startswith(f"{_PROCESSING_ROOT}/"):
            faults.add(
                place,
                f"{folder!r} is not below {_PROCESSING_ROOT}",
                f"use {_PROCESSING_ROOT}/input/... or {_PROCESSING_ROOT}/output/...",
            )
        if folder in seen:
            faults.add(place, f"{folder!r} is also the folder of item {seen[folder]}", "use different folders")
        seen.setdefault(folder, index)


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


def _registration(step: StepEntry, faults: Faults) -> None:
    arguments, path = step.arguments, step.arguments_path
    if "ModelPackageGroupName" not in arguments and "ModelPackageName" not in arguments:
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
    "Training": _training,
    "RegisterModel": _registration,
    "Fail": _fail,
}
