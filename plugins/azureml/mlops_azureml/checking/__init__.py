"""Checks pipeline jobs from any source, without a workspace: every fault at once, each with its path and a fix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import yaml

from mlops_azureml.checking.commands import check_commands
from mlops_azureml.checking.faults import Fault, Faults, Findings
from mlops_azureml.checking.graph import check_graph
from mlops_azureml.checking.paths import check_local_paths
from mlops_azureml.checking.structure import check_job
from mlops_azureml.checking.sweeps import check_sweeps
from mlops_azureml.checking.values import shown

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Fault", "Findings", "examine_job", "examine_text"]


def examine_text(text: str, *, folder: Path | None = None) -> Findings:
    """Return the findings of a job in a YAML text; a text that is not YAML has one fault.

    Args:
        text: the job.
        folder: where its file is, so that local paths in it are looked up; None to leave them unchecked.
    """
    faults = Faults()
    try:
        data = yaml.load(text, Loader=_UniqueLoader)  # noqa: S506  a safe loader that refuses a key that occurs twice
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}" if mark is not None else "job"
        faults.add(where, f"not YAML: {getattr(error, 'problem', None) or error}", "correct the syntax")
        return faults.findings()
    return examine_job(data, folder=folder)


def examine_job(data: object, *, folder: Path | None = None) -> Findings:
    """Return everything that is wrong with a job, and what is probably a mistake.

    Args:
        data: the job as JSON types.
        folder: where its file is; None to leave local paths unchecked.
    """
    faults = Faults()
    if not isinstance(data, Mapping):
        faults.add("job", f"is {shown(data)}", "expected a mapping with type: pipeline and jobs")
        return faults.findings()
    for check in (check_job, check_graph, check_commands, check_sweeps):
        check(faults, data)
    if folder is not None:
        check_local_paths(faults, data, folder)
    return faults.findings()


class _UniqueLoader(yaml.SafeLoader):
    """A safe loader that refuses keys that occur twice, of which YAML would take the last."""


def _unique_mapping(loader: _UniqueLoader, node: yaml.MappingNode) -> dict[object, object]:
    seen: set[object] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if isinstance(key, str | int | float | bool) and key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key '{key}' occurs twice", key_node.start_mark)
        if isinstance(key, str | int | float | bool):
            seen.add(key)
    loader.flatten_mapping(node)
    return dict(loader.construct_pairs(node, deep=True))


_UniqueLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)
