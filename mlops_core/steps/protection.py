"""Protecting core from the code of a step, and noting what that code touches: `protected`."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

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
    folders = [*request.inputs.values(), *request.outputs.values(), request.scratch.parent]
    folders += [path for paths in request.parts.values() for path in paths]
    with step_observed(
        declared=map(str, folders), package=request.step.run.partition(":")[0].partition(".")[0]
    ) as observation:
        yield observation
    changes = watch.changes()
    if changes:
        raise PluginError(
            f"step '{request.step.name}' replaced {described_changes(changes)}; {REFUSAL}: remove the assignment"
        )
