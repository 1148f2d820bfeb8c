"""Step caching by the rules of the service: same pipeline, step and signature, succeeded, not expired."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.emulator.jobs import processing, training, tuning
from mlops_sagemaker.emulator.objects import has_objects
from mlops_sagemaker.service.executions import ExecutionStepStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_sagemaker.emulator.definition import StepDefinition
    from mlops_sagemaker.emulator.history import ExecutionHistory
    from mlops_sagemaker.emulator.objects import ObjectStore
    from mlops_sagemaker.service.executions import ExecutionStep

_SIGNATURES = {"Processing": processing.SIGNATURE, "Training": training.SIGNATURE, "Tuning": tuning.SIGNATURE}


def signature_of(step: StepDefinition, arguments: Mapping[str, Any]) -> str:
    """Return the digest of the resolved arguments that identify a reusable result; empty if the type is not cached."""
    names = _SIGNATURES.get(step.type)
    if not names:
        return ""
    identifying = {name: arguments.get(name) for name in names}
    if step.type == "Tuning":
        identifying |= tuning.identifying_definitions(arguments)
    text = json.dumps(identifying, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def find_cached(
    step: StepDefinition, signature: str, *, pipeline: str, history: ExecutionHistory, objects: ObjectStore
) -> tuple[str, ExecutionStep] | None:
    """Return the newest reusable result: the ARN of its execution and the step; None if there is none.

    A result whose objects are no longer there is not reused.
    """
    if step.cache_expires is None or not signature:
        return None
    now = dt.datetime.now(dt.UTC)
    for record in history.newest_first(pipeline):
        earlier = record.step(step.name)
        if earlier is None or earlier.status is not ExecutionStepStatus.SUCCEEDED or earlier.signature != signature:
            continue
        is_current = now - dt.datetime.fromisoformat(earlier.end) <= step.cache_expires
        if is_current and all(has_objects(objects, uri) for uri in earlier.written):
            return earlier.cache_source or record.arn, earlier
    return None
