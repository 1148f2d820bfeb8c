"""Checks what Lambda and Callback steps have beside their arguments: function, queue and declared outputs."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from mlops_core.runners import did_you_mean
from mlops_sagemaker.checking.expressions import is_expression
from mlops_sagemaker.checking.faults import below
from mlops_sagemaker.checking.structure import PARAMETER_TYPES

if TYPE_CHECKING:
    from mlops_sagemaker.checking.document import StepEntry
    from mlops_sagemaker.checking.expressions import ExpressionChecker
    from mlops_sagemaker.checking.faults import Faults

_FUNCTION = re.compile(
    r"arn:aws[a-z-]*:lambda:[a-z0-9-]+:\d{12}:function:[A-Za-z0-9_-]{1,64}(:(\$LATEST|[A-Za-z0-9_-]{1,128}))?\Z"
)
_QUEUE = re.compile(r"https?://\S{1,248}\Z")
_OUTPUT_LIMIT, _NAME_LIMIT = 50, 256
"""Limits of the shapes OutputParameterList and String256 of the service model."""


def check_outputs(step: StepEntry, faults: Faults, *, expressions: ExpressionChecker) -> None:
    """Check the function or the queue of a step, and its ``OutputParameters``."""
    if step.type == "Lambda":
        fix = "use the ARN of a function: arn:aws:lambda:<region>:<account>:function:<name>"
        _check_address(step, "FunctionArn", _FUNCTION, fix, faults, expressions=expressions)
    if step.type == "Callback":
        fix = "use the URL of an SQS queue, at most 256 characters"
        _check_address(step, "SqsQueueUrl", _QUEUE, fix, faults, expressions=expressions)
    path = f"{step.path}.OutputParameters"
    outputs = step.data.get("OutputParameters")
    if outputs is None:
        return
    if not isinstance(outputs, list):
        faults.add(path, "is not a list", "use a list of {'OutputName': ..., 'OutputType': ...}")
        return
    if len(outputs) > _OUTPUT_LIMIT:
        faults.add(path, f"has {len(outputs)} outputs; the limit is {_OUTPUT_LIMIT}", "remove some")
    names = Counter(item.get("OutputName") for item in outputs if _has_name(item))
    for index, item in enumerate(outputs):
        _check_output(item, below(path, index), faults)
        if _has_name(item) and names[item["OutputName"]] > 1:
            name = item["OutputName"]
            faults.add(f"{below(path, index)}.OutputName", f"'{name}' is used {names[name]} times", "rename one")


def _check_address(
    step: StepEntry,
    key: str,
    pattern: re.Pattern[str],
    fix: str,
    faults: Faults,
    *,
    expressions: ExpressionChecker,
) -> None:
    value, path = step.data.get(key), f"{step.path}.{key}"
    if not value:
        return  # that it is missing is reported with the other keys
    if isinstance(value, dict) and is_expression(value):
        expressions.text(value, path)
    elif not isinstance(value, str) or not pattern.match(value):
        faults.add(path, f"{value!r:.80} is not valid", fix)


def _has_name(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("OutputName"), str)


def _check_output(item: Any, path: str, faults: Faults) -> None:
    if not isinstance(item, dict):
        faults.add(path, "is not an object", "use an object with OutputName and OutputType")
        return
    for key in item:
        if key not in ("OutputName", "OutputType"):
            faults.add(below(path, key), "unknown key", "expected: OutputName, OutputType")
    name, kind = item.get("OutputName"), item.get("OutputType")
    if not (isinstance(name, str) and 0 < len(name) <= _NAME_LIMIT) and not is_expression(name):
        faults.add(f"{path}.OutputName", f"is {name!r:.80}", f"use a text of 1 to {_NAME_LIMIT} characters")
    if "OutputType" in item and (not isinstance(kind, str) or kind not in PARAMETER_TYPES):
        hint = did_you_mean(kind, PARAMETER_TYPES) if isinstance(kind, str) else ""
        faults.add(f"{path}.OutputType", f"unknown type {kind!r}{hint}", f"use one of {', '.join(PARAMETER_TYPES)}")
