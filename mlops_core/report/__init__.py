"""The report of a run as one self-contained HTML file, and the comparison of two runs.

`write_report` reads what a report shows (`evidence`) and renders it (`page`, `sections`) with the kit that every page
is built with (`kit`).
"""

from __future__ import annotations

import itertools
import sqlite3
from typing import TYPE_CHECKING

from mlops_core.errors import StoreError
from mlops_core.report.evidence import DAMAGED, gather
from mlops_core.report.facts import REPORT_FILE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlops_core.report.evidence import Evidence
    from mlops_core.use_cases.manager import UseCase
    from mlops_core.workspace.store import Store

_INCOMPLETE = "report-incomplete.html"
_EARLIER = "report-earlier.html"


def write_report(
    store: Store, run_id: str, *, use_case: UseCase | None = None, note: Callable[[str], None] | None = None
) -> Path:
    """Write the report of a run, finished or not, into its folder, and return the path of the page.

    The page is ``report.html``. A report is evidence and never replaced by one that shows less: where the data, the
    plugin or an artifact is gone since, the new page is ``report-incomplete.html`` beside it. A report of an earlier
    state of the run, or of another version, that shows what the new one cannot is kept as ``report-earlier.html``.

    Args:
        store: the workspace that holds the run.
        run_id: its id, a unique prefix of it, or ``latest``.
        use_case: of the run, for previews; None to load it.
        note: receives a message when a page with more content was kept.

    Raises:
        UsageError: the workspace has no such run.
        StoreError: the record is damaged, or the report cannot be written.
    """
    from mlops_core.report.page import render
    from mlops_core.workspace.files import write_atomically

    try:
        evidence = gather(store, run_id, use_case=use_case)
        path, losses = _place(evidence, note or _ignore)
        page = render(evidence, losses=losses)
    except (*DAMAGED, sqlite3.Error) as error:
        raise StoreError(
            f"cannot write the report of run {run_id}: its record in {store.home} has an unexpected format "
            f"({type(error).__name__}: {error}); the run may have been edited or written by another version"
        ) from error
    try:
        write_atomically(path, page)
    except OSError as error:
        raise StoreError(f"cannot write the report {path}: {error}") from error
    return path


def _place(evidence: Evidence, note: Callable[[str], None]) -> tuple[Path, tuple[str, ...]]:
    """Return where the report belongs and what it lacks of the present one, which is moved aside where it is older."""
    from mlops_core.report.contents import contents_of, read_contents

    path = evidence.facts.folder / REPORT_FILE
    if not path.exists():
        return path, ()
    try:
        earlier, contents = read_contents(path), contents_of(evidence)
        losses = ("it does not say what it contains",) if earlier is None else contents.losses(earlier)
        if not losses:
            return path, ()
        if earlier is not None and earlier.state == contents.state:
            new = path.with_name(_INCOMPLETE)
            note(f"{path} is kept, since it shows more than can be shown now: {'; '.join(losses)}; wrote {new}")
            return new, losses
        kept = _free_name(path.with_name(_EARLIER))
        path.rename(kept)
    except OSError as error:
        raise StoreError(f"cannot write the report {path}: {error}") from error
    note(f"the earlier report is kept as {kept}: {'; '.join(losses)}")
    return path, ()


def _free_name(path: Path) -> Path:
    names = (path.with_stem(f"{path.stem}-{number}") for number in itertools.count(2))
    return next(name for name in itertools.chain([path], names) if not name.exists())


def _ignore(_: str) -> None:
    """Ignore a message."""


__all__ = ["REPORT_FILE", "write_report"]
