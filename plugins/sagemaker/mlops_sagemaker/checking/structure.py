"""Checks the top-level keys and the parameters of a definition."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from mlops_core.runners import did_you_mean
from mlops_sagemaker.checking.document import as_list
from mlops_sagemaker.checking.faults import below

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_sagemaker.checking.document import Document
    from mlops_sagemaker.checking.faults import Faults

VERSION = "2020-12-01"
PARAMETER_TYPES = {"String": (str,), "Integer": (int,), "Float": (int, float), "Boolean": (bool,)}
_TOP = ("Version", "Metadata", "Parameters", "PipelineExperimentConfig", "MlflowConfig", "Steps")
_PARAMETER_KEYS = ("Name", "Type", "Description", "DefaultValue", "EnumValues")
_PARAMETER_NAME = re.compile(r"[A-Za-z0-9\-_]{1,256}\Z")
_METADATA_KEY = re.compile(r"[A-Za-z0-9\-_]{1,128}\Z")
_PARAMETER_LIMIT = 200
_STEP_LIMIT = 50
_ENUM_LIMIT = 16
_TEXT_LIMIT, _METADATA_LIMIT = 4096, 1024
"""Characters of a description or a default, and of a value in Metadata; from the published schema of definitions."""


def check_top(data: Mapping[str, Any], faults: Faults) -> None:
    """Check the version, the keys, and the number of steps."""
    for key in data:
        if key not in _TOP:
            faults.add(below("$", key), f"unknown key{did_you_mean(key, _TOP)}", f"expected: {', '.join(_TOP)}")
    if data.get("Version") != VERSION:
        faults.add("$.Version", f"is {data.get('Version')!r}", f"set it to '{VERSION}', the only version")
    steps = data.get("Steps")
    if not isinstance(steps, list) or not steps:
        faults.add("$.Steps", "has no steps", "add a list of at least one step")
    elif len(steps) > _STEP_LIMIT:
        faults.add("$.Steps", f"has {len(steps)} steps; the limit is {_STEP_LIMIT}", "split the pipeline")
    if "Parameters" in data and not isinstance(data["Parameters"], list):
        faults.add("$.Parameters", "is not a list", "use a list of {'Name': ..., 'Type': ...}")
    for key in ("PipelineExperimentConfig", "MlflowConfig"):
        if data.get(key) is not None and not isinstance(data[key], dict):
            faults.add(f"$.{key}", "is not an object", "use an object, or remove the key")
    _check_metadata(data, faults)


def _check_metadata(data: Mapping[str, Any], faults: Faults) -> None:
    metadata = data.get("Metadata")
    if "Metadata" not in data:
        return
    if not isinstance(metadata, dict):
        faults.add("$.Metadata", "is not an object", "write {'name': 'text'}, or {} for none")
        return
    for key, value in metadata.items():
        path = below("$.Metadata", key)
        if not _METADATA_KEY.match(key):
            faults.warn(path, f"{key!r} is not a documented name", "use 1 to 128 letters, digits, '-' and '_'")
        if not isinstance(value, str):
            faults.add(path, f"{value!r:.80} is not a text", "write it in quotes")
        elif len(value) > _METADATA_LIMIT:
            faults.add(path, f"has {len(value):,} characters; the limit is {_METADATA_LIMIT:,}", "shorten it")


def check_parameters(document: Document, faults: Faults) -> None:
    """Check the declarations of the parameters."""
    items = as_list(document.data.get("Parameters"))
    if len(items) > _PARAMETER_LIMIT:
        faults.add("$.Parameters", f"has {len(items)} parameters; the limit is {_PARAMETER_LIMIT}", "remove some")
    names = Counter(item.get("Name") for item in items if isinstance(item, dict) and isinstance(item.get("Name"), str))
    for index, item in enumerate(items):
        path = below("$.Parameters", index)
        if not isinstance(item, dict):
            faults.add(path, "is not an object", "use an object with Name and Type")
            continue
        _check_parameter(item, path, faults)
        name = item.get("Name")
        if isinstance(name, str) and names[name] > 1:
            faults.add(f"{path}.Name", f"'{name}' is declared {names[name]} times", "keep one of them")


def _check_parameter(item: Mapping[str, Any], path: str, faults: Faults) -> None:
    for key in item:
        if key not in _PARAMETER_KEYS:
            faults.add(
                below(path, key),
                f"unknown key{did_you_mean(key, _PARAMETER_KEYS)}",
                f"expected: {', '.join(_PARAMETER_KEYS)}",
            )
    name = item.get("Name")
    if not isinstance(name, str) or not _PARAMETER_NAME.match(name):
        faults.add(f"{path}.Name", f"{name!r} is not a valid name", "use 1 to 256 letters, digits, '-' and '_'")
    _check_description(item, path, faults)
    if "Type" not in item:
        faults.warn(f"{path}.Type", "is missing; the published schema takes String", "add the type")
    kind = item.get("Type", "String")
    if not isinstance(kind, str) or kind not in PARAMETER_TYPES:
        hint = did_you_mean(kind, PARAMETER_TYPES) if isinstance(kind, str) else ""
        faults.add(f"{path}.Type", f"unknown type {kind!r}{hint}", f"use one of {', '.join(PARAMETER_TYPES)}")
        return
    if "DefaultValue" in item and not is_of_type(item["DefaultValue"], kind):
        faults.add(
            f"{path}.DefaultValue",
            f"{item['DefaultValue']!r} is not of type {kind}",
            "use a default of the declared type",
        )
    _check_enumeration(item, path, faults, kind=kind)


def _check_description(item: Mapping[str, Any], path: str, faults: Faults) -> None:
    for key in ("Description", "DefaultValue"):
        text = item.get(key)
        if isinstance(text, str) and len(text) > _TEXT_LIMIT:
            faults.add(f"{path}.{key}", f"has {len(text):,} characters; the limit is {_TEXT_LIMIT:,}", "shorten it")
    if "Description" in item and not isinstance(item["Description"], str):
        faults.add(f"{path}.Description", "is not a text", "use a text, or remove the key")


def _check_enumeration(item: Mapping[str, Any], path: str, faults: Faults, *, kind: str) -> None:
    if "EnumValues" not in item:
        return
    values = item["EnumValues"]
    if not isinstance(values, list) or not values:
        faults.add(
            f"{path}.EnumValues", "is not a list of values", "use a list of the allowed values, or remove the key"
        )
        return
    if len(values) > _ENUM_LIMIT:
        problem = f"has {len(values)} values; the limit is {_ENUM_LIMIT}"
        faults.add(f"{path}.EnumValues", problem, "remove some, or accept any value and check it in a step")
    for index, value in enumerate(values):
        if not is_of_type(value, kind):
            faults.add(
                f"{path}.EnumValues[{index}]", f"{value!r} is not of type {kind}", "use values of the declared type"
            )
    if "DefaultValue" in item and item["DefaultValue"] not in values:
        faults.add(f"{path}.DefaultValue", f"{item['DefaultValue']!r} is not in EnumValues", f"use one of {values!r}")


def is_of_type(value: object, kind: str) -> bool:
    """Return whether a JSON value has the type of a parameter."""
    if isinstance(value, bool):
        return kind == "Boolean"
    return isinstance(value, PARAMETER_TYPES[kind])
