"""The progress of a run that was started from Python: a table in a notebook, lines on a terminal, nothing elsewhere."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from mlops_core.runners.observers import SilentObserver
from mlops_core.runners.progress.lines import LineObserver
from mlops_core.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_core.runners.observers import RunObserver
    from mlops_core.workspace.records import RunRecord


@contextlib.contextmanager
def observed(observer: RunObserver | None) -> Iterator[RunObserver]:
    """Yield the observer of a run; without one, that of this notebook or terminal, whose display ends with the block.

    Args:
        observer: the caller's; it is not closed.
    """
    chosen = observer or default_observer()
    with contextlib.ExitStack() as opened:
        if observer is None and isinstance(chosen, contextlib.AbstractContextManager):
            opened.enter_context(chosen)
        yield chosen


def show_outcome(observer: RunObserver, record: RunRecord) -> None:
    """Show how a run ended; `observer` is what `observed` yielded."""
    if is_notebook():
        from mlops_core.runners.progress.notebook import NotebookObserver

        if isinstance(observer, NotebookObserver):
            observer.run_ended(record)


def default_observer() -> RunObserver:
    """Return the observer of a run for which none was given.

    In a notebook, it shows a table; with ``MLOPS_PLAIN``, lines, as on a terminal. Elsewhere it is silent.
    """
    if is_notebook():
        from mlops_core.runners.progress.notebook import NotebookObserver

        return LineObserver(sys.stdout) if read_settings().is_plain else NotebookObserver()
    is_terminal = sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty()
    return LineObserver(sys.stderr) if is_terminal else SilentObserver()


def is_notebook() -> bool:
    """Return whether this process is the kernel of a notebook; IPython is not imported for the question."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None and hasattr(module, "get_ipython") else None
    return shell is not None and getattr(shell, "kernel", None) is not None
