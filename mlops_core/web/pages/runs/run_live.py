"""The parts of a run's page that change while the run is carried out: each is also sent as an event."""

from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING

from mlops_core.errors import MlopsError
from mlops_core.quantities import counted, format_duration
from mlops_core.report.evidence import DAMAGED, Evidence
from mlops_core.report.facts import REPORT_FILE, Missing, RunFacts, declared_metrics, log_tail, read_facts
from mlops_core.report.histories import History, read_histories
from mlops_core.report.kit import Markup, callout, code, element, group, missing_note, muted
from mlops_core.report.sections.metrics import metrics_section
from mlops_core.report.sections.training import training_section
from mlops_core.web.pages.runs.run_progress import StepProgress, partial_histories, step_progress, work_folders
from mlops_core.web.pages.states import step_badge
from mlops_core.workspace.records import RunStatus, StepRecord, StepStatus
from mlops_core.workspace.searches.trials import read_searches

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlops_core.workspace.records import RunRecord
    from mlops_core.workspace.store import Store

_ENDED = (StepStatus.DONE, StepStatus.REUSED, StepStatus.FAILED, StepStatus.SKIPPED, StepStatus.STOPPED)
_SHOWN_STEPS = 60
_REPORT_S = 30.0
"""A report that is not there so long after the end of its run is not expected any more."""


def live_parts(store: Store, run_id: str) -> dict[str, str]:
    """Return name -> HTML of each part; ``ended`` is among them once the run is not carried out any more.

    Raises:
        UsageError: there is no such run.
        StoreError: its record cannot be read.
    """
    record = store.runs.load(run_id)
    if record.status is not RunStatus.RUNNING:
        if is_report_due(store, record):
            return {"summary": element("p", "The run has ended; its report is being written.").html}
        return {"ended": str(record.status)}
    folders = work_folders(store, record.run_id)
    evidence = partial_evidence(store, record, folders)
    return {
        "summary": _summary(record).html,
        "steps": _steps(record, folders).html,
        "metrics": metrics_section(evidence).body.html,
        "curves": training_section(evidence).body.html,
        "trials": _trials(store, record).html,
        "log": _log(store, record).html,
        "announcement": _announcement(record),
    }


def is_report_due(store: Store, record: RunRecord) -> bool:
    """Return whether the process that carried out a run may still be writing its report; a stopped run gets none."""
    folder = store.runs.folder(record.run_id)
    if record.status in (RunStatus.RUNNING, RunStatus.STOPPED) or (folder / REPORT_FILE).exists():
        return False
    try:
        return time.time() - (folder / "run.json").stat().st_mtime < _REPORT_S
    except OSError:
        return False


def partial_evidence(store: Store, record: RunRecord, folders: Mapping[str, Path] | None = None) -> Evidence:
    """Return what the sections of a report show about a run that has no report, without its plugin.

    Args:
        store: the workspace.
        record: of the run.
        folders: step -> the folder in which it is executed now.
    """
    facts = _facts(store, record)
    histories: list[History | Missing] = [
        history for step, folder in (folders or {}).items() for history in partial_histories(step, folder)
    ]
    known = {history.step for history in histories if isinstance(history, History)}
    histories += [
        history
        for history in read_histories(store, record)
        if isinstance(history, History) and history.step not in known
    ]
    reason = Missing("The report of the run has it.")
    return Evidence(
        facts=facts,
        as_of=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        approval=None,
        previous=reason,
        comparison=reason,
        worst=reason,
        histories=tuple(histories) or (Missing("No training step has written a history yet."),),
        logs={
            step.name: log_tail(facts.folder, step.name) for step in record.steps if step.status is StepStatus.FAILED
        },
    )


def _facts(store: Store, record: RunRecord) -> RunFacts:
    try:
        return read_facts(store, record.run_id)
    except (MlopsError, *DAMAGED) as error:
        return RunFacts(
            record=record,
            metrics=declared_metrics(record),
            evaluation=Missing(str(error)),
            folder=store.runs.folder(record.run_id),
        )


def _summary(record: RunRecord) -> Markup:
    ended = sum(step.status in _ENDED for step in record.steps)
    running = [step.name for step in record.steps if step.status is StepStatus.RUNNING]
    doing = f"Now: {', '.join(running[:4])}{' ...' if len(running) > 4 else ''}." if running else ""
    if record.dataset is None:
        doing = "The data set is being fetched."
    elif not running and ended == len(record.steps):
        doing = "The gate is being evaluated."
    total = max(1, len(record.steps))
    bar = element("progress", value=ended, max=total, aria_label=f"{ended} of {total} steps have ended")
    return group(bar, element("p", f"{ended} of {counted(total, 'step')} have ended. {doing}"))


def _announcement(record: RunRecord) -> str:
    ended = [step for step in record.steps if step.status in _ENDED]
    last = f": {ended[-1].name} {ended[-1].status}" if ended else ""
    return f"{len(ended)} of {len(record.steps)} steps have ended{last}"


def _steps(record: RunRecord, folders: Mapping[str, Path]) -> Markup:
    """Return the steps; of very many, those that are running, failed or next."""
    shown = record.steps
    left = 0
    if len(shown) > _SHOWN_STEPS:
        active = [step for step in shown if step.status in (StepStatus.RUNNING, StepStatus.FAILED)]
        pending = [step for step in shown if step.status is StepStatus.PENDING]
        shown = (*active, *pending)[:_SHOWN_STEPS]
        left = len(record.steps) - len(shown)
    items = (_step(record, step, folders.get(step.name)) for step in shown)
    return group(
        element("ol", *items, class_="steps-live"),
        element("p", muted(f"{counted(left, 'step')} more have ended or wait.")) if left else None,
    )


def _step(record: RunRecord, step: StepRecord, folder: Path | None) -> Markup:
    progress = step_progress(folder) if folder is not None and step.status is StepStatus.RUNNING else None
    return element(
        "li",
        code(step.name),
        element("span", step_badge(step.status)),
        element("div", _bar(step, progress), class_="bar-cell"),
        element("span", _took(step), class_="took"),
        element("div", _why(record, step), class_="why") if _why(record, step) else None,
    )


def _bar(step: StepRecord, progress: StepProgress | None) -> Markup | None:
    if step.status is not StepStatus.RUNNING:
        return None
    if progress is None:
        return muted("no progress reported")
    text = f"{progress.done:,} of {progress.total:,} {progress.label}"
    bar = element("progress", value=progress.done, max=progress.total, aria_label=f"{step.name}: {text}")
    return group(bar, element("span", text, class_="muted small"))


def _took(step: StepRecord) -> str:
    if step.status is StepStatus.RUNNING and step.started:
        return f"since {step.started[11:19]}"
    return format_duration(step.duration_s) if step.status in _ENDED and step.duration_s else ""


def _why(record: RunRecord, step: StepRecord) -> Markup | str | None:
    if step.error:
        return callout("bad", step.error)
    if step.reused_from and step.reused_from != record.run_id:
        return group("reused from ", element("a", code(step.reused_from), href=f"/runs/{step.reused_from}/"))
    return step.warning or step.because or None


def _trials(store: Store, record: RunRecord) -> Markup:
    searches = read_searches(record, store.artifacts.path)
    if not searches:
        return missing_note("the run has no search.")
    rows = []
    for search in searches:
        done = [trial for trial in search.trials if trial.value is not None]
        best = next((trial for trial in search.trials if trial.index == search.best), None)
        text = f"{search.name}: {len(done)} of {counted(len(search.trials), 'trial')} have a result"
        if best is not None and best.value is not None:
            text += f"; the best so far is trial {best.index} with {search.objective} {best.value:.4g}"
        rows.append(element("p", text, ". ", element("a", "Look at the trials", href=f"/tuning/{record.run_id}")))
    return group(*rows)


def _log(store: Store, record: RunRecord) -> Markup:
    """Return the end of the log that was written last."""
    folder = store.runs.folder(record.run_id)
    names = {step.name for step in record.steps if step.status in (StepStatus.RUNNING, StepStatus.FAILED)}
    logs = [path for path in folder.glob("logs/*.log") if path.stem in names or path.stem.rpartition(".")[0] in names]
    newest = max(logs, key=lambda path: path.stat().st_mtime, default=None)
    if newest is None:
        return element("p", muted("No running step has written to its log yet."))
    lines = log_tail(folder, newest.stem)
    return group(
        element("p", "End of ", element("a", code(newest.name), href=f"/runs/{record.run_id}/logs/{newest.name}")),
        element("pre", "\n".join(lines) or "(empty)", class_="log", tabindex=0, aria_label=f"End of {newest.name}"),
    )
