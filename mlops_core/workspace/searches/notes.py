"""What a run says about the trials of a search that have no result."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mlops_core.use_cases.searches import SELECTION
from mlops_core.workspace.files import write_atomically
from mlops_core.workspace.records import StepStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mlops_core.workspace.records import RunRecord, StepRecord

TRIALS_FILE = "trials.json"
"""In the folder of a run with a search: the record of its trials, a list with one entry for each search."""

STOPPED_BY_TIME = "stopped by the time limit of the search"


def search_failure(trials: Sequence[StepRecord]) -> str:
    """Return why a search has no result, in one line."""
    first = next((trial for trial in trials if trial.error), trials[0])
    return f"none of its {len(trials)} trials has a result; {first.name}: {first.error or first.because}"


def search_note(trials: Sequence[StepRecord]) -> str:
    """Return what is missing of a search, in one line; empty when every trial has a result."""
    failed = [trial for trial in trials if trial.status is StepStatus.FAILED]
    done = sum(trial.status in (StepStatus.DONE, StepStatus.REUSED) for trial in trials)
    notes = []
    if done + len(failed) < len(trials):
        notes.append(f"stopped by time after {done + len(failed)} of {len(trials)} trials")
    if failed:
        notes.append(f"{len(failed)} of {len(trials)} trials failed, the first: {failed[0].name}: {failed[0].error}")
    return "; ".join(notes)


def write_trials(folder: Path, record: RunRecord, artifact: Callable[[str], Path]) -> None:
    """Write ``trials.json`` into the folder of a run that has a search.

    Raises:
        OSError: it cannot be written.
    """
    if not any(step.get("run") == SELECTION for step in record.pipeline.get("steps", ())):
        return
    from mlops_core.workspace.searches.trials import read_searches

    data = [search.to_json() for search in read_searches(record, artifact)]
    write_atomically(folder / TRIALS_FILE, json.dumps(data, indent=2, ensure_ascii=False) + "\n")
