"""Raising an error at a chosen line of a plugin's code, as a library that it calls there might."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import FrameType


class InjectedError(RuntimeError):
    """The error that the kit raises."""


@dataclass(slots=True)
class Fault:
    """Whether the line was reached."""

    is_reached: bool = False


@contextmanager
def injected(place: Mapping[str, Any] | None) -> Iterator[Fault]:
    """Raise `InjectedError` inside, whenever line ``place["line"]`` of ``place["file"]`` is about to be executed."""
    fault = Fault()
    if not place:
        yield fault
        return

    def in_frame(frame: FrameType, event: str, argument: object) -> Any:  # noqa: ARG001  what sys.settrace calls
        if event == "line" and frame.f_lineno == place["line"]:
            fault.is_reached = True
            raise InjectedError("an error that the contract kit raises here")
        return in_frame

    def in_any(frame: FrameType, event: str, argument: object) -> Any:  # noqa: ARG001  as above
        return in_frame if frame.f_code.co_filename == place["file"] else None

    threading.settrace(in_any)
    sys.settrace(in_any)
    try:
        yield fault
    finally:
        sys.settrace(None)
        threading.settrace(None)
