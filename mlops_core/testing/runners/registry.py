"""The checks of the contract of runners, in the order of a run's life."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from mlops_core.testing.checks import collect_checks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_core.testing.checks import Check


class RunnerPhase(StrEnum):
    """The part of a run's life that a check examines: one module of `mlops_core.testing.runners.checks` each."""

    PLUGIN = "plugin"
    ORDER = "order"
    ARGUMENTS = "arguments"
    STORAGE = "storage"
    GATE = "gate"
    RECORDS = "records"
    EVENTS = "events"
    FAILURES = "failures"
    LIMITS = "limits"
    REUSE = "reuse"
    INTERRUPTION = "interruption"


def runner_checks() -> Mapping[str, Check]:
    """Return every check by name, in the order in which they are made."""
    return collect_checks("mlops_core.testing.runners.checks", RunnerPhase)
