"""Checks of the verdict: what is registered, and what never is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.testing.checks import check
from mlops_core.testing.runners.backdoors import artifact_folder, registered_models

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_core.testing.runners.drives import Drive
    from mlops_core.testing.runners.session import RunnerSession

RAN = ("a_run_is_accepted",)


@check(after=RAN)
def accepted_models_are_registered(session: RunnerSession) -> Iterator[str]:
    """The model of an accepted run is registered once, under the version that the record names.

    Fix: return a Result from the function that Run.carry_out calls; it registers the model.
    """
    drive = session.done
    if session.declaration.registers_in_workspace and drive.models != [str(drive.record["model_version"])]:
        yield f"record: version {drive.record['model_version']}; registered: {drive.models}"
    elif len(drive.models) != 1:
        yield f"registered: {drive.models}"


@check(after=("accepted_models_are_registered",), needs="registers_in_workspace")
def the_registered_model_is_the_trained_one(session: RunnerSession) -> Iterator[str]:
    """The registered artifact is the output that the pipeline names as its model, and it is stored.

    Fix: put the digest of Pipeline.model into Result.model.
    """
    drive = session.done
    for model in registered_models(drive.workspace):
        if model["run_id"] != drive.run_id:
            continue
        if session.declaration.keeps_outputs and model["artifact"] != drive.step("train")["outputs"].get("model"):
            yield f"registered is {model['artifact']}, trained was {drive.step('train')['outputs'].get('model')}"
        elif not (artifact_folder(drive.workspace, model["artifact"]) / "model.json").is_file():
            yield f"the artifact {model['artifact']} is not stored"


@check(after=RAN)
def the_verdict_is_recorded(session: RunnerSession) -> Iterator[str]:
    """The record holds the verdict with the value of the metric.

    Fix: let Run.carry_out evaluate the gate.
    """
    verdict = session.done.record["verdict"] or {}
    values = [clause["value"] for clause in verdict.get("clauses", ())]
    if not verdict.get("accepted") or values != [0.75]:
        yield f"accepted: {verdict.get('accepted')}, values: {values}; the accuracy is 0.75"


@check(after=RAN)
def rejected_models_are_not_registered(session: RunnerSession) -> Iterator[str]:
    """A run that does not pass the gate ends as rejected, and nothing is registered.

    Fix: let Run.carry_out evaluate the gate; never register a model elsewhere.
    """
    yield from _unregistered(session.rejected)


@check(after=("rejected_models_are_not_registered",))
def rejected_runs_exit_with_3(session: RunnerSession) -> Iterator[str]:
    """The exit code of a rejected run is 3.

    Fix: let Run.carry_out end the run.
    """
    if session.rejected.exit_code != 3:
        yield f"it is {session.rejected.exit_code}"


@check(after=RAN)
def a_missing_metric_is_rejected(session: RunnerSession) -> Iterator[str]:
    """A run whose evaluation lacks the metric of the gate is rejected, and nothing is registered.

    Fix: let Run.carry_out evaluate the gate; a condition of the engine's own must treat no value as too low.
    """
    yield from _unregistered(session.without_metric)


@check(after=RAN)
def a_metric_that_is_not_a_number_is_rejected(session: RunnerSession) -> Iterator[str]:
    """A run whose metric is NaN is rejected, and nothing is registered.

    Fix: let Run.carry_out evaluate the gate; a condition of the engine's own must treat NaN as too low.
    """
    yield from _unregistered(session.not_a_number)


@check(after=("rejected_models_are_not_registered",))
def undecided_models_are_not_registered(session: RunnerSession) -> Iterator[str]:
    """A run whose test set is too small for its gate ends as undecided with exit code 3, and nothing is registered.

    Fix: let Run.carry_out evaluate the gate; an engine's own condition reads the verdict of the container.
    """
    yield from _unregistered(session.undecided, status="undecided")
    if session.undecided.exit_code != 3:
        yield f"the exit code is {session.undecided.exit_code}"


@check(after=("accepted_models_are_registered",), needs="registers_in_workspace")
def the_champion_is_compared_with(session: RunnerSession) -> Iterator[str]:
    """A gate that compares with the best version gets its predictions, and one about classes those of the model.

    Fix: give the container of the evaluation the input that Run.keep_champion keeps, and let it compute the verdict.
    """
    drive = session.compared
    reasons = [clause["reason"] for clause in (drive.record["verdict"] or {}).get("clauses", ())]
    if drive.status != "accepted":
        yield f"it ended with {drive.outcome}"
    elif not reasons or "against version" not in reasons[0]:
        yield f"it was not compared: {reasons}"


def _unregistered(drive: Drive, *, status: str = "rejected") -> Iterator[str]:
    if drive.status != status:
        yield f"it ended with {drive.outcome}"
    if drive.models or drive.record.get("model_version") is not None:
        yield f"registered: {drive.models}; record: {drive.record.get('model_version')}"
