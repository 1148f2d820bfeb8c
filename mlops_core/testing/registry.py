"""The registry of checks: what a check is, how one is declared, and all of them in the order of a pipeline's life.

A check is a plain function that takes a `ContractSession` and yields one sentence for each violation that it finds.
It yields nothing when the rule holds, and raises `NotApplicableError` where the rule does not concern the use case.
"""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from mlops_core.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mlops_core.testing.session import ContractSession

    CheckFunction: TypeAlias = Callable[[ContractSession], Iterable[str]]

_FIX = "Fix:"


class Phase(StrEnum):
    """When in a use case's life a check looks; one module of `mlops_core.testing.checks` each, in this order."""

    DISCOVERY = "discovery"
    HOOKS = "hooks"
    CONFIGURATION = "configuration"
    CATALOGUE = "catalogue"
    DATA = "data"
    STEPS = "steps"
    RESULTS = "results"
    METRICS = "metrics"
    GATE = "gate"
    RESUME = "resume"
    PREDICTOR = "predictor"
    RUNNERS = "runners"


class NotApplicableError(Exception):
    """The rule of a check does not concern this use case; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One named check.

    Attributes:
        name: unique; a statement that holds of a sound use case, such as ``steps_use_no_network``.
        phase: when it looks.
        function: yields a sentence for each violation.
        after: checks that must have held before: where one of them failed, this one would only repeat it.
        needs: the capability flag of the declaration without which it does not apply; empty for none.
    """

    name: str
    phase: Phase
    function: CheckFunction
    after: tuple[str, ...] = ()
    needs: str = ""

    @property
    def documentation(self) -> str:
        """The rule, and what to do when it is broken."""
        return inspect.getdoc(self.function) or ""

    @property
    def rule(self) -> str:
        """The rule in one sentence."""
        return " ".join(self.documentation.partition(_FIX)[0].split())

    @property
    def remedy(self) -> str:
        """What to do when the rule is broken."""
        return " ".join(self.documentation.partition(_FIX)[2].split())


def check(*, after: tuple[str, ...] = (), needs: str = "") -> Callable[[CheckFunction], CheckFunction]:
    """Mark a function of a module in `mlops_core.testing.checks` as a check of the module's phase.

    Its name is the check's; its docstring states the rule, then, after "Fix:", what to do.
    """

    def mark(function: CheckFunction) -> CheckFunction:
        function.__contract_check__ = (after, needs)  # type: ignore[attr-defined]
        return function

    return mark


def all_checks() -> Mapping[str, Check]:
    """Return every check by name, in the order in which they are made."""
    found: dict[str, Check] = {}
    for phase in Phase:
        module = importlib.import_module(f"mlops_core.testing.checks.{phase}")
        for name, function in vars(module).items():
            if not hasattr(function, "__contract_check__"):
                continue
            after, needs = function.__contract_check__
            found[name] = Check(name=name, phase=phase, function=function, after=after, needs=needs)
    return found


def find_check(name: str) -> Check:
    """Return the check called `name`.

    Raises:
        UsageError: there is none.
    """
    checks = all_checks()
    if name not in checks:
        raise UsageError(
            f"no check '{name}'{did_you_mean(name, checks) or ';'} mlops plugin checks lists all {len(checks)}"
        )
    return checks[name]
