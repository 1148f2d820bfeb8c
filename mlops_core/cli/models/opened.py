"""The registry of the workspace in which a command runs."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_core.workspace.registry import Registry


@contextlib.contextmanager
def opened_registry(context: dict[str, str | None]) -> Iterator[Registry]:
    """Return the registry of the workspace."""
    from mlops_core.api import workspace_path
    from mlops_core.workspace.registry import Registry
    from mlops_core.workspace.store import Store

    with Store(workspace_path(context["workspace"])) as store:
        yield Registry(store)
