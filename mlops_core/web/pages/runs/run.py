"""The page of one run: its report, or what it does while it is carried out."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING

from mlops_core.errors import MlopsError, StoreError
from mlops_core.report.facts import REPORT_FILE
from mlops_core.report.kit import Markup, PageSection, badge, callout, code, element, group, missing_note
from mlops_core.report.sections.configuration import configuration_section
from mlops_core.report.sections.metrics import metrics_section
from mlops_core.report.sections.steps import steps_section
from mlops_core.report.sections.training import training_section
from mlops_core.report.sections.verdict import verdict_section
from mlops_core.web.answers import PageAnswer, PageNotFoundError
from mlops_core.web.pages.forms import address, button_link, part, post_form, spaced
from mlops_core.web.pages.runs.run_live import is_report_due, live_parts, partial_evidence
from mlops_core.web.pages.runs.stored_report import read_stored_report
from mlops_core.web.pages.states import moment, run_badge
from mlops_core.web.shell import page_header, report_policy, ui_page
from mlops_core.workspace.records import RunStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlops_core.report.evidence import Evidence
    from mlops_core.web.answers import View
    from mlops_core.workspace.records import RunRecord

_SECTIONS: tuple[Callable[[Evidence], PageSection], ...] = (
    verdict_section,
    metrics_section,
    training_section,
    steps_section,
    configuration_section,
)
_DONE = {"stop": "The run was asked to stop. Steps that have finished are kept.", "report": "The report was written."}


def run_page(view: View) -> PageAnswer:
    """Return the page of a run."""
    run_id = known_run(view)
    try:
        record = view.opened.store.runs.load(run_id)
    except StoreError as error:
        return _damaged(view, run_id, error)
    if record.status is RunStatus.RUNNING:
        return _running(view, record)
    return _ended(view, record)


def known_run(view: View) -> str:
    """Return the id of the run in the path; it must be complete, since it names a folder.

    Raises:
        PageNotFoundError: the workspace has no such run.
    """
    run_id = view.path["run"]
    with view.opened.store.reading() as db:
        row = db.execute("SELECT run_id FROM main.runs WHERE run_id = ?", (run_id,)).fetchone()
    if row is None or "/" in run_id or run_id.startswith("."):
        raise PageNotFoundError(f"no run '{run_id[:80]}' in this workspace; it may have been removed by mlops gc")
    return str(row[0])


def report_file(view: View) -> PageAnswer:
    """Return the stored report, as the file that it is, in an origin of its own."""
    run_id = known_run(view)
    path = view.opened.store.runs.folder(run_id) / REPORT_FILE
    try:
        page = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise PageNotFoundError(
            f"run {run_id} has no {REPORT_FILE} that can be read; write it with: mlops runs report {run_id}"
        ) from error
    return PageAnswer(body=page, policy=report_policy(page))


# --- A run that is carried out ----------------------------------------------------------------------------


def _running(view: View, record: RunRecord) -> PageAnswer:
    parts = live_parts(view.opened.store, record.run_id)
    if "steps" not in parts:  # it has ended in the meantime
        return run_page(view)
    sections = [("progress", "Progress", group(_live("summary", parts), _live("steps", parts)))]
    if "/tuning/" in parts["trials"]:
        sections.append(("trials", "Search", _live("trials", parts)))
    sections += [
        ("metrics", "Metrics", _live("metrics", parts)),
        ("curves", "Training curves", _live("curves", parts)),
        ("log", "Log", _live("log", parts)),
    ]
    configuration = configuration_section(partial_evidence(view.opened.store, record))
    heading = page_header(
        _title(record),
        eyebrow=_origin(record),
        lead=group(_note(view), "This page is brought up to date while the run is carried out."),
        actions=spaced(button_link("Stop the run", f"/runs/{record.run_id}/stop", kind="danger")),
    )
    page = ui_page(
        view,
        title=f"{record.use_case} {record.run_id}",
        heading=heading,
        body=[*(PageSection(anchor=anchor, title=title, body=body) for anchor, title, body in sections), configuration],
        sections=[*((anchor, title) for anchor, title, _ in sections), (configuration.anchor, configuration.title)],
        events=f"/events/runs/{record.run_id}",
    )
    return PageAnswer(body=page)


def _live(name: str, parts: dict[str, str]) -> Markup:
    return element("div", Markup(parts[name]), id=f"live-{name}")


# --- A run that has ended ---------------------------------------------------------------------------------


def _ended(view: View, record: RunRecord) -> PageAnswer:
    folder = view.opened.store.runs.folder(record.run_id)
    try:
        stored = read_stored_report(folder / REPORT_FILE)
        fault = "" if stored else f"the run has no {REPORT_FILE}, or not one that can be read."
        if is_report_due(view.opened.store, record):
            fault = "the report is being written."
    except OSError as error:
        stored, fault = None, f"{REPORT_FILE} cannot be read: {error}"
    actions = _actions(view, record, has_report=stored is not None)
    if stored is not None:
        parts = list(stored.sections)
        heading = group(
            stored.header or page_header(_title(record)),
            element("div", _note(view), actions, class_="page-header run-actions"),
        )
    else:
        evidence = partial_evidence(view.opened.store, record)
        built = [build(evidence) for build in _SECTIONS]
        parts = [(section.anchor, section.title, section.markup()) for section in built]
        heading = page_header(
            _title(record),
            eyebrow=_origin(record),
            lead=group(missing_note(fault), _note(view)),
            actions=actions,
        )
    page = ui_page(
        view,
        title=f"{record.use_case} {record.run_id}: {record.status}",
        heading=heading,
        body=[markup for _, _, markup in parts],
        sections=[(anchor, title) for anchor, title, _ in parts],
        events=f"/events/runs/{record.run_id}" if is_report_due(view.opened.store, record) else "",
    )
    return PageAnswer(body=page)


def _title(record: RunRecord) -> Markup:
    return group(element("span", record.run_id, class_="run-id"), " ", run_badge(record.status))


def _origin(record: RunRecord) -> Markup:
    return group(f"{record.use_case} · {record.plugin} · ", moment(record.created), f" UTC · seed {record.seed}")


def _note(view: View) -> Markup | None:
    text = _DONE.get(view.first("done"))
    return callout("good", text) if text else None


def _actions(view: View, record: RunRecord, *, has_report: bool) -> Markup:
    return element("div", *_buttons(view, record, has_report=has_report), class_="actions")


def _buttons(view: View, record: RunRecord, *, has_report: bool) -> Iterator[Markup]:
    previous = _previous(view, record)
    if record.model_version is not None:
        yield button_link(
            f"Model version {record.model_version}", f"/models/{part(record.use_case)}/{record.model_version}"
        )
    if previous:
        yield button_link("Compare with the run before", address("/compare", run=(previous, record.run_id)))
    if record.dataset is not None:
        yield button_link("Data set", f"/datasets/{part(record.dataset.digest)}")
    yield from _search_link(record)
    if has_report:
        yield button_link("Report as a file", f"/runs/{record.run_id}/{REPORT_FILE}")
    else:
        yield post_form(
            f"/runs/{record.run_id}/report",
            element("button", "Write the report", type="submit", class_="primary"),
            csrf=view.csrf,
        )


def _search_link(record: RunRecord) -> Iterator[Markup]:
    from mlops_core.use_cases.searches import SELECTION

    if any(isinstance(step, dict) and step.get("run") == SELECTION for step in record.pipeline.get("steps", ())):
        yield button_link("Search", f"/tuning/{record.run_id}")


def _previous(view: View, record: RunRecord) -> str:
    """Return the run of the use case before this one; empty for none."""
    with view.opened.store.reading() as db:
        row = db.execute(
            "SELECT run_id FROM main.runs WHERE use_case = ? COLLATE NOCASE AND sequence < "
            "(SELECT sequence FROM main.runs WHERE run_id = ?) ORDER BY sequence DESC LIMIT 1",
            (record.use_case, record.run_id),
        ).fetchone()
    return str(row[0]) if row else ""


# --- A run whose record cannot be read --------------------------------------------------------------------


def _damaged(view: View, run_id: str, error: MlopsError) -> PageAnswer:
    """Return what is left of a run: the files in its folder."""
    folder = view.opened.store.runs.folder(run_id)
    logs = sorted(path.name for path in folder.glob("logs/*.log"))
    files = sorted(path.name for path in folder.glob("*"))
    body = [
        PageSection(
            anchor="problem",
            title="What is wrong",
            body=group(
                callout("bad", str(error)),
                element("p", "See what can be mended with: ", code("mlops doctor")),
                element("p", "Files in its folder: ", code(json.dumps(files))),
            ),
        ),
        PageSection(anchor="logs", title="Logs", body=_log_links(run_id, logs)),
    ]
    title = group(element("span", run_id, class_="run-id"), " ", badge("damaged", "bad"))
    page = ui_page(view, title=f"{run_id}: damaged", heading=page_header(title), body=body)
    return PageAnswer(body=page, status=HTTPStatus.OK)


def _log_links(run_id: str, logs: list[str]) -> Markup:
    if not logs:
        return missing_note("no step has written a log.")
    links = (element("li", element("a", code(name), href=f"/runs/{run_id}/logs/{part(name)}")) for name in logs)
    return element("ul", *links)
