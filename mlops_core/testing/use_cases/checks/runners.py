"""Checks of the runners: the pipeline compiles for every installed one and behaves the same on each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.gates.verdicts import GateOutcome
from mlops_core.testing.checks import NotApplicableError, check
from mlops_core.testing.observation.trees import differences, shown
from mlops_core.testing.runners.installed import RunnerOutcome, installed_runners
from mlops_core.testing.use_cases import canaries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_core.testing.runners.installed import RunnerUnderTest
    from mlops_core.testing.use_cases.session import ContractSession


_STATUSES = {GateOutcome.ACCEPTED: "accepted", GateOutcome.REJECTED: "rejected", GateOutcome.UNDECIDED: "undecided"}


@check(after=("pipeline_can_be_built",))
def pipeline_compiles_for_every_runner(session: ContractSession) -> Iterator[str]:
    """The pipeline compiles for every installed runner without a connection, and to the same text each time.

    Fix: whatever the runner's message says; a pipeline may use only what every runner has.
    """
    for runner in _claimed(session):
        first = runner.compile(session)
        if runner.compile(session) != first:
            yield f"{runner.name}: compiled twice, it is not the same"


@check(
    after=(
        "steps_succeed_on_this_machine",
        "pipeline_compiles_for_every_runner",
        "results_ignore_the_number_of_shards",
        "hooks_leave_arguments_untouched",
    )
)
def outputs_are_equal_on_every_runner(session: ContractSession) -> Iterator[str]:
    """On every installed runner the steps write the same outputs as when they are executed one by one.

    Fix: find out what the named step reads besides its inputs; a step must not depend on where it runs.
    """
    if not session.declaration.is_deterministic:
        raise NotApplicableError("declared: is_deterministic = False")
    expected = session.completed.trees()
    for runner in _claimed(session):
        found = _ran(session, runner)
        if found.error:
            yield f"{runner.name}: {found.error}"
            continue
        for reference, files in expected.items():
            differing = differences(files, found.outputs.get(reference, {}))
            if differing:
                yield f"{runner.name}: {reference}: {shown(differing)}"


@check(after=("outputs_are_equal_on_every_runner",))
def verdicts_are_equal_on_every_runner(session: ContractSession) -> Iterator[str]:
    """On every installed runner the gate reaches the same verdict as here.

    Fix: let the gate use declared metrics and numeric parameters only.
    """
    verdict = canaries.judged(session, session.report, session.predictions)
    for runner in _claimed(session):
        found = _ran(session, runner)
        expected = _STATUSES[verdict.outcome]
        if found.status != expected:
            yield f"{runner.name}: {found.status}, here {expected} ({verdict.message or 'all clauses hold'})"


@check(after=("verdicts_are_equal_on_every_runner",))
def accepted_models_are_registered(session: ContractSession) -> Iterator[str]:
    """An accepted model is registered with the output that the pipeline names, and a rejected one is not.

    Fix: correct mlops_get_model.
    """
    found = session.local
    is_accepted = found.status == "accepted"
    if is_accepted is (found.model_version is None):
        yield f"the run is {found.status}, and the model is {'not ' if found.model_version is None else ''}registered"


def _claimed(session: ContractSession) -> list[RunnerUnderTest]:
    names = session.declaration.runners
    return [runner for runner in installed_runners() if not names or runner.name in names]


def _ran(session: ContractSession, runner: RunnerUnderTest) -> RunnerOutcome:
    if f"runner {runner.name}" not in session.shared:
        session.shared[f"runner {runner.name}"] = session.local if runner.name == "local" else runner.run(session)
    found: RunnerOutcome = session.shared[f"runner {runner.name}"]
    return found
