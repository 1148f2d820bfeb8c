"""What the page of a run changes: stopping it, and writing its report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.errors import UsageError
from mlops_core.report.kit import PageSection, element, group
from mlops_core.runners.remote.refreshing import is_remote, open_remote_run
from mlops_core.web.answers import PageAnswer, see_other
from mlops_core.web.pages.forms import confirm_form
from mlops_core.web.pages.runs.run import known_run
from mlops_core.web.shell import page_header, ui_page
from mlops_core.workspace.records import RunStatus

if TYPE_CHECKING:
    from mlops_core.web.answers import View


def stop_page(view: View) -> PageAnswer:
    """Ask whether a run is to be stopped."""
    record = view.opened.store.runs.load(known_run(view))
    path = f"/runs/{record.run_id}/"
    if record.status is not RunStatus.RUNNING:
        return see_other(path)
    question = group(
        element("p", f"The run of {record.use_case} stops as if Ctrl-C were pressed where it was started."),
        element(
            "p", "Finished steps are kept. It can be resumed: ", element("code", f"mlops run --resume {record.run_id}")
        ),
        confirm_form(
            f"{path}stop", csrf=view.csrf, fields={}, confirm="Stop the run", back=path, kind="danger primary"
        ),
    )
    page = ui_page(
        view,
        title=f"Stop {record.run_id}",
        heading=page_header("Stop the run?", eyebrow=record.run_id),
        body=[PageSection(anchor="confirm", title="Confirm", body=question)],
    )
    return PageAnswer(body=page)


def stop_run(view: View) -> PageAnswer:
    """Stop a run of this machine or of a service, without waiting for its end."""
    store = view.opened.store
    record = store.runs.load(known_run(view))
    if view.form.get("confirmed") != "yes":
        return stop_page(view)
    if record.status is not RunStatus.RUNNING:
        raise UsageError(f"run {record.run_id} has ended: {record.status}")
    if record.remote or is_remote(record.runner):
        open_remote_run(store, record).stop()
    else:
        store.runs.interrupt(record.run_id)
    return see_other(f"/runs/{record.run_id}/?done=stop")


def write_run_report(view: View) -> PageAnswer:
    """Write the report of a run that has none."""
    run_id = known_run(view)
    view.opened.plugins.ask("report", run=run_id)
    return see_other(f"/runs/{run_id}/?done=report")
