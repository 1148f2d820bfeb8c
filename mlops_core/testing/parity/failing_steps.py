"""Steps that wrap the step of any use case and fail; the name of the function says how, and around which step.

``once__my_plugin__dot__training__colon__train`` fails at its first attempt and then runs ``my_plugin.training:train``;
``always__...`` fails at every attempt.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.code_references import load_function

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlops_core.steps.context import StepContext

_ATTEMPTS = Path("/dev/shm")  # noqa: S108  a step can write to its outputs only, so attempts are counted in shared memory


def failing(reference: str, *, once: bool) -> str:
    """Return the reference of a step that fails around another one.

    Args:
        reference: ``"package.module:function"`` of the step.
        once: fail at the first attempt only; else at every one. Attempts are counted on this machine.
    """
    how = "once" if once else "always"
    return f"{__name__}:{how}__{reference.replace('.', '__dot__').replace(':', '__colon__')}"


def __getattr__(name: str) -> Callable[[StepContext], None]:
    how, _, coded = name.partition("__")
    if how not in ("once", "always"):
        raise AttributeError(name)
    reference = coded.replace("__dot__", ".").replace("__colon__", ":")

    def step(context: StepContext) -> None:
        if how == "always" or _is_first(context):
            raise RuntimeError(f"this step fails {how}")
        load_function(reference, what="a failing step")(context)

    return step


def _is_first(context: StepContext) -> bool:
    place = f"{context.use_case} {sorted(context._request.inputs.items())}"  # noqa: SLF001  core's own class
    mark = _ATTEMPTS / f"failing-{hashlib.sha256(place.encode()).hexdigest()}"
    if mark.exists():
        mark.unlink()
        return False
    mark.touch()
    return True
