"""Imported by the step `train`, so that a change here is a change of that step."""

FACTOR = 1
