"""Carries out submitted jobs: a thread for each, whose nodes are processes on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_azureml.emulator.access import Access
    from mlops_azureml.emulator.state import WorkspaceState


class Executions:
    """The executions of one endpoint."""

    def __init__(self, state: WorkspaceState, folder: Path, *, access: Access, max_parallel: int | None) -> None:
        """Keep trees and logs below `folder`."""
        self._state, self._folder, self._access, self._max_parallel = state, folder, access, max_parallel

    def check(self, properties: Any) -> None:
        """Raise for a job that cannot be executed."""
        del properties

    def start(self, name: str) -> None:
        """Begin a job."""

    def cancel(self, name: str) -> None:
        """End a job soon."""

    def close(self) -> None:
        """End all jobs."""
