"""Observers receive what happens to runs, steps, models and aliases, in a process of their own.

A plugin of the entry-point group ``mlops.observers`` implements hooks of `mlops_core.observers.hookspecs` and imports
what it needs from here. `docs/observers.md` walks through one.
"""

from __future__ import annotations

from mlops_core.errors import ObserverUnavailableError
from mlops_core.hookspecs import hookimpl
from mlops_core.observers.events import (
    AliasEvent,
    EventPhase,
    ExportedModel,
    ModelEvent,
    ObserverContext,
    RunEvent,
    StepEvent,
)

__all__ = [
    "AliasEvent",
    "EventPhase",
    "ExportedModel",
    "ModelEvent",
    "ObserverContext",
    "ObserverUnavailableError",
    "RunEvent",
    "StepEvent",
    "hookimpl",
]
