"""The function that a step's process on this machine calls."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.steps import execution

if TYPE_CHECKING:
    from collections.abc import Mapping


def run_request_file(arguments: Mapping[str, str]) -> int:
    """Execute the request file ``arguments["request"]``; return the exit code."""
    return execution.run_request_file(Path(arguments["request"]))
