"""The rules of `triggers.yaml` as rules of EventBridge: the pattern of each, and what its target is given."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mlops_core import ConfigError, UsageError, discover_use_cases
from mlops_core.runners import did_you_mean
from mlops_core.watching import ApprovalRule, ObjectRule, PrefixRule, ProposalRule, ScheduleRule, TriggerRule
from mlops_sagemaker.compiler.definition import model_package_group
from mlops_sagemaker.compiler.ingestion import ANNOTATIONS_URI, DATASET_URI, DATASET_VERSION
from mlops_sagemaker.triggers.arrivals import CREATED, RESTORED, TRAIL, WRITES
from mlops_sagemaker.values.account import bucket_fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

PACKAGE_CHANGE = "SageMaker Model Package State Change"
EXECUTION_CHANGE = "SageMaker Model Building Pipeline Execution Status Change"
DRIFT_SOURCE, DRIFT = "mlops.drift", "Retraining Proposal"
_NAME_LIMIT = 64
_PARAMETER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,255}")
_VALUE_LIMIT = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRule:
    """One rule on the bus, or one schedule.

    Attributes:
        name: of the rule at the service.
        rule: that it was made from.
        pipeline: name of the pipeline that is started; empty for a rule that starts none.
        pattern: that events must match; None for a schedule.
        parameters: pipeline parameter -> text, or one JSONPath of the event.
    """

    name: str
    rule: TriggerRule
    pipeline: str = ""
    pattern: Mapping[str, Any] | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)


def event_rules(rules: Iterable[TriggerRule], *, use_case: str = "", pipeline: str = "") -> tuple[EventRule, ...]:
    """Return the rules of a file for the service.

    Args:
        rules: of the file.
        use_case: for rules that name none.
        pipeline: name of the pipeline; empty for that of the use case.

    Raises:
        ConfigError: the service would refuse a name, a bucket or a parameter; all faults together.
    """
    owned = [replace(rule, use_case=rule.use_case or use_case) for rule in rules]
    made = [each for rule in owned for each in _rules_of(rule, rule.use_case, pipeline)]
    problems = [problem for each in made for problem in _faults(each)]
    if len(problems) == 1:
        raise ConfigError(problems[0])
    if problems:
        raise ConfigError(f"the rules have {len(problems)} faults", problems=problems)
    return tuple(made)


def require_installed(rules: Iterable[TriggerRule]) -> None:
    """Check that the use cases of rules are installed, spelled as they are registered: pipelines have their names.

    Raises:
        UsageError: one is not.
    """
    installed = sorted({each.name for each in discover_use_cases()})
    for rule in rules:
        if rule.use_case not in installed:
            raise UsageError(
                f"rule '{rule.name}': no use case '{rule.use_case}'{did_you_mean(rule.use_case, installed) or ';'} "
                f"installed: {', '.join(installed) or 'none'}"
            )


def _rules_of(rule: TriggerRule, use_case: str, pipeline: str) -> Iterator[EventRule]:
    group = model_package_group(use_case)
    started = pipeline or group
    if isinstance(rule, ObjectRule):
        parameters = {DATASET_URI: f"s3://{rule.bucket}/{rule.key}", DATASET_VERSION: "$.detail.requestID"}
        yield _started(rule, started, parameters, _object_pattern(rule))
    elif isinstance(rule, PrefixRule):
        yield _started(rule, started, _prefix_parameters(rule), _prefix_pattern(rule))
    elif isinstance(rule, ApprovalRule):
        detail = {"ModelPackageGroupName": [rule.group or group], "ModelApprovalStatus": ["Approved"]}
        pattern = {"source": ["aws.sagemaker"], "detail-type": [PACKAGE_CHANGE], "detail": detail}
        yield EventRule(name=rule.name, rule=rule, pattern=pattern)
    elif isinstance(rule, ProposalRule):
        for cause in rule.on:
            name = rule.name if len(rule.on) == 1 else f"{rule.name}-{cause}"
            yield EventRule(name=name, rule=rule, pattern=_proposal_pattern(cause, rule.pipeline or started, use_case))
    elif isinstance(rule, ScheduleRule):
        yield _started(rule, started, {}, None)


def _started(
    rule: TriggerRule, pipeline: str, parameters: Mapping[str, str], pattern: Mapping[str, Any] | None
) -> EventRule:
    both = {**parameters, **rule.parameters}
    return EventRule(name=rule.name, rule=rule, pipeline=pipeline, pattern=pattern, parameters=both)


def _object_pattern(rule: ObjectRule) -> dict[str, Any]:
    return {
        "source": ["aws.s3"],
        "detail-type": [TRAIL],
        "detail": {
            "eventSource": ["s3.amazonaws.com"],
            "eventName": list(WRITES),
            "errorCode": [{"exists": False}],
            "requestParameters": {"bucketName": [rule.bucket], "key": [rule.key]},
        },
    }


def _prefix_pattern(rule: PrefixRule) -> dict[str, Any]:
    key = {"wildcard": f"{_escaped(rule.prefix)}*{_escaped(rule.suffix)}"} if rule.suffix else {"prefix": rule.prefix}
    return {
        "source": ["aws.s3"],
        "detail-type": [CREATED, RESTORED],
        "detail": {"bucket": {"name": [rule.bucket]}, "object": {"key": [key]}},
    }


def _prefix_parameters(rule: PrefixRule) -> dict[str, str]:
    if not rule.dataset_key:
        return {DATASET_URI: f"s3://{rule.bucket}/{rule.prefix}", DATASET_VERSION: "$.detail.object.etag"}
    return {
        DATASET_URI: f"s3://{rule.bucket}/{rule.dataset_key}",
        ANNOTATIONS_URI: f"s3://{rule.bucket}/{rule.prefix}",
        DATASET_VERSION: "$.detail.object.etag",
    }


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("*", r"\*")


def _proposal_pattern(cause: str, pipeline: str, use_case: str) -> dict[str, Any]:
    if cause == "drift":
        return {"source": [DRIFT_SOURCE], "detail-type": [DRIFT], "detail": {"use_case": [use_case]}}
    # the end of the ARN: a bus has the events of one account and region; names in ARNs are in lower case
    detail = {
        "pipelineArn": [{"suffix": {"equals-ignore-case": f":pipeline/{pipeline}"}}],
        "currentPipelineExecutionStatus": ["Failed"],
    }
    return {"source": ["aws.sagemaker"], "detail-type": [EXECUTION_CHANGE], "detail": detail}


def _faults(made: EventRule) -> Iterator[str]:
    if len(made.name) > _NAME_LIMIT:
        yield f"rule '{made.name}': the name has {len(made.name)} characters; the service takes {_NAME_LIMIT}"
    if not made.rule.use_case:
        yield f"rule '{made.name}': no use case; set use_case in the file or pass --usecase NAME"
    bucket = getattr(made.rule, "bucket", "")
    if bucket and (fault := bucket_fault(bucket)):
        yield f"rule '{made.name}': bucket {bucket!r} {fault}"
    for name, value in made.parameters.items():
        if not _PARAMETER_NAME.fullmatch(name):
            yield f"rule '{made.name}': parameter {name!r} is not a name; expected letters, digits, '-' and '_'"
        if len(value) > _VALUE_LIMIT:
            yield f"rule '{made.name}': parameter '{name}' has {len(value):,} characters; at most {_VALUE_LIMIT:,}"
        if value.startswith("$") and not re.fullmatch(r"\$(?:\.[A-Za-z0-9_-]+)+", value):
            yield f"rule '{made.name}': parameter '{name}': {value!r} is not one JSONPath in dot notation"
