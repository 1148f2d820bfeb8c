"""Exported models in the formats of other systems, which observers write."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mlops_core.config_files.workspace_settings import read_workspace_settings
from mlops_core.errors import UsageError
from mlops_core.observers.discovery import find_observer, load_observer
from mlops_core.observers.events import ExportedModel, ObserverContext

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlops_core.workspace.model_versions import ModelVersion


def format_writer(name: str, *, home: Path) -> Callable[[ModelVersion, Path], None]:
    """Return the function by which an observer describes an exported model in a folder.

    Args:
        name: the observer's.
        home: the workspace's folder.

    Raises:
        UsageError: there is no such observer, or it has no format.
        PluginError: it cannot be loaded.
    """
    installed = find_observer(name)
    hooks = load_observer(installed).hook
    if not hooks.mlops_write_model.get_hookimpls():
        raise UsageError(f"{installed} has no format for models; export without --format")
    settings = read_workspace_settings(home).observers.get(installed.name, {})
    log = logging.getLogger(f"mlops.observers.{installed.name}")
    context = ObserverContext(name=installed.name, workspace=home, settings=settings, log=log)

    def describe(version: ModelVersion, folder: Path) -> None:
        hooks.mlops_write_model(model=ExportedModel(version=version, folder=folder), context=context)

    return describe
