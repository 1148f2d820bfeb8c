"""The outcome of a check."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """Status of a check."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    BLOCKED = "blocked"
    EXPECTED = "expected"
    UNEXPECTED = "unexpected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of one check.

    Attributes:
        check: its name.
        status: blocked if an earlier check failed, expected if it fails as declared, unexpected if it passes although
            it was declared to fail.
        violations: one sentence each; the reason where it was skipped or blocked.
        cause: where it is blocked, the check whose failure is the reason.
        duration_s: wall time, including products that it was the first to need.
    """

    check: str
    status: Status
    violations: tuple[str, ...] = ()
    cause: str = ""
    duration_s: float = 0.0

    @property
    def is_good(self) -> bool:
        """Whether nothing has to be fixed."""
        return self.status in (Status.PASSED, Status.SKIPPED, Status.EXPECTED)
