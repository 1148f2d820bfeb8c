"""Checks the graph of a definition: dependencies, branches and cycles."""

from __future__ import annotations

import graphlib
from collections import defaultdict
from typing import TYPE_CHECKING

from mlops_core.runners import did_you_mean
from mlops_sagemaker.checking.document import BRANCHES
from mlops_sagemaker.checking.expressions import Reference, references

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_sagemaker.checking.document import Document, StepEntry
    from mlops_sagemaker.checking.faults import Faults


def check_graph(document: Document, faults: Faults) -> None:
    """Check explicit and implicit dependencies."""
    needs: defaultdict[str, set[str]] = defaultdict(set)
    for step in document.steps:
        needs[step.name] |= {step.condition} if step.condition else set()
        for reference in (*_explicit(step, document, faults), *_implied(step)):
            target = document.step(reference.step)
            if target is None:
                continue
            if target.name == step.name:
                faults.add(reference.path, f"step '{step.name}' depends on itself", "remove the reference")
                continue
            _check_branches(step, target, reference, faults)
            needs[step.name].add(target.name)
    _check_cycles(needs, document, faults)


def _explicit(step: StepEntry, document: Document, faults: Faults) -> Iterator[Reference]:
    names = step.data.get("DependsOn")
    if names is None:
        return
    path = f"{step.path}.DependsOn"
    if not isinstance(names, list):
        faults.add(path, "is not a list of names", "write ['step']")
        return
    for index, name in enumerate(names):
        place = f"{path}[{index}]"
        if not isinstance(name, str) or document.step(name) is None:
            step_names = document.step_names
            hint = did_you_mean(name, step_names) if isinstance(name, str) else ""
            faults.add(place, f"unknown step {name!r}{hint}", f"steps: {', '.join(step_names)}")
        else:
            yield Reference(path=place, step=name)


def _implied(step: StepEntry) -> Iterator[Reference]:
    """Yield the references in the arguments, except those of the steps in branches."""
    arguments = dict(step.arguments)
    if step.type == "Condition":
        for key in BRANCHES:
            arguments.pop(key, None)
    yield from references(arguments, step.arguments_path)


def _check_branches(step: StepEntry, target: StepEntry, reference: Reference, faults: Faults) -> None:
    if not target.condition:
        return
    is_opposite = step.condition == target.condition and step.branch != target.branch
    if is_opposite or step.name == target.condition:
        where = f"the {target.branch} of '{target.condition}'"
        problem = f"step '{step.name}' needs '{target.name}' in {where}, which never runs before it"
        faults.add(reference.path, problem, "refer to a step outside of the branches, or add a copy under another name")


def _check_cycles(needs: dict[str, set[str]], document: Document, faults: Faults) -> None:
    try:
        graphlib.TopologicalSorter(needs).prepare()
    except graphlib.CycleError as error:
        names = list(reversed(error.args[1]))
        first = document.step(names[0])
        path = first.path if first else "$.Steps"
        faults.add(path, f"the steps form a cycle: {' -> '.join(names)}", "remove one of these references")
