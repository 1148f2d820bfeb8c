"""Patterns that are valid and still wrong: they never match, or match more than was meant."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from mlops_core import did_you_mean
from mlops_sagemaker.triggers.arrivals import CREATED, RESTORED, TRAIL, WRITES
from mlops_sagemaker.triggers.findings import Finding, error, warning
from mlops_sagemaker.triggers.patterns import EventPattern, PatternError
from mlops_sagemaker.triggers.patterns.values import Absent, Exact, FieldTest, Prefix, is_number
from mlops_sagemaker.triggers.rules import EXECUTION_CHANGE, PACKAGE_CHANGE

if TYPE_CHECKING:
    from collections.abc import Iterator

PATTERN_LIMIT = 2048
_CAMEL = ("Creating", "Executing", "Failed", "Stopped", "Stopping", "Succeeded", "Starting")
_ENDPOINT = (
    "CREATING",
    "DELETING",
    "FAILED",
    "IN_SERVICE",
    "OUT_OF_SERVICE",
    "ROLLING_BACK",
    "SYSTEM_UPDATING",
    "UPDATING",
)
_APPROVALS = ("Approved", "PendingManualApproval", "Rejected")
_STATUSES: dict[str, tuple[str, ...]] = {
    "detail.currentPipelineExecutionStatus": _CAMEL,
    "detail.previousPipelineExecutionStatus": _CAMEL,
    "detail.currentStepStatus": _CAMEL,
    "detail.EndpointStatus": _ENDPOINT,
    "detail.ModelApprovalStatus": _APPROVALS,
    "detail.ModelPackageStatus": ("Pending", "InProgress", "Completed", "Failed", "Deleting"),
}
"""How the events spell them, which is not how every API call does."""
_KINDS = (
    CREATED,
    RESTORED,
    "Object Deleted",
    "Object Tags Added",
    TRAIL,
    PACKAGE_CHANGE,
    EXECUTION_CHANGE,
    "SageMaker Model Building Pipeline Execution Step Status Change",
    "SageMaker Endpoint State Change",
    "SageMaker Endpoint Deployment State Change",
    "SageMaker Training Job State Change",
    "SageMaker Transform Job State Change",
    "SageMaker HyperParameter Tuning Job State Change",
    "CloudWatch Alarm State Change",
)
_BUCKETS = {"detail.bucket.name", "detail.requestParameters.bucketName"}
_KEYS = {"detail.object.key", "detail.requestParameters.key"}
_NUMBER = re.compile(r'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*')


def lint_pattern(text: str, *, rule: str = "") -> list[Finding]:
    """Return what is wrong with a pattern of any origin."""
    try:
        pattern = EventPattern.parse(text)
    except PatternError as fault:
        return [error("invalid-pattern", rule, str(fault), "the service refuses it")]
    findings = list(_text_findings(text, rule))
    for alternative in pattern.alternatives:
        fields = {field.name: field for field in alternative.fields}
        for finding in _field_findings(fields, rule):
            if finding not in findings:
                findings.append(finding)
    return findings


def _text_findings(text: str, rule: str) -> Iterator[Finding]:
    size = len(json.dumps(json.loads(text), separators=(",", ":")))
    if size > PATTERN_LIMIT:
        yield error(
            "pattern-size", rule, f"the pattern has {size:,} characters", f"at most {PATTERN_LIMIT:,}: split it"
        )
    for token in _NUMBER.findall(text):
        if token.startswith('"'):
            continue
        value = json.loads(token)
        plain = json.dumps(int(value)) if is_number(value) and value == int(value) else json.dumps(value)
        if token != plain:
            yield warning(
                "number-spelling",
                rule,
                f"the number {token} is compared by value, and by its digits in older parts of the service",
                f"write {plain}",
            )


def _field_findings(fields: dict[str, FieldTest], rule: str) -> Iterator[Finding]:
    yield from _kind_findings(fields, rule)
    for name in _BUCKETS & fields.keys():
        for value in _texts(fields[name]):
            if value.startswith("arn:"):
                bare = value.rpartition(":")[2]
                yield error(
                    "bucket-arn", rule, f"{name} is {value!r}; events hold the bare name", f"write {json.dumps(bare)}"
                )
    for name in _KEYS & fields.keys():
        yield from _key_findings(fields[name], rule)
    for name, known in _STATUSES.items():
        if name in fields:
            yield from _status_findings(fields[name], known, rule)
    yield from _trail_findings(fields, rule)
    yield from _change_findings(fields, rule)


def _texts(field: FieldTest) -> list[str]:
    """Return the exact texts and prefixes of a field."""
    values: list[Any] = [test.value for test in field.tests if isinstance(test, Exact)]
    values += [test.text for test in field.tests if isinstance(test, Prefix)]
    return [value for value in values if isinstance(value, str)]


def _kinds(fields: dict[str, FieldTest]) -> list[str]:
    return _texts(fields["detail-type"]) if "detail-type" in fields else []


def _kind_findings(fields: dict[str, FieldTest], rule: str) -> Iterator[Finding]:
    if "source" not in fields:
        yield warning("no-source", rule, "events of every source are tried", 'add "source", such as ["aws.s3"]')
    for kind in _kinds(fields):
        near = did_you_mean(kind, _KINDS)
        if near and kind not in _KINDS:
            yield error("unknown-detail-type", rule, f"no event has the detail-type {kind!r}", near.removeprefix("; "))


def _key_findings(field: FieldTest, rule: str) -> Iterator[Finding]:
    for test in field.tests:
        if isinstance(test, Prefix) and not test.text.endswith("/"):
            yield warning(
                "open-prefix",
                rule,
                f"the prefix {test.text!r} also takes {test.text + '.tmp'!r}",
                f"name the object, end the prefix with a slash, or use a wildcard such as {test.text + '*.zip'!r}",
            )
        if isinstance(test, Exact) and isinstance(test.value, str) and "%" in test.value:
            yield warning("encoded-key", rule, f"the key {test.value!r} looks encoded", "keys of events are not")


def _status_findings(field: FieldTest, known: tuple[str, ...], rule: str) -> Iterator[Finding]:
    folded = {status.replace("_", "").casefold(): status for status in known}
    for value in _texts(field):
        if value in known:
            continue
        spelled = folded.get(value.replace("_", "").casefold())
        advice = f"write {json.dumps(spelled)}" if spelled else f"expected one of {', '.join(known)}"
        yield error("status-spelling", rule, f"{field.name} is never {value!r} in events", advice)


def _trail_findings(fields: dict[str, FieldTest], rule: str) -> Iterator[Finding]:
    if TRAIL not in _kinds(fields):
        return
    absent = fields.get("detail.errorCode")
    if absent is None or not any(isinstance(test, Absent) for test in absent.tests):
        yield error(
            "failed-calls", rule, "calls that failed match, too", 'add "errorCode": [{"exists": false}] to the detail'
        )
    names = fields.get("detail.eventName")
    if names is None:
        yield warning("event-names", rule, "reads match, too", f'add "eventName": {json.dumps(list(WRITES))}')
        return
    missing = [name for name in WRITES if not names.matches(name)]
    if missing and len(missing) < len(WRITES):
        yield error(
            "event-names",
            rule,
            f"eventName lacks {', '.join(missing)}: copies and big files are missed",
            f"write {json.dumps(list(WRITES))}",
        )
    if "detail.requestParameters.bucketName" not in fields:
        yield warning("no-bucket", rule, "calls for every bucket match", "add requestParameters.bucketName")


def _change_findings(fields: dict[str, FieldTest], rule: str) -> Iterator[Finding]:
    kinds = _kinds(fields)
    is_status = any("Pipeline Execution" in kind for kind in kinds)
    if is_status and "detail.pipelineArn" not in fields and "resources" not in fields:
        yield error(
            "no-pipeline", rule, "executions of every pipeline match, its own included", "add detail.pipelineArn"
        )
    if PACKAGE_CHANGE not in kinds:
        return
    if "detail.ModelPackageGroupName" not in fields:
        yield error("no-group", rule, "approvals of every model group match", "add detail.ModelPackageGroupName")
    approval = fields.get("detail.ModelApprovalStatus")
    if approval is None or approval.matches("Rejected") or approval.matches("PendingManualApproval"):
        yield error(
            "not-only-approved",
            rule,
            "a rejection matches, too, and would deploy again",
            'write "ModelApprovalStatus": ["Approved"]',
        )
