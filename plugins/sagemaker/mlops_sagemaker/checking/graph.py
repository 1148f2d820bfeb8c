"""Checks the graph of a definition: dependencies, branches and cycles."""

from __future__ import annotations

import graphlib
from collections import defaultdict
from typing import TYPE_CHECKING

from mlops_core.runners import did_you_mean
from mlops_sagemaker.checking.document import BODY, BRANCHES
from mlops_sagemaker.checking.expressions import Reference, references

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_sagemaker.checking.document import Document, StepEntry
    from mlops_sagemaker.checking.faults import Faults


def check_graph(document: Document, faults: Faults) -> None:
    """Check explicit and implicit dependencies."""
    needs: defaultdict[str, set[str]] = defaultdict(set)
    for step in document.steps:
        needs[step.name] |= {name for name in (step.condition, step.loop) if name}
        for reference in (*_explicit(step, document, faults), *_implied(step)):
            target = document.step(reference.step)
            if target is None:
                continue
            if target.name == step.name:
                faults.add(reference.path, f"step '{step.name}' depends on itself", "remove the reference")
                continue
            _check_branches(step, target, reference, document, faults)
            _check_loop(step, target, reference, faults)
            needs[step.name].add(target.name)
            if step.loop and step.loop not in (target.loop, target.name):
                needs[step.loop].add(target.name)  # the loop waits for what its body reads
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
    """Yield the references in the arguments, except those of the steps in branches or in the body."""
    inner = {"Condition": BRANCHES, "ForEach": (BODY,)}.get(step.type, ())
    arguments = {key: value for key, value in step.arguments.items() if key not in inner}
    yield from references(arguments, step.arguments_path)


def _check_branches(
    step: StepEntry, target: StepEntry, reference: Reference, document: Document, faults: Faults
) -> None:
    own = dict(document.branches(step))
    for condition, branch in document.branches(target):
        if step.name == condition or own.get(condition, branch) != branch:
            where = f"the {branch} of '{condition}'"
            problem = f"step '{step.name}' needs '{target.name}' in {where}, which never runs before it"
            fix = "refer to a step outside of the branches, or add a copy under another name"
            faults.add(reference.path, problem, fix)
            return


def _check_loop(step: StepEntry, target: StepEntry, reference: Reference, faults: Faults) -> None:
    if target.loop and target.loop != step.loop:
        problem = f"step '{target.name}' runs once per item of '{target.loop}', under names with a number"
        faults.warn(reference.path, problem, f"refer to a property of '{target.loop}'")


def _check_cycles(needs: dict[str, set[str]], document: Document, faults: Faults) -> None:
    try:
        graphlib.TopologicalSorter(needs).prepare()
    except graphlib.CycleError as error:
        names = list(reversed(error.args[1]))
        first = document.step(names[0])
        path = first.path if first else "$.Steps"
        faults.add(path, f"the steps form a cycle: {' -> '.join(names)}", "remove one of these references")
