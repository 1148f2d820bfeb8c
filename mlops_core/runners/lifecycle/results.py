"""What a run leaves in its folder and in the user's: its evaluation, its page and its logs for TensorBoard."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from mlops_core.errors import MlopsError, RunnerError
from mlops_core.evaluation.evaluation_file import EVALUATION_FILE
from mlops_core.evaluation.reference_statistics import REFERENCE_FILE
from mlops_core.pipeline import StepKind
from mlops_core.reading import copying_fault
from mlops_core.workspace.records import StepStatus

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlops_core.runners.observers import RunObserver
    from mlops_core.use_cases.manager import UseCase
    from mlops_core.workspace.store import Store


def copy_evaluation(source: Path, target: Path, *, observer: RunObserver) -> None:
    """Copy an evaluation's files to a folder of the user's.

    Raises:
        RunnerError: they cannot be written there.
    """
    try:
        shutil.copytree(source, target, copy_function=shutil.copyfile, dirs_exist_ok=True)
    except OSError as error:
        raise RunnerError(f"the evaluation cannot be copied to {target}: {copying_fault(error)}") from error
    observer.note(f"the evaluation was copied to {target}")


def keep_evaluation(evaluation: Path, run: Path) -> None:
    """Copy metrics and reference statistics from the artifact of an evaluation to the folder of its run."""
    shutil.copyfile(evaluation / EVALUATION_FILE, run / EVALUATION_FILE)
    if (evaluation / REFERENCE_FILE).is_file():
        shutil.copyfile(evaluation / REFERENCE_FILE, run / REFERENCE_FILE)


def write_run_report(
    store: Store, run_id: str, *, note: Callable[[str], None], use_case: UseCase | None = None
) -> None:
    """Write the run's page and, of a training, its logs for TensorBoard.

    What cannot be written is noted and changes nothing about the run.

    Args:
        store: the workspace that holds the run.
        run_id: of the run.
        note: receives a message when one of them cannot be written.
        use_case: of the run, for previews; None to load it.
    """
    from mlops_core.report import write_report
    from mlops_core.report.facts import steps_of_kind
    from mlops_core.report.tensorboard import write_tensorboard

    try:
        write_report(store, run_id, use_case=use_case, note=note)
    except (MlopsError, OSError) as error:
        note(f"the report of run {run_id} was not written: {error}")
        return
    try:
        trained = steps_of_kind(store.runs.load(run_id), StepKind.TRAINING)
        if any(step.status is StepStatus.DONE for step in trained):  # that of a reused one has its logs already
            write_tensorboard(store, run_id)
    except (MlopsError, OSError) as error:
        note(f"the logs of run {run_id} for TensorBoard were not written: {error}")
