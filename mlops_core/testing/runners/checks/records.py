"""Checks of the run's record: complete, equal on disk, and listed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.testing.checks import check
from mlops_core.testing.runners.backdoors import listed_runs, stored_record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_core.testing.runners.session import RunnerSession

RAN = ("a_run_is_accepted",)


@check(after=RAN)
def records_name_the_runner(session: RunnerSession) -> Iterator[str]:
    """The record names the runner by which it was carried out.

    Fix: pass the name of --runner to Run(runner=...).
    """
    if session.done.record["runner"] != session.declaration.runner:
        yield f"it names '{session.done.record['runner']}'"


@check(after=RAN)
def records_are_complete(session: RunnerSession) -> Iterator[str]:
    """The record holds everything that is needed to explain the run: arguments, pipeline, environment, every step.

    Fix: make the record with Run, and update the record of each step.
    """
    record = session.done.record
    expected = {"use_case": "PROBE", "seed": 3, "exit_code": 0, "error": ""}
    yield from (f"{name} is {record[name]!r}" for name, value in expected.items() if record[name] != value)
    if record["parameters"] != {"least": 0.5, "factor": 7}:
        yield f"parameters are {record['parameters']}"
    for name in ("plugin", "created", "config", "pipeline", "environment", "duration_s"):
        if not record[name]:
            yield f"{name} is empty"
    if "level: 9" not in record["config"]:
        yield "config does not hold the overrides"
    names = [step["name"] for step in record["steps"]]
    if sorted(names) != ["evaluate", "left", "prepare", "right", "train"]:
        yield f"steps are {names}"


@check(after=("records_are_complete",))
def steps_are_recorded(session: RunnerSession) -> Iterator[str]:
    """The record of each step that was executed says that it is done, how long it took, and why it was executed.

    Fix: update the record of a step with status, duration_s, attempts and because when it has ended.
    """
    for step in session.done.record["steps"]:
        if step["status"] != "done" or step["duration_s"] <= 0 or step["attempts"] < 1 or not step["because"]:
            shown = {name: step[name] for name in ("status", "duration_s", "attempts", "because")}
            yield f"step '{step['name']}': {shown}"


@check(after=RAN)
def records_survive_a_round_trip(session: RunnerSession) -> Iterator[str]:
    """A record can be written as JSON and read back equal.

    Fix: put JSON types only into records.
    """
    if not session.done.is_same_when_read:
        yield "it changes in a JSON round trip"


@check(after=RAN)
def records_are_saved(session: RunnerSession) -> Iterator[str]:
    """``run.json`` in the run's folder is the record that was returned, and the run is listed with its status.

    Fix: return the record that Run.carry_out returns, unchanged.
    """
    drive = session.done
    stored = stored_record(drive.workspace, drive.run_id)
    yield from (f"{name} in run.json differs" for name in drive.record if stored.get(name) != drive.record[name])
    row = listed_runs(drive.workspace).get(drive.run_id, {})
    if row.get("status") != "accepted" or row.get("runner") != drive.record["runner"]:
        yield f"listed as {row or 'nothing'}"


@check(after=(*RAN, "a_failing_step_fails_the_run"))
def exit_codes_follow_from_the_status(session: RunnerSession) -> Iterator[str]:
    """The exit code is 0 for an accepted run and 4 for one whose step failed.

    Fix: raise StepError for a failed step and let Run.carry_out end the run.
    """
    for drive, code in ((session.done, 0), (session.failing, 4)):
        if drive.exit_code != code:
            yield f"{drive.outcome}: {drive.exit_code} instead of {code}"
