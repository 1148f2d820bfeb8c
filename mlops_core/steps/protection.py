"""Protecting core from the code of a step, and noting what that code touches: `protected`."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.config_files.texts import noted_files
from mlops_core.errors import PluginError
from mlops_core.integrity import REFUSAL, core_watch, described_changes
from mlops_core.steps.observation import step_observed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlops_core.steps.context import StepRequest
    from mlops_core.steps.observation import Observation


@contextmanager
def protected(request: StepRequest) -> Iterator[Callable[[], Observation]]:
    """Execute a step inside; the function that is yielded returns what was observed.

    Raises:
        PluginError: the step's code, or the import of its modules, replaced something in core.
    """
    watch = core_watch()
    with step_observed(
        declared=_declared(request), package=request.step.run.partition(":")[0].partition(".")[0]
    ) as observation:
        yield observation
    changes = watch.changes()
    if changes:
        raise PluginError(
            f"step '{request.step.name}' replaced {described_changes(changes)}; {REFUSAL}: remove the assignment"
        )


def _declared(request: StepRequest) -> Iterator[str]:
    """Yield what a step may read: its inputs and outputs, its private folder by each of its names, and noted files."""
    for folder in (*request.inputs.values(), *request.outputs.values(), request.scratch.parent):
        yield str(folder)
    for parts in request.parts.values():
        yield from map(str, parts)
    temporary = Path(tempfile.gettempdir())
    if temporary.resolve().is_relative_to(request.scratch.parent.resolve()):  # a short name of it
        yield str(temporary)
    yield from noted_files(request.config)
