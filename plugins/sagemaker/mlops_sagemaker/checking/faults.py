"""`Fault`, a defect of a definition with its location and fix, and `Faults`, which collects them.

A fault is what the service model, the documentation or both SDKs rule out. What the service accepts, or may accept, but
is probably a mistake, is a warning: it never keeps a pipeline from being created.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_PLAIN_KEY = re.compile(r"[A-Za-z_]\w*\Z")


@dataclass(frozen=True, slots=True)
class Fault:
    """A defect of a definition.

    Attributes:
        path: JSON path in the definition, for example ``$.Steps[2].Arguments.RoleArn``.
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
        faults: defects for which the service refuses the definition or fails an execution.
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

    def findings(self) -> Findings:
        """Return all faults and warnings, in the order in which they were added."""
        return Findings(faults=tuple(self._faults), warnings=tuple(self._warnings))


def below(path: str, key: str | int) -> str:
    """Return the JSON path of a member or an item."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if _PLAIN_KEY.match(key) else f"{path}[{key!r}]"
