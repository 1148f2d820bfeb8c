"""One run as a self-contained HTML page, and two runs side by side.

`write_report` gathers what is known of a run (`evidence`), renders it (`page`) and puts it beside the run's record.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from mlops_core.errors import StoreError
from mlops_core.report.evidence import DAMAGED, REPORT_FILE, gather

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_core.workspace.store import Store


def write_report(store: Store, run_id: str) -> Path:
    """Write ``report.html`` of a run, finished or not, and return its path.

    Args:
        store: the workspace that holds the run.
        run_id: its id, the beginning of it, or ``latest``.

    Raises:
        UsageError: there is no such run.
        StoreError: its record is damaged, or the page cannot be written.
    """
    from mlops_core.report.page import render
    from mlops_core.workspace.files import write_atomically

    try:
        evidence = gather(store, run_id)
        page = render(evidence)
    except (*DAMAGED, sqlite3.Error) as error:
        raise StoreError(
            f"run {run_id}: its record in {store.home} is not one that this mlops writes, so no report can be made: "
            f"{type(error).__name__}: {error}"
        ) from error
    path = evidence.facts.folder / REPORT_FILE
    try:
        write_atomically(path, page)
    except OSError as error:
        raise StoreError(f"report {path} cannot be written: {error}") from error
    return path


__all__ = ["REPORT_FILE", "write_report"]
