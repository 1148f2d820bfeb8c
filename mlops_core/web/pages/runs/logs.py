"""The page of a step's log: its end, whatever its size, and the complete file to save."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlops_core.quantities import format_size
from mlops_core.reading import open_regular
from mlops_core.report.kit import code, element, group, muted
from mlops_core.web.answers import PageAnswer, PageNotFoundError, attachment
from mlops_core.web.pages.forms import address, button_link
from mlops_core.web.pages.runs.run import known_run
from mlops_core.web.shell import page_header, ui_page

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_core.web.answers import View

_SHOWN_BYTES = 64 << 10
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_PLAIN = re.compile(r"[^A-Za-z0-9._-]")


def log_page(view: View) -> PageAnswer:
    """Return the end of a log, or with ``save=yes`` the file."""
    run_id = known_run(view)
    path = _log_path(view, run_id)
    if view.first("save") == "yes":
        headers = attachment(_PLAIN.sub("_", f"{run_id}-{path.name}"))
        return PageAnswer(file=path, media_type="text/plain; charset=utf-8", headers=headers)
    with open(open_regular(path), "rb") as stream:  # noqa: PTH123  of a descriptor
        size = stream.seek(0, 2)
        stream.seek(max(0, size - _SHOWN_BYTES))
        text = stream.read(_SHOWN_BYTES).decode("utf-8", "replace")
    if size > _SHOWN_BYTES:
        text = text.partition("\n")[2]
    note = f"the last {format_size(_SHOWN_BYTES)} of {format_size(size)}" if size > _SHOWN_BYTES else format_size(size)
    heading = page_header(
        code(path.name),
        eyebrow=group("Run ", element("a", run_id, href=f"/runs/{run_id}/")),
        lead=muted(note),
        actions=button_link("Save the complete log", address(f"/runs/{run_id}/logs/{path.name}", save="yes")),
    )
    shown = element("pre", _ESCAPES.sub("", text) or "(empty)", class_="log whole-log", tabindex=0, aria_label="Log")
    body = element("section", element("h2", "Log", class_="hidden"), shown)
    return PageAnswer(body=ui_page(view, title=f"{path.name} of {run_id}", heading=heading, body=[body]))


def _log_path(view: View, run_id: str) -> Path:
    """Return the path of a log that is in the folder of the run; a name that is not in the listing is never opened.

    Raises:
        PageNotFoundError: there is no such log.
    """
    folder = view.opened.store.runs.folder(run_id) / "logs"
    for path in folder.glob("*.log"):
        if path.name == view.path["log"] and path.is_file() and not path.is_symlink():
            return path
    raise PageNotFoundError(f"run {run_id} has no log '{view.path['log'][:80]}'")
