"""The names that core itself uses in a pipeline, and the names that its parts may have on every engine."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from mlops_core.errors import PipelineError
from mlops_core.names import require_name

if TYPE_CHECKING:
    from collections.abc import Iterable

FETCH = "fetch"
DATASET = f"{FETCH}.dataset"
"""The reference by which a step reads the data set that core fetched."""
RESERVED_STEPS = (FETCH, "gate", "register", "fail")
EVALUATION_OUTPUT = "evaluation"
"""The output that core itself adds to an evaluation step: ``evaluation.json``."""
PREDICTIONS_OUTPUT = "predictions"
BATCH_CODE = "mlops_core.serving.batch.step:predict"
"""The function of every batch-prediction step: core's own, so that the answers are those of ``mlops predict``."""
BATCH_INPUTS = ("model", "data")
OBJECTIVE_OUTPUT = "objective"
"""The output that core itself adds to a trial of a search: the metrics of its validation predictions."""
TRIALS_OUTPUT = "trials"
"""The output of a search with the record of its trials."""
TRIAL_MARK = ".trial-"
"""Between the name of a tuned step and the index of a trial, in the name of the trial's step."""
PARAMETER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")

_NAME = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*\Z")
_NAME_LIMIT = 63


def require_portable_name(what: str, name: str, pattern: re.Pattern[str] = _NAME) -> None:
    """Refuse a name that some engine or file system does not take.

    Raises:
        PipelineError: says what a name may be made of.
    """
    if not pattern.match(name) or len(name) > _NAME_LIMIT:
        expected = "a letter first, then letters, digits and '_'"
        if pattern is _NAME:
            expected = "lower-case letters, digits, single '-' or '_' between them, a letter first"
        raise PipelineError(
            f"{what} {name!r} is not a portable name; expected {expected}, at most {_NAME_LIMIT} characters"
        )
    require_name(name, what=what, error=PipelineError)


def require_unique(what: str, names: Iterable[str]) -> None:
    """Refuse names that occur twice.

    Raises:
        PipelineError: names the first of them.
    """
    for name, count in Counter(names).items():
        if count > 1:
            raise PipelineError(f"{what} '{name}' is declared {count} times; each must have its own name")


def tuned_step(name: str) -> str:
    """Return the tuned step that a trial belongs to, by its name; the name itself for any other step."""
    return name.partition(TRIAL_MARK)[0]
