"""Checks ForEach steps: items, body and selector, and the references that only they have.

``ForEach.CurrentItem`` is the item in the steps of the body. ``IterationOutput.<step>.<member>``, in earlier versions
of the SDK ``ChildOutput.<step>.<member>``, is the field of the selector. Limits: class ``ForEachStep`` of the SDK.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mlops_core.runners import did_you_mean
from mlops_sagemaker.checking.document import BODY, as_list
from mlops_sagemaker.checking.expressions import is_expression
from mlops_sagemaker.checking.faults import below

if TYPE_CHECKING:
    from mlops_sagemaker.checking.document import Document, StepEntry
    from mlops_sagemaker.checking.expressions import ExpressionChecker
    from mlops_sagemaker.checking.faults import Faults

_ARGUMENTS = ("IterableItems", "MaxConcurrency", "Selector", BODY)
_NOT_IN_BODY = ("Condition", "Fail", "ForEach")
_PICKS = ("MaxBy", "MinBy")
_ITEM_LIMIT, _CONCURRENCY_LIMIT = 100, 50
_FIELD = re.compile(r"(?:ChildOutput|IterationOutput)\.([A-Za-z0-9_-]+)(.*)\Z", re.DOTALL)


def check_loop(step: StepEntry, document: Document, faults: Faults, *, expressions: ExpressionChecker) -> None:
    """Check the arguments of a ForEach step; the steps of its body are checked like all others."""
    arguments, path = step.arguments, step.arguments_path
    for key in arguments:
        if key not in _ARGUMENTS:
            hint = did_you_mean(key, _ARGUMENTS)
            faults.add(below(path, key), f"unknown argument{hint}", f"expected: {', '.join(_ARGUMENTS)}")
    _check_items(arguments.get("IterableItems"), f"{path}.IterableItems", faults, expressions=expressions)
    count = arguments.get("MaxConcurrency")
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= _CONCURRENCY_LIMIT:
        problem = f"{count!r} is not a whole number from 1 to {_CONCURRENCY_LIMIT}"
        faults.add(f"{path}.MaxConcurrency", problem, "set the number of steps to run in parallel")
    _check_body(step, document, faults)
    if "Selector" in arguments:
        _check_selector(step, arguments["Selector"], f"{path}.Selector", faults, expressions=expressions)


def _check_items(value: Any, path: str, faults: Faults, *, expressions: ExpressionChecker) -> None:
    if isinstance(value, dict) and is_expression(value):
        expressions.check(value, path)
    elif not isinstance(value, list):
        problem = "is missing" if value is None else "is neither a reference nor a list"
        faults.add(path, problem, "use a reference to a JSON list, or a list of values")
    else:
        if not 1 <= len(value) <= _ITEM_LIMIT:
            faults.add(path, f"has {len(value)} items", f"use 1 to {_ITEM_LIMIT} items")
        for index, item in enumerate(value):
            expressions.scalar(item, below(path, index))


def _check_body(step: StepEntry, document: Document, faults: Faults) -> None:
    path = below(step.arguments_path, BODY)
    if not as_list(step.arguments.get(BODY)):
        faults.add(path, "has no steps", "add the steps to run for each item")
    for inner in document.steps:
        if inner.path.startswith(f"{path}[") and inner.type in _NOT_IN_BODY:
            faults.add(f"{inner.path}.Type", f"a {inner.type} step cannot be in a ForEachBody", "move it outside")


def _check_selector(
    step: StepEntry, selector: Any, path: str, faults: Faults, *, expressions: ExpressionChecker
) -> None:
    if not isinstance(selector, dict) or set(selector) != {"Pick", "Field"}:
        faults.add(path, "must have exactly the keys Pick and Field", "write {'Pick': 'MaxBy', 'Field': {'Get': ...}}")
        return
    pick, target = selector["Pick"], selector["Field"]
    if pick not in _PICKS:
        hint = did_you_mean(pick, _PICKS) if isinstance(pick, str) else ""
        faults.add(f"{path}.Pick", f"{pick!r} is unknown{hint}", f"use one of {', '.join(_PICKS)}")
    reference = target.get("Get") if isinstance(target, dict) and len(target) == 1 else None
    match = _FIELD.match(reference) if isinstance(reference, str) else None
    names = [str(item.get("Name")) for item in as_list(step.arguments.get(BODY)) if isinstance(item, dict)]
    if match is None or match[1] not in names or not match[2]:
        fix = f"write {{'Get': 'IterationOutput.<step>.<member>'}}; steps of the body: {', '.join(names) or 'none'}"
        faults.add(f"{path}.Field", "is not a member of the output of a step in the body", fix)
    else:
        expressions.check(target, f"{path}.Field")
