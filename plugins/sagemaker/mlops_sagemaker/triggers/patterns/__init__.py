"""Event patterns: what EventBridge matches an event with, compiled and evaluated on this machine.

The semantics are those of the service's own library, `event-ruler`; `tests/triggers/vectors.json` holds its verdicts.
"""

from mlops_sagemaker.triggers.patterns.grammar import PatternError
from mlops_sagemaker.triggers.patterns.index import RuleIndex
from mlops_sagemaker.triggers.patterns.pattern import EventPattern, Mismatch, read_event

__all__ = ["EventPattern", "Mismatch", "PatternError", "RuleIndex", "read_event"]
