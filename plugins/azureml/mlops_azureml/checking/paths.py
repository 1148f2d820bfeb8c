"""Checks local paths in a job file: code, components and data that are sent when the job is created."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlops_azureml.checking.faults import below

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_azureml.checking.faults import Faults

_ELSEWHERE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|\$\{\{")


def check_local_paths(faults: Faults, data: Mapping[str, Any], folder: Path) -> None:
    """Check that each local path exists.

    Args:
        faults: collects what is missing.
        data: the job.
        folder: where its file is.
    """
    for path, value in _paths(data):
        if (
            isinstance(value, str)
            and not _ELSEWHERE.match(value)
            and not (folder / value.removeprefix("file:")).exists()
        ):
            faults.add(path, f"there is nothing at '{value}'", f"correct the path, which is relative to {folder}")


def _paths(data: Mapping[str, Any]) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for name, value in _members(data.get("inputs")):
        found.append((below(below("inputs", name), "path"), value.get("path") if isinstance(value, Mapping) else None))
    for name, node in _members(data.get("jobs")):
        path = below("jobs", name)
        if not isinstance(node, Mapping):
            continue
        found.append((below(path, "code"), node.get("code")))
        for key in ("component", "trial"):
            component = node.get(key)
            if isinstance(component, Mapping):
                found.append((below(below(path, key), "code"), component.get("code")))
            else:
                found.append((below(path, key), component))
        for port, value in _members(node.get("inputs")):
            if isinstance(value, Mapping):
                found.append((below(below(below(path, "inputs"), port), "path"), value.get("path")))
    return found


def _members(value: object) -> list[tuple[str, Any]]:
    return [(str(key), inner) for key, inner in value.items()] if isinstance(value, Mapping) else []
