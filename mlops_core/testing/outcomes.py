"""What becomes of a check."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """What became of a check."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    BLOCKED = "blocked"
    EXPECTED = "expected"
    UNEXPECTED = "unexpected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one check.

    Attributes:
        check: its name.
        status: blocked where a check before it failed, expected where it fails as declared, unexpected where it
            passes although it was declared to fail.
        violations: one sentence each; the reason where it was skipped or blocked.
        cause: where it is blocked, the check whose failure is the reason.
        duration_s: wall time, with that of what it was the first to ask for.
    """

    check: str
    status: Status
    violations: tuple[str, ...] = ()
    cause: str = ""
    duration_s: float = 0.0

    @property
    def is_good(self) -> bool:
        """Nothing has to be done about it."""
        return self.status in (Status.PASSED, Status.SKIPPED, Status.EXPECTED)
