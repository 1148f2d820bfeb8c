"""Checks everything of a step except its arguments: name, type, keys, cache, retries, property files."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from mlops_core.runners import did_you_mean
from mlops_sagemaker.checking.document import as_list
from mlops_sagemaker.checking.faults import below
from mlops_sagemaker.values.durations import EXAMPLES, duration_fix, parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_sagemaker.checking.document import Document, StepEntry
    from mlops_sagemaker.checking.faults import Faults

JOB_TYPES = ("Processing", "Training", "Transform", "Tuning", "AutoML", "ClarifyCheck", "QualityCheck")
STEP_TYPES = (
    *JOB_TYPES,
    "Model",
    "RegisterModel",
    "Condition",
    "Fail",
    "Lambda",
    "Callback",
    "EMR",
    "EMRServerless",
    "EndpointConfig",
    "Endpoint",
    "InferenceComponent",
    "Lineage",
    "Job",
    "Cleanup",
    "ForEach",
)
_OWN_KEYS = {"Lambda": ("FunctionArn", "OutputParameters"), "Callback": ("SqsQueueUrl", "OutputParameters")}
_NEEDED = {"Lambda": ("FunctionArn",), "Callback": ("SqsQueueUrl",)}
_WITHOUT_ARGUMENTS = ("Lambda", "Callback")
"""Types whose arguments are optional in the published schema of definitions."""
_STRICT = (*JOB_TYPES[:4], "Model", "RegisterModel", "Condition", "Fail")
"""Types whose keys are all checked; the keys of other types are not fully documented."""
_KEYS = ("Name", "Type", "Arguments", "DependsOn", "DisplayName", "Description")
_NAME = re.compile(r"[A-Za-z0-9\-_]{1,64}\Z")
_NOT_CACHED = ("Condition", "Fail", "Model", "RegisterModel")
_NOT_RETRIED = ("Condition", "Fail", "Lambda", "Callback", "EMR")
_STEP_FAULTS = ("Step.SERVICE_FAULT", "Step.THROTTLING")
_JOB_FAULTS = ("SageMaker.JOB_INTERNAL_ERROR", "SageMaker.CAPACITY_ERROR", "SageMaker.RESOURCE_LIMIT")
_RETRY_KEYS = ("ExceptionType", "IntervalSeconds", "BackoffRate", "MaxAttempts", "ExpireAfterMin")
_ATTEMPTS_LIMIT, _MINUTES_LIMIT = 20, 14_400


def check_steps(document: Document, faults: Faults) -> None:
    """Check everything of each step except its arguments."""
    counts = Counter(step.name for step in document.steps)
    for step in document.steps:
        _check_name(step, faults, count=counts[step.name])
        if _has_known_type(step, faults):
            _check_keys(step, faults)
            _check_cache(step, faults)
            _check_retries(step, faults)
            _check_property_files(step, faults)


def _check_name(step: StepEntry, faults: Faults, *, count: int) -> None:
    path = f"{step.path}.Name"
    if not _NAME.match(step.name):
        faults.add(path, f"{step.data.get('Name')!r} is not a valid name", "use 1 to 64 letters, digits, '-' and '_'")
    elif count > 1:
        faults.add(path, f"'{step.name}' is the name of {count} steps", "use unique names, also in branches")


def _has_known_type(step: StepEntry, faults: Faults) -> bool:
    if step.type in STEP_TYPES:
        return True
    hint = did_you_mean(step.type, STEP_TYPES)
    faults.add(
        f"{step.path}.Type", f"unknown type {step.data.get('Type')!r}{hint}", f"use one of {', '.join(STEP_TYPES)}"
    )
    return False


def _check_keys(step: StepEntry, faults: Faults) -> None:
    _check_texts(step, faults)
    if "Arguments" not in step.data and step.type not in _WITHOUT_ARGUMENTS:
        faults.add(step.arguments_path, "is missing", "add the arguments; {} for none")
    for key in _NEEDED.get(step.type, ()):
        if not step.data.get(key):
            faults.add(
                below(step.path, key), f"is required for a {step.type} step but missing", "add it next to Arguments"
            )
    if step.type not in _STRICT:
        return
    allowed = [*_KEYS, *_OWN_KEYS.get(step.type, ())]
    allowed += [] if step.type in _NOT_CACHED else ["CacheConfig"]
    allowed += [] if step.type in _NOT_RETRIED else ["RetryPolicies"]
    allowed += ["PropertyFiles"] if step.type == "Processing" else []
    for key in step.data:
        if key not in allowed:
            faults.add(
                below(step.path, key),
                f"unknown key of a {step.type} step{did_you_mean(key, allowed)}",
                f"expected: {', '.join(allowed)}",
            )


def _check_texts(step: StepEntry, faults: Faults) -> None:
    for key, limit in (("DisplayName", 256), ("Description", 3072)):
        text, path = step.data.get(key), f"{step.path}.{key}"
        if text is not None and not isinstance(text, str):
            faults.add(path, "is not a text", "use a text, or remove the key")
        elif isinstance(text, str) and len(text) > limit:
            faults.add(path, f"has {len(text):,} characters; the limit is {limit:,}", "shorten it")


def _check_cache(step: StepEntry, faults: Faults) -> None:
    if "CacheConfig" not in step.data or step.type in _NOT_CACHED:
        return
    path, cache = f"{step.path}.CacheConfig", step.data["CacheConfig"]
    if not isinstance(cache, dict):
        faults.add(path, "is not an object", "write {'Enabled': true, 'ExpireAfter': 'P30D'}")
        return
    for key in cache:
        if key not in ("Enabled", "ExpireAfter"):
            keys = ("Enabled", "ExpireAfter")
            faults.add(below(path, key), f"unknown key{did_you_mean(key, keys)}", f"expected: {', '.join(keys)}")
    if not isinstance(cache.get("Enabled"), bool):
        faults.add(f"{path}.Enabled", f"is {cache.get('Enabled')!r}", "set it to true or false")
    _check_expiry(cache, f"{path}.ExpireAfter", faults)


def _check_expiry(cache: Mapping[str, Any], path: str, faults: Faults) -> None:
    """Check the timeout, which the service requires with caching and ignores without it."""
    if "ExpireAfter" not in cache:
        if cache.get("Enabled") is True:
            faults.add(path, "is required with caching", f"add it, {EXAMPLES}")
        return
    expiry = cache["ExpireAfter"]
    if not isinstance(expiry, str):
        faults.add(path, f"{expiry!r} is not a text", f"write it as ISO 8601, {EXAMPLES}")
    elif parse_duration(expiry) is None:
        report = faults.warn if cache.get("Enabled") is False else faults.add
        report(path, f"{expiry!r} is not a duration", duration_fix(expiry))


def _check_retries(step: StepEntry, faults: Faults) -> None:
    if "RetryPolicies" not in step.data or step.type in _NOT_RETRIED:
        return
    policies = step.data["RetryPolicies"]
    if not isinstance(policies, list):
        faults.add(f"{step.path}.RetryPolicies", "is not a list", "use a list of policies")
        return
    seen: set[str] = set()
    for index, policy in enumerate(policies):
        path = f"{step.path}.RetryPolicies[{index}]"
        if not isinstance(policy, dict):
            faults.add(path, "is not an object", "use an object with ExceptionType and MaxAttempts")
            continue
        _check_exceptions(step, policy, path, faults, seen=seen)
        _check_attempts(policy, path, faults)


def _check_exceptions(step: StepEntry, policy: Mapping[str, Any], path: str, faults: Faults, *, seen: set[str]) -> None:
    for key in policy:
        if key not in _RETRY_KEYS:
            faults.add(
                below(path, key), f"unknown key{did_you_mean(key, _RETRY_KEYS)}", f"expected: {', '.join(_RETRY_KEYS)}"
            )
    exceptions = (*_STEP_FAULTS, *_JOB_FAULTS) if step.type in JOB_TYPES else _STEP_FAULTS
    names = policy.get("ExceptionType")
    if not isinstance(names, list) or not names:
        faults.add(f"{path}.ExceptionType", "is not a list of failures", f"use one or more of {', '.join(exceptions)}")
        return
    for index, name in enumerate(names):
        place = f"{path}.ExceptionType[{index}]"
        if name not in exceptions:
            hint = did_you_mean(str(name), exceptions)
            problem = f"{name!r} is not a failure of a {step.type} step{hint}"
            faults.add(place, problem, f"use one of {', '.join(exceptions)}")
        elif str(name) in seen:
            faults.add(
                place, f"'{name}' is in two policies", "remove it from one of them; the service applies only one"
            )
        seen.add(str(name))


def _check_attempts(policy: Mapping[str, Any], path: str, faults: Faults) -> None:
    if ("MaxAttempts" in policy) == ("ExpireAfterMin" in policy):
        faults.add(path, "needs either MaxAttempts or ExpireAfterMin", "use exactly one of them")
    limits = {
        "MaxAttempts": (1, _ATTEMPTS_LIMIT),
        "ExpireAfterMin": (1, _MINUTES_LIMIT),
        "IntervalSeconds": (0, 86_400),
        "BackoffRate": (0, 1000),
    }
    for key, (low, high) in limits.items():
        value = policy.get(key)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if key in policy and not (is_number and low <= value <= high):  # type: ignore[operator]
            faults.add(f"{path}.{key}", f"{value!r} is not a number from {low} to {high}", "use a number in this range")


def _check_property_files(step: StepEntry, faults: Faults) -> None:
    if "PropertyFiles" not in step.data or step.type != "Processing":
        return
    files = step.data["PropertyFiles"]
    if not isinstance(files, list):
        faults.add(f"{step.path}.PropertyFiles", "is not a list", "use a list of property files")
        return
    config = step.arguments.get("ProcessingOutputConfig")
    outputs = as_list(config.get("Outputs") if isinstance(config, dict) else None)
    output_names = [
        item["OutputName"] for item in outputs if isinstance(item, dict) and isinstance(item.get("OutputName"), str)
    ]
    counts = Counter(str(item.get("PropertyFileName")) for item in files if isinstance(item, dict))
    for index, item in enumerate(files):
        path = f"{step.path}.PropertyFiles[{index}]"
        if not isinstance(item, dict):
            faults.add(path, "is not an object", "use an object with PropertyFileName, OutputName and FilePath")
            continue
        _check_property_file(item, path, faults, outputs=output_names, count=counts[str(item.get("PropertyFileName"))])


def _check_property_file(item: Mapping[str, Any], path: str, faults: Faults, *, outputs: list[str], count: int) -> None:
    for key in ("PropertyFileName", "OutputName", "FilePath"):
        if not isinstance(item.get(key), str) or not item[key]:
            faults.add(f"{path}.{key}", f"is {item.get(key)!r}", "use a text that is not empty")
    path_inside = item.get("FilePath")
    if isinstance(path_inside, str) and (path_inside.startswith("/") or ".." in path_inside.split("/")):
        faults.add(
            f"{path}.FilePath", f"{path_inside!r} is not a path within the output", "write it relative to LocalPath"
        )
    for key in item:
        if key not in ("PropertyFileName", "OutputName", "FilePath"):
            faults.add(below(path, key), "unknown key", "expected: PropertyFileName, OutputName, FilePath")
    name = item.get("OutputName")
    if isinstance(name, str) and name and name not in outputs:
        faults.add(
            f"{path}.OutputName",
            f"unknown output '{name}'{did_you_mean(name, outputs)}",
            f"outputs: {', '.join(outputs) or 'none'}",
        )
    if count > 1:
        faults.add(f"{path}.PropertyFileName", f"'{item.get('PropertyFileName')}' is used {count} times", "rename one")
