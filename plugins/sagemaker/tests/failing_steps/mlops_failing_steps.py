"""Steps that wrap the step of any use case and fail; the function name encodes the behaviour and the step.

``once__mlops_aed__dot__training__colon__train`` fails at its first attempt and then runs ``mlops_aed.training:train``;
``always__...`` fails at every attempt.
"""

import hashlib
from pathlib import Path

from mlops_core.code_references import load_function

MODULE = __name__


def failing(reference, *, how):
    """Return the reference of a step that fails `how` ("once", "always") around the step `reference`."""
    return f"{MODULE}:{how}__{reference.replace('.', '__dot__').replace(':', '__colon__')}"


def __getattr__(name):
    how, _, coded = name.partition("__")
    if how not in ("once", "always"):
        raise AttributeError(name)
    reference = coded.replace("__dot__", ".").replace("__colon__", ":")

    def step(context):
        if how == "always" or _is_first(context):
            raise RuntimeError(f"this step fails {how}")
        load_function(reference, what="a failing step")(context)

    return step


def _is_first(context):
    # A step can only write to its outputs, so attempts are counted in shared memory.
    place = f"{context.use_case} {sorted(context._request.inputs.items())}"
    mark = Path("/dev/shm") / f"failing-{hashlib.sha256(place.encode()).hexdigest()}"
    if mark.exists():
        mark.unlink()
        return False
    mark.touch()
    return True
