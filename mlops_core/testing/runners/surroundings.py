"""The surroundings of an engine while it is checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def _nothing() -> None:
    """Change nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """A service, or nothing.

    Attributes:
        environ: environment variables of every run, for example the address of a service on loopback.
        cut: interrupts the connection to the service.
        mend: restores it.
    """

    environ: Mapping[str, str] = field(default_factory=dict)
    cut: Callable[[], None] = _nothing
    mend: Callable[[], None] = _nothing
