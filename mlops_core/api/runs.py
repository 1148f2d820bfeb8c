"""Reading the runs of a workspace."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_core.api.workspaces import workspace_path

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from mlops_core.workspace.records import RunRecord


def open_run(run_id: str = "latest", *, workspace: Path | str | None = None) -> RunRecord:
    """Return the record of a run, by its id, the beginning of it, or ``latest``.

    Raises:
        UsageError: the run does not exist.

    Example:
        >>> record = run("TOY", workspace="workspace")
        >>> open_run("latest", workspace="workspace").run_id == record.run_id
        True
    """
    from mlops_core.workspace.store import Store

    with Store(workspace_path(workspace)) as store:
        return viewable(store.runs.load(run_id), home=store.home)


def runs_frame(use_case: str = "", *, workspace: Path | str | None = None) -> pd.DataFrame:
    """Return the runs of a workspace as a table of pandas, newest first.

    Columns: ``run_id``, ``use_case``, ``status``, ``created`` (UTC), ``duration_s``, ``runner``, ``model_version``,
    ``metric.NAME`` for each metric and ``param.NAME`` for each parameter of any of the runs. What a run does not have
    is missing (NaN, NA). A run whose record cannot be read has the first seven columns only, with a warning.

    Args:
        use_case: only runs of this use case; empty for all.
        workspace: the workspace's folder; None for ``MLOPS_HOME``, else ``.mlops``.

    Raises:
        UsageError: pandas is not installed.

    Example:
        >>> record = run("TOY", workspace="workspace")
        >>> frame = runs_frame("TOY", workspace="workspace")
        >>> frame["metric.acc"].tolist(), frame["param.q_acc"].tolist()
        ([1.0], [0.5])
    """
    from mlops_core.report.notebook.frame import frame_of_runs
    from mlops_core.workspace.store import Store

    with Store(workspace_path(workspace)) as store:
        return frame_of_runs(store, use_case=use_case or None)


def approval_of(record: RunRecord, *, workspace: Path | str | None = None) -> str:
    """Return the current approval of the model that a run registered; empty if it registered none."""
    from mlops_core.workspace.registry import Registry
    from mlops_core.workspace.store import Store

    if record.model_version is None:
        return ""
    with Store(workspace_path(workspace)) as store:
        return str(Registry(store).version(record.use_case, record.model_version).status)


def run_folder(run_id: str = "latest", *, workspace: Path | str | None = None) -> Path:
    """Return the folder of a run: its record, configuration, logs, ``evaluation.json`` and page.

    Raises:
        UsageError: the run does not exist.
    """
    from mlops_core.workspace.store import Store

    with Store(workspace_path(workspace)) as store:
        return store.runs.folder(store.runs.full_id(run_id))


def viewable(record: RunRecord, *, home: Path) -> RunRecord:
    """Return a record that a notebook shows with what its workspace holds."""
    return replace(record, view=functools.partial(_view, home=home))


def _view(record: RunRecord, *, home: Path) -> str:
    from mlops_core.report.notebook.record import record_html

    return record_html(record, home=home)
