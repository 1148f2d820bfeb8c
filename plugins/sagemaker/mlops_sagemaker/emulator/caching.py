"""Step caching by the service's rules: same pipeline, same step, same signature, succeeded, not too old."""

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
    """Return the digest of the resolved arguments that decide whether a result may be taken; empty where none may."""
    names = _SIGNATURES.get(step.type)
    if not names:
        return ""
    text = json.dumps({name: arguments.get(name) for name in names}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def find_cached(
    step: StepDefinition, signature: str, *, pipeline: str, history: ExecutionHistory
) -> tuple[str, ExecutionStep] | None:
    """Return the newest execution (its ARN) of this step whose result may be taken, and the step's record."""
    if not step.cache_expires or not signature:
        return None
    oldest = dt.datetime.now(dt.UTC) - parse_duration(step.cache_expires)
    for record in history.newest_first(pipeline):
        found = record.step(step.name)
        if found is None or found.status is not ExecutionStepStatus.SUCCEEDED or found.signature != signature:
            continue
        if dt.datetime.fromisoformat(found.end) >= oldest:
            return found.cache_source or record.arn, found
    return None


def parse_duration(text: str) -> dt.timedelta:
    """Return an ISO 8601 duration such as ``P30D`` or ``PT1H``; the SDK's examples write ``30d``.

    Raises:
        DefinitionError: it is none.
    """
    found = _DURATION.match(text)
    if not found or not any(found.groups()):
        raise DefinitionError(f"CacheConfig.ExpireAfter: {text!r} is not an ISO 8601 duration such as 'P30D'")
    part = {name: int(value or 0) for name, value in found.groupdict().items()}
    return dt.timedelta(
        days=365 * part["years"] + 30 * part["months"] + part["days"],
        weeks=part["weeks"],
        hours=part["hours"],
        minutes=part["minutes"],
        seconds=part["seconds"],
    )
