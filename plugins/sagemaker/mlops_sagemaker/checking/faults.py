"""`Fault`: what is wrong with a definition, where, and what to do; `Faults` collects them."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PLAIN_KEY = re.compile(r"[A-Za-z_]\w*\Z")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        path: JSON path in the definition, for example ``$.Steps[2].Arguments.RoleArn``.
        problem: what is wrong.
        fix: what to do.
    """

    path: str
    problem: str
    fix: str

    def __str__(self) -> str:
        """Return it as one line."""
        return f"{self.path}: {self.problem}; {self.fix}"


class Faults:
    """A list that refuses to hold the same fault twice."""

    def __init__(self) -> None:
        """Begin with none."""
        self._found: dict[Fault, None] = {}

    def add(self, path: str, problem: str, fix: str) -> None:
        """Note a fault."""
        self._found[Fault(path, problem, fix)] = None

    def all(self) -> tuple[Fault, ...]:
        """Return all, in the order in which they were found."""
        return tuple(self._found)


def below(path: str, key: str | int) -> str:
    """Return the path of a member or an item."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if _PLAIN_KEY.match(key) else f"{path}[{key!r}]"
