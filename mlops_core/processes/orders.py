"""One execution and its end: `Order` and `Report`, which cross sockets as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

MESSAGE_LIMIT = 1 << 16
"""Bytes; a message holds a few paths. Whatever may be long goes into a file that the order names."""


class Ending(StrEnum):
    """Why an execution ended."""

    EXITED = "exited"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed out"
    OUT_OF_MEMORY = "out of memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One execution in a process of its own.

    Attributes:
        function: ``"package.module:function"``; called with `arguments`, returns the exit code.
        arguments: JSON types.
        cwd: working directory; must exist.
        environ: environment variables to set.
        writable: folders and devices to which the process may write; None for no restriction.
        timeout_s: seconds until its whole process tree is killed.
        memory_limit_mb: resident memory of all its processes, in MiB, at which they are killed; None for no limit.
    """

    function: str
    arguments: Mapping[str, Any]
    cwd: Path
    environ: Mapping[str, str] = field(default_factory=dict)
    writable: tuple[Path, ...] | None = None
    timeout_s: float
    memory_limit_mb: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the order as JSON types only."""
        return {
            "function": self.function,
            "arguments": dict(self.arguments),
            "cwd": str(self.cwd),
            "environ": dict(self.environ),
            "writable": None if self.writable is None else [str(path) for path in self.writable],
            "timeout_s": self.timeout_s,
            "memory_limit_mb": self.memory_limit_mb,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Order:
        """Return the order that `to_json` wrote."""
        writable = data["writable"]
        return cls(
            function=data["function"],
            arguments=data["arguments"],
            cwd=Path(data["cwd"]),
            environ=data["environ"],
            writable=None if writable is None else tuple(map(Path, writable)),
            timeout_s=data["timeout_s"],
            memory_limit_mb=data["memory_limit_mb"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How an execution ended.

    Attributes:
        ending: why.
        status: wait status of its process; 0 unless it exited by itself.
        left_behind: number of processes that were still running when it exited; they were killed.
    """

    ending: Ending
    status: int = 0
    left_behind: int = 0

    @property
    def is_clean(self) -> bool:
        """Whether it exited with 0 and left no process behind."""
        return self.ending is Ending.EXITED and not self.status and not self.left_behind

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON types only."""
        return {"ending": self.ending, "status": self.status, "left_behind": self.left_behind}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Report:
        """Return the report that `to_json` wrote."""
        return cls(ending=Ending(data["ending"]), status=data["status"], left_behind=data["left_behind"])
