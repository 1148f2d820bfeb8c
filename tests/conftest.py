"""The fixtures of every test here: the toy use case, a workspace, and guards."""

from shared_fixtures import (
    _clean_environment,
    _finished,
    _only_loopback,
    call,
    core_may_change,
    ran,
    toy,
    workspace,
)

__all__ = [
    "_clean_environment",
    "_finished",
    "_only_loopback",
    "call",
    "core_may_change",
    "ran",
    "toy",
    "workspace",
]
