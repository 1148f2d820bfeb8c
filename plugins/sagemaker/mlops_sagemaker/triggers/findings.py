"""What `mlops sagemaker trigger lint` finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    """The rule never matches, cannot be created, or starts itself."""
    WARNING = "warning"
    """The rule matches more or less than was probably meant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One finding about one rule.

    Attributes:
        severity: how bad it is.
        check: short name of the check.
        rule: name of the rule; empty for the file.
        problem: what is wrong.
        fix: what to do.
    """

    severity: Severity
    check: str
    rule: str
    problem: str
    fix: str

    def __str__(self) -> str:
        """Return the finding in one line."""
        where = f"rule '{self.rule}': " if self.rule else ""
        return f"{self.severity}: {where}{self.problem}; {self.fix} [{self.check}]"


def error(check: str, rule: str, problem: str, fix: str) -> Finding:
    """Return a finding that makes the rule useless or dangerous."""
    return Finding(severity=Severity.ERROR, check=check, rule=rule, problem=problem, fix=fix)


def warning(check: str, rule: str, problem: str, fix: str) -> Finding:
    """Return a finding about what was probably not meant."""
    return Finding(severity=Severity.WARNING, check=check, rule=rule, problem=problem, fix=fix)
