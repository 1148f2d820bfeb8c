"""Copies the logs of nodes from the workspace to the folder of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_azureml.service.connection import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from mlops_azureml.service.jobs import NodeRun
    from mlops_azureml.service.workspace import Workspace

USER_LOGS = "user_logs/"
"""Beginning of the names of what the command of a node printed."""


def fetch_logs(workspace: Workspace, nodes: Iterable[NodeRun], *, folder: Path) -> tuple[Path, ...]:
    """Write the log of each node to ``<node>.log``.

    Returns:
        The paths of the files; empty if no node has a log yet.

    Raises:
        RunnerError: the workspace refuses.
    """
    paths = []
    for node in nodes:
        content = _log(workspace, node)
        if content is None:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{node.node}.log"
        partial = path.with_name(f".{path.name}.partial")
        partial.write_bytes(content)
        partial.replace(path)
        paths.append(path)
    return tuple(paths)


def _log(workspace: Workspace, node: NodeRun) -> bytes | None:
    """Return what a node printed: the log of its command, of all its processes; None before there is one."""
    files = workspace.run_details(node.reused_from or node.run).get("logFiles") or {}
    names = sorted(name for name in files if name.startswith(USER_LOGS))
    parts = []
    for name in names:
        try:
            parts.append(workspace.connection.read_bytes(str(files[name])))
        except ServiceError as error:
            if not error.is_missing:  # it is listed a moment before it is there
                raise
    return b"".join(parts) if parts else None
