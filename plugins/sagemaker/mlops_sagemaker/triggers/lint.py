"""Rules that start themselves, and the lint of a file of any form: `triggers.yaml`, a pattern, or exported rules."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_core import UsageError, discover_use_cases
from mlops_core.runners import did_you_mean
from mlops_core.watching import ApprovalRule, ObjectRule, PrefixRule, ProposalRule, read_rules, rules_for
from mlops_sagemaker.triggers.findings import Finding, Severity, error, warning
from mlops_sagemaker.triggers.pattern_lint import lint_pattern
from mlops_sagemaker.triggers.rules import EventRule, event_rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from mlops_core.watching import TriggerRule


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineOutputs:
    """Where the pipelines of an account write, and what they register.

    Attributes:
        bucket: name of the artifact bucket; empty if it is not known, and every bucket may be it.
        prefixes: key prefixes below which they write.
        approval_status: of a model version when it is registered.
    """

    bucket: str = ""
    prefixes: tuple[str, ...] = ()
    approval_status: str = "PendingManualApproval"


def output_prefixes(pipeline: str, *, prefix: str = "") -> tuple[str, ...]:
    """Return the prefixes of the artifact bucket below which a pipeline, its deployment and `mlops run` write."""
    top = prefix or pipeline
    return (
        f"{top}/",
        f"{pipeline}/code/",
        "datacapture-staging/",
        "datacapture-production/",
        "evaluation/",
        "tensorboard/",
        "train/datasets/",
    )


def lint_file(
    path: Path, *, use_case: str = "", default: str = "", pipeline: str = "", outputs: PipelineOutputs
) -> list[Finding]:
    """Return the findings about a file: rules in YAML, or JSON with a pattern or exported rules.

    Raises:
        UsageError: the file cannot be read, or holds neither, or a rule is for another use case than `use_case`.
        ConfigError: rules in YAML are not valid.
    """
    if path.suffix.lower() in {".yaml", ".yml"}:
        return lint_rules(read_rules(path), use_case=use_case, default=default, pipeline=pipeline, outputs=outputs)
    try:
        text = path.read_text(encoding="utf-8")
        data = json.loads(text)
    except (OSError, ValueError, RecursionError) as fault:
        raise UsageError(f"cannot read {path}: {fault}; expected rules in YAML, or a pattern in JSON") from None
    if not isinstance(data, dict):
        raise UsageError(
            f"{path} holds a {type(data).__name__}; expected a pattern, or rules as the service lists them"
        )
    if "Rules" not in data and "EventPattern" not in data:
        return lint_pattern(text)
    items = data["Rules"] if isinstance(data.get("Rules"), list) else [data]
    return [finding for item in items if isinstance(item, dict) for finding in _lint_exported(item)]


def _lint_exported(item: Mapping[str, Any]) -> Iterator[Finding]:
    name = str(item.get("Name", ""))
    pattern = item.get("EventPattern")
    if pattern is None:
        return
    yield from lint_pattern(pattern if isinstance(pattern, str) else json.dumps(pattern), rule=name)
    for target in item.get("Targets", ()):
        if isinstance(target, dict) and not target.get("DeadLetterConfig"):
            yield warning(
                "no-dead-letter-queue",
                name,
                f"target '{target.get('Id', '')}' has no dead-letter queue; an event that it refuses is gone",
                "add DeadLetterConfig",
            )


def lint_rules(
    rules: Iterable[TriggerRule], *, use_case: str = "", default: str = "", pipeline: str = "", outputs: PipelineOutputs
) -> list[Finding]:
    """Return the findings about rules: their patterns, and the loops that they make with what their runs do.

    Raises:
        ConfigError: the service would refuse a rule.
        UsageError: a rule is for another use case than `use_case`.
    """
    rules = rules_for(rules, use_case, default=default)
    findings = list(_unknown_use_cases(rules))
    for made in event_rules(rules, pipeline=pipeline):
        if made.pattern is not None:
            findings += lint_pattern(json.dumps(made.pattern), rule=made.name)
        findings += _output_loops(made, outputs)
    findings += _approval_loops(rules, outputs)
    return findings


def _unknown_use_cases(rules: Iterable[TriggerRule]) -> Iterator[Finding]:
    """Yield a finding per use case that is not installed here; the machine of the lint may lack its plugin."""
    installed = {each.name.casefold(): each.name for each in discover_use_cases()}
    first = {rule.use_case: rule for rule in reversed(tuple(rules)) if rule.use_case}
    for name, rule in sorted(first.items()):
        if name.casefold() not in installed:
            hint = did_you_mean(name, installed.values())
            yield warning(
                "unknown-use-case",
                rule.name,
                f"the use case '{name}' is not installed here{hint}",
                f"correct use_case, or install its plugin; installed: {', '.join(installed.values()) or 'none'}",
            )


def _output_loops(made: EventRule, outputs: PipelineOutputs) -> Iterator[Finding]:
    rule = made.rule
    if not isinstance(rule, ObjectRule | PrefixRule) or (outputs.bucket and rule.bucket != outputs.bucket):
        return
    watched = rule.key if isinstance(rule, ObjectRule) else rule.prefix
    for prefix in outputs.prefixes:
        is_inside = watched.startswith(prefix)
        is_around = isinstance(rule, PrefixRule) and prefix.startswith(watched)
        if not (is_inside or is_around):
            continue
        problem = (
            f"runs write below {prefix!r}, and the rule takes what arrives at {watched!r}: each run may start another"
        )
        fix = "watch a prefix that nothing but uploads writes to"
        make = error if outputs.bucket else warning
        yield make("output-loop", made.name, problem, fix)


def _approval_loops(rules: tuple[TriggerRule, ...], outputs: PipelineOutputs) -> Iterator[Finding]:
    approvals = [rule for rule in rules if isinstance(rule, ApprovalRule)]
    starting = [rule for rule in rules if isinstance(rule, ObjectRule | PrefixRule | ProposalRule)]
    if approvals and starting and outputs.approval_status == "Approved":
        yield error(
            "approved-when-registered",
            approvals[0].name,
            f"runs register models as Approved, so that '{starting[0].name}' deploys them without a review",
            "set account.approval_status to PendingManualApproval",
        )
    for rule in approvals:
        if rule.to == "production" and not any(other.to == "staging" for other in approvals):
            yield warning(
                "no-staging", rule.name, "an approval deploys to production without a test", "deploy to staging first"
            )


def has_errors(findings: Iterable[Finding]) -> bool:
    """Return whether a finding is an error."""
    return any(finding.severity is Severity.ERROR for finding in findings)
