"""Step caching by the rules of the service: same pipeline, step and signature, succeeded, not expired."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from mlops_core.runners import DefinitionError
from mlops_sagemaker.emulator.jobs import processing, training, tuning
from mlops_sagemaker.service.executions import ExecutionStepStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_sagemaker.emulator.definition import StepDefinition
    from mlops_sagemaker.emulator.history import ExecutionHistory
    from mlops_sagemaker.service.executions import ExecutionStep

_SIGNATURES = {"Processing": processing.SIGNATURE, "Training": training.SIGNATURE, "Tuning": tuning.SIGNATURE}
_DURATION = re.compile(
    r"P?(?:(?P<years>\d+)Y)?(?:(?P<months>\d+)M)?(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)S)?)?\Z",
    re.IGNORECASE,
)


def signature_of(step: StepDefinition, arguments: Mapping[str, Any]) -> str:
    """Return the digest of the resolved arguments that identify a reusable result; empty if the type is not cached."""
    names = _SIGNATURES.get(step.type)
    if not names:
        return ""
    text = json.dumps({name: arguments.get(name) for name in names}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def find_cached(
    step: StepDefinition, signature: str, *, pipeline: str, history: ExecutionHistory
) -> tuple[str, ExecutionStep] | None:
    """Return the newest reusable result: the ARN of its execution and the step; None if there is none."""
    if not step.cache_expires or not signature:
        return None
    oldest = dt.datetime.now(dt.UTC) - parse_duration(step.cache_expires)
    for record in history.newest_first(pipeline):
        earlier = record.step(step.name)
        if earlier is None or earlier.status is not ExecutionStepStatus.SUCCEEDED or earlier.signature != signature:
            continue
        if dt.datetime.fromisoformat(earlier.end) >= oldest:
            return earlier.cache_source or record.arn, earlier
    return None


def parse_duration(text: str) -> dt.timedelta:
    """Return an ISO 8601 duration such as ``P30D`` or ``PT1H``, or ``30d`` as in the examples of the SDK.

    Raises:
        DefinitionError: the text is not a duration.
    """
    match = _DURATION.match(text)
    if not match or not any(match.groups()):
        raise DefinitionError(f"CacheConfig.ExpireAfter: {text!r} is not an ISO 8601 duration such as 'P30D'")
    part = {name: int(value or 0) for name, value in match.groupdict().items()}
    return dt.timedelta(
        days=365 * part["years"] + 30 * part["months"] + part["days"],
        weeks=part["weeks"],
        hours=part["hours"],
        minutes=part["minutes"],
        seconds=part["seconds"],
    )
