"""The checks of the contract of use cases, in the order of a pipeline's life."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from mlops_core.errors import UsageError, did_you_mean
from mlops_core.testing.checks import collect_checks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_core.testing.checks import Check


class Phase(StrEnum):
    """The part of a use case's life that a check examines: one module of `mlops_core.testing.use_cases.checks` each."""

    DISCOVERY = "discovery"
    HOOKS = "hooks"
    CONFIGURATION = "configuration"
    CATALOGUE = "catalogue"
    DATA = "data"
    STEPS = "steps"
    SEARCH = "search"
    RESULTS = "results"
    HONESTY = "honesty"
    METRICS = "metrics"
    GATE = "gate"
    RESUME = "resume"
    PREDICTOR = "predictor"
    RUNNERS = "runners"


def all_checks() -> Mapping[str, Check]:
    """Return every check by name, in the order in which they are made."""
    return collect_checks("mlops_core.testing.use_cases.checks", Phase)


def find_check(name: str) -> Check:
    """Return the check called `name`.

    Raises:
        UsageError: there is no such check.
    """
    checks = all_checks()
    if name not in checks:
        raise UsageError(
            f"no check '{name}'{did_you_mean(name, checks) or ';'} mlops plugin checks lists all {len(checks)}"
        )
    return checks[name]
