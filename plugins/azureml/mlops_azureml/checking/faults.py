"""`Fault`, a defect of a job with its location and fix, and `Faults`, which collects them.

A fault is what the documentation or the service's own client rules out. What the service accepts, or may accept, but is
probably a mistake, is a warning: it never keeps a job from being created.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.runners import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable

_PLAIN_KEY = re.compile(r"[A-Za-z_]\w*\Z")


@dataclass(frozen=True, slots=True)
class Fault:
    """A defect of a job.

    Attributes:
        path: where it is, for example ``jobs.train.inputs.data``.
        problem: description of the defect.
        fix: how to fix it.
    """

    path: str
    problem: str
    fix: str

    def __str__(self) -> str:
        """Return the fault as one line."""
        return f"{self.path}: {self.problem}; {self.fix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """The result of a check.

    Attributes:
        faults: defects for which the service refuses the job or fails it.
        warnings: probable mistakes that the service accepts.
    """

    faults: tuple[Fault, ...] = ()
    warnings: tuple[Fault, ...] = ()


class Faults:
    """A collection of faults and warnings without duplicates."""

    def __init__(self) -> None:
        """Create an empty collection."""
        self._faults: dict[Fault, None] = {}
        self._warnings: dict[Fault, None] = {}

    def add(self, path: str, problem: str, fix: str) -> None:
        """Add a fault."""
        self._faults[Fault(path, problem, fix)] = None

    def warn(self, path: str, problem: str, fix: str) -> None:
        """Add a warning."""
        self._warnings[Fault(path, problem, fix)] = None

    def unknown(self, path: str, what: str, name: str, known: Iterable[str]) -> None:
        """Add a fault for a name that does not exist."""
        names = sorted(known)
        hint = did_you_mean(name, names).lstrip("; ").rstrip(";")
        shown = ", ".join(names[:20]) or "none"
        self.add(path, f"unknown {what} '{name}'", f"{hint}; expected one of: {shown}" if hint else f"expected {shown}")

    def findings(self) -> Findings:
        """Return all faults and warnings, in the order in which they were added."""
        return Findings(faults=tuple(self._faults), warnings=tuple(self._warnings))


def below(path: str, key: str | int) -> str:
    """Return the path of a member or an item."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    shown = key if _PLAIN_KEY.match(key) else repr(key)
    return f"{path}.{shown}" if path else shown
