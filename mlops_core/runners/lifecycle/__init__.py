"""The life of a run, the same for every runner: begin, fetch, status and exit code, verdict, registration, report.

A runner supplies only how steps are carried out: it makes a `Run` and calls `Run.carry_out` with a function that
executes the steps and returns a `Result`. What a gate accepts is decided here and nowhere else; an engine that decides
by a condition of its own must come to the same `Decision`, or nothing is registered.
"""

from mlops_core.runners.lifecycle.judgement import Decision
from mlops_core.runners.lifecycle.results import copy_evaluation
from mlops_core.runners.lifecycle.run import FetchedDataset, Result, Run

__all__ = ["Decision", "FetchedDataset", "Result", "Run", "copy_evaluation"]
