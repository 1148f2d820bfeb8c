"""The function that a step's process on this machine calls."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.integrity import core_watch
from mlops_core.steps import execution

if TYPE_CHECKING:
    from collections.abc import Mapping


core_watch()  # a fork server imports this module before any plugin: core is compared with what it is now


def run_request_file(arguments: Mapping[str, str]) -> int:
    """Execute the request file ``arguments["request"]``, which may hold secrets and is removed when it is read."""
    return execution.run_request_file(Path(arguments["request"]), is_kept=False)
