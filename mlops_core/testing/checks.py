"""The checks of both contracts: the data type, the decorator that marks a function as one, and their collection.

A check is a plain function that takes the session of the plugin under check and yields one sentence for each
violation. It yields nothing when the rule holds, and raises `NotApplicableError` where the rule does not concern the
plugin. Which checks exist is the business of `mlops_core.testing.use_cases.registry` and
`mlops_core.testing.runners.registry`.
"""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from mlops_core.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    CheckFunction: TypeAlias = Callable[..., Iterable[str]]

_FIX = "Fix:"
F = TypeVar("F", bound="CheckFunction")


class NotApplicableError(Exception):
    """The rule of a check does not concern this plugin; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One named check.

    Attributes:
        name: unique in its contract; a statement that holds of a sound plugin, such as ``steps_use_no_network``.
        phase: name of the module that holds it.
        function: takes the session, yields a sentence for each violation.
        after: checks that must hold first: where one of them failed, this one would only repeat it.
        needs: the capability flag of the declaration without which it does not apply; empty for none.
    """

    name: str
    phase: str
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


def check(*, after: tuple[str, ...] = (), needs: str = "") -> Callable[[F], F]:
    """Mark a function as a check of its module's phase.

    Its name is the check's; its docstring states the rule, then, after "Fix:", what to do.
    """

    def mark(function: F) -> F:
        function.__contract_check__ = (after, needs)  # type: ignore[attr-defined]
        return function

    return mark


def collect_checks(package: str, phases: Iterable[str]) -> dict[str, Check]:
    """Return every check of a package by name: module by module in the order of `phases`."""
    checks: dict[str, Check] = {}
    for phase in phases:
        module = importlib.import_module(f"{package}.{phase}")
        for name, function in vars(module).items():
            if hasattr(function, "__contract_check__"):
                after, needs = function.__contract_check__
                checks[name] = Check(name=name, phase=phase, function=function, after=after, needs=needs)
    return checks


def refuse_unknown_failures(expected: Mapping[str, str], checks: Mapping[str, Check]) -> None:
    """Refuse expected failures of unknown checks and without a reason.

    Raises:
        UsageError: the entry is named.
    """
    for name, reason in expected.items():
        if name not in checks:
            raise UsageError(f"expected_failures: no check '{name}'{did_you_mean(name, checks)}")
        if not str(reason).strip():
            raise UsageError(f"expected_failures: '{name}' has no reason; say why it may fail")
