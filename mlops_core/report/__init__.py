"""The report of a run as one self-contained HTML file, and the comparison of two runs.

`write_report` reads what a report shows (`evidence`) and renders it (`page`, `sections`) with the kit that every page
is built with (`kit`).
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from mlops_core.errors import StoreError
from mlops_core.report.evidence import DAMAGED, REPORT_FILE, gather

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_core.use_cases.manager import UseCase
    from mlops_core.workspace.store import Store


def write_report(store: Store, run_id: str, *, use_case: UseCase | None = None) -> Path:
    """Write ``report.html`` into the folder of a run, finished or not, and return its path.

    Args:
        store: the workspace that holds the run.
        run_id: its id, a unique prefix of it, or ``latest``.
        use_case: of the run, for previews; None to load it.

    Raises:
        UsageError: the workspace has no such run.
        StoreError: the record is damaged, or the report cannot be written.
    """
    from mlops_core.report.page import render
    from mlops_core.workspace.files import write_atomically

    try:
        evidence = gather(store, run_id, use_case=use_case)
        page = render(evidence)
    except (*DAMAGED, sqlite3.Error) as error:
        raise StoreError(
            f"cannot write the report of run {run_id}: its record in {store.home} has an unexpected format "
            f"({type(error).__name__}: {error}); the run may have been edited or written by another version"
        ) from error
    path = evidence.facts.folder / REPORT_FILE
    try:
        write_atomically(path, page)
    except OSError as error:
        raise StoreError(f"cannot write the report {path}: {error}") from error
    return path


__all__ = ["REPORT_FILE", "write_report"]
