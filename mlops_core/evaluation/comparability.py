"""Whether two evaluations may be compared at all: one rule for every output (``best``, runs compare, the report).

Two values are compared only if both are known to come from the same test set and to mean the same. Owns the rule, not
what is done with it: a difference, its interval or a paired test may be computed only where `incomparability` is
empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_core.evaluation.metrics import Metric

TEST_SET_NOTE = "test_set"
"""The note of an evaluation that holds the digest of its test set."""
TEST_CONTENT_NOTE = "test_content"
"""The note that holds the digest of the content of the test samples, by the split manifest."""
SPLITS_NOTE = "splits"
"""The note that holds digest and size of each split manifest that the evaluation read."""
INTERNAL_NOTES = frozenset({TEST_SET_NOTE, TEST_CONTENT_NOTE, SPLITS_NOTE})
"""Notes for core, which the report shows elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What a metric's value was measured on, and what it means.

    Attributes:
        use_case: name of the use case.
        test_set: digest of the test set; empty if it is unknown.
        metric: name of the metric.
        direction: which way is better.
        unit: of the value; empty if it is unknown, and then not compared.
        test_content: digest of the content of the test samples; empty if it is unknown, and then not compared.
        definition: the settings that are part of the metric's meaning; empty if there are none or they are unknown.
    """

    use_case: str
    test_set: str
    metric: str
    direction: str
    unit: str = ""
    test_content: str = ""
    definition: str = ""


def definition_of(metric: Metric, notes: Mapping[str, str | int | float]) -> str:
    """Return the settings that are part of a metric's meaning, with their values in the notes of an evaluation.

    Example:
        >>> from mlops_core import Direction, Metric, Unit
        >>> acc = Metric(
        ...     name="acc",
        ...     section="toy",
        ...     unit=Unit.FRACTION,
        ...     direction=Direction.HIGHER,
        ...     minimum=0,
        ...     maximum=1,
        ...     defined_by=("overlap",),
        ... )
        >>> definition_of(acc, {"overlap": 0.5, "pictures": 9})
        'overlap 0.5'
    """
    return ", ".join(f"{name} {notes[name]}" for name in metric.defined_by if name in notes)


def incomparability(earlier: Measurement, later: Measurement) -> str:
    """Return why two values must not be compared, as the rest of a sentence; empty when they may be.

    Example:
        >>> one = Measurement(use_case="TOY", test_set="a", metric="acc", direction="higher")
        >>> other = Measurement(use_case="TOY", test_set="b", metric="acc", direction="higher")
        >>> incomparability(one, other)
        'one was evaluated on another test set than the other'
    """
    if earlier.use_case.casefold() != later.use_case.casefold():
        return f"they belong to different use cases, {earlier.use_case} and {later.use_case}"
    if not earlier.test_set or not later.test_set:
        return "it is not known on which test set they were evaluated"
    if earlier.test_set != later.test_set:
        return "one was evaluated on another test set than the other"
    if earlier.test_content and later.test_content and earlier.test_content != later.test_content:
        return "their test sets have the same samples, but other content"
    return _difference_in_meaning(earlier, later)


def _difference_in_meaning(earlier: Measurement, later: Measurement) -> str:
    if earlier.metric != later.metric:
        return f"they are judged by different metrics, {earlier.metric} and {later.metric}"
    if earlier.direction != later.direction:
        return f"the direction in which {later.metric} is better was changed"
    if earlier.unit and later.unit and earlier.unit != later.unit:
        return f"the unit of {later.metric} was changed from {earlier.unit} to {later.unit}"
    if earlier.definition and later.definition and earlier.definition != later.definition:
        return f"one was computed with {earlier.definition}, the other with {later.definition}"
    return ""
