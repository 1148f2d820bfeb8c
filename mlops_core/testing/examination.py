"""Making checks: each once, after those that must hold first, judged by what the author declares.

Knows neither use cases nor runners: `Examination` hands a session to the checks of its contract and keeps their
outcomes.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from mlops_core.errors import MlopsError
from mlops_core.testing.checks import NotApplicableError
from mlops_core.testing.outcomes import Outcome, Status

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from mlops_core.testing.checks import Check

_SHOWN = 8


class Declaration(Protocol):
    """The part of an author's declaration that decides about checks."""

    @property
    def expected_failures(self) -> Mapping[str, str]:
        """Check -> the reason for which it must fail."""

    def has(self, capability: str) -> bool:
        """Tell whether a capability flag is set."""


class Session(Protocol):
    """The part of a contract's session that its tests need."""

    shared: dict[str, Any]
    examination: Examination

    def close(self) -> None:
        """Give up what the session keeps open."""


class Examination:
    """The checks of one session and their outcomes."""

    def __init__(self, session: object, *, checks: Mapping[str, Check], declaration: Declaration) -> None:
        """Examine `session` with `checks`; nothing is made yet."""
        self.checks = checks
        self._session = session
        self._declaration = declaration
        self._outcomes: dict[str, Outcome] = {}

    def outcomes(self) -> Iterator[Outcome]:
        """Make every check and yield its outcome, in their order."""
        for check in self.checks.values():
            yield self.outcome(check)

    def outcome(self, check: Check, *, ignoring: Collection[str] = ()) -> Outcome:
        """Make a check, after those that must hold before it; each is made once.

        Args:
            check: the check.
            ignoring: checks that may fail before it.
        """
        if check.name not in self._outcomes:
            began = time.monotonic()
            outcome = self._judged(check, self._made(check, ignoring))
            self._outcomes[check.name] = replace(outcome, duration_s=time.monotonic() - began)
        return self._outcomes[check.name]

    def take(self, outcome: Outcome) -> None:
        """Accept an outcome instead of making the check."""
        self._outcomes[outcome.check] = outcome

    def _made(self, check: Check, ignoring: Collection[str]) -> Outcome:
        if check.needs and not self._declaration.has(check.needs):
            return _outcome(check, Status.SKIPPED, [f"declared: {check.needs} = False"])
        for name in check.after:
            if name in ignoring:
                continue
            # A failure that was declared does not block later checks: each is made or named in its own right.
            before = self.outcome(self.checks[name])
            if before.status in (Status.FAILED, Status.BLOCKED):
                return _blocked(check, before)
        try:
            violations = _shortened([f"{sentence}" for sentence in check.function(self._session)])
        except NotApplicableError as reason:
            return _outcome(check, Status.SKIPPED, [str(reason)])
        except MlopsError as error:
            violations = [str(error)]
        except (Exception, SystemExit) as error:  # noqa: BLE001  plugin code may raise anything; never a pass
            violations = [f"{type(error).__name__}: {error}"]
        return _outcome(check, Status.FAILED if violations else Status.PASSED, violations)

    def _judged(self, check: Check, outcome: Outcome) -> Outcome:
        reason = self._declaration.expected_failures.get(check.name)
        if reason is None:
            return outcome
        if outcome.status is Status.FAILED:
            return replace(outcome, status=Status.EXPECTED)
        if outcome.status is Status.PASSED:
            sentence = f"it holds, although expected_failures says: {reason}; remove the entry"
            return replace(outcome, status=Status.UNEXPECTED, violations=(sentence,))
        return outcome


def _blocked(check: Check, before: Outcome) -> Outcome:
    """Return the outcome of a check that cannot be made because another one failed or is blocked itself."""
    if before.status is Status.BLOCKED:
        return replace(before, check=check.name)
    sentence = f"{before.check} has to hold first: {before.violations[0]}"
    return replace(_outcome(check, Status.BLOCKED, [sentence]), cause=before.check)


def _shortened(sentences: list[str]) -> list[str]:
    """Return at most one screenful: a rule that is broken in many places is broken."""
    more = len(sentences) - _SHOWN
    return [*sentences[:_SHOWN], f"and {more} more like these"] if more > 1 else sentences


def _outcome(check: Check, status: Status, violations: Iterable[str]) -> Outcome:
    return Outcome(check=check.name, status=status, violations=tuple(violations))
