"""Runs of any installed use case whose results must be equal on every engine, also where the model or a step fails."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING

from mlops_core.api import prepare_run
from mlops_core.errors import ExitCode
from mlops_core.gates.clauses import Comparison
from mlops_core.gates.conditions import iter_clauses
from mlops_core.testing.parity.failing_steps import failing
from mlops_core.testing.use_cases.subjects import subject_of
from mlops_core.use_cases.discovery import find_use_case
from mlops_core.workspace.records import RunStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_core.pipeline import Pipeline
    from mlops_core.runners.request import RunRequest

_LARGEST = 1e9
"""Stands for an infinite limit of a metric."""


class Scenario(StrEnum):
    """What happens in a run."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    RETRIED = "retried"
    """The training fails once and is repeated."""
    FAILING = "failing"
    """The training fails at every attempt."""

    @property
    def status(self) -> RunStatus:
        """The status with which the run ends."""
        return _STATUSES.get(self, RunStatus.ACCEPTED)

    @property
    def exit_code(self) -> ExitCode:
        """The exit code with which a command ends that carries out the run."""
        return _EXIT_CODES.get(self, ExitCode.OK)


_STATUSES = {Scenario.REJECTED: RunStatus.REJECTED, Scenario.FAILING: RunStatus.FAILED}
_EXIT_CODES = {Scenario.REJECTED: ExitCode.REJECTED, Scenario.FAILING: ExitCode.STEP}


def scenario_request(use_case: str, scenario: Scenario, *, overrides: Sequence[str] = ()) -> RunRequest:
    """Return a run of a use case, at the smallest configuration that its contract test declares.

    Args:
        use_case: its name.
        scenario: what happens in the run.
        overrides: strings such as ``"preprocessing.shards=3"``.

    Raises:
        UsageError: the use case is not installed.
        ConfigError: an override is wrong.
    """
    config = subject_of(find_use_case(use_case)).declaration.config
    pipeline = prepare_run(use_case, config=config, overrides=overrides).pipeline
    parameters = _thresholds(pipeline, is_met=scenario is not Scenario.REJECTED)
    request = prepare_run(use_case, config=config, overrides=overrides, parameters=parameters)
    if scenario not in (Scenario.RETRIED, Scenario.FAILING):
        return request
    trained = _training(pipeline)
    steps = tuple(
        replace(
            step,
            run=failing(step.run, once=scenario is Scenario.RETRIED),
            resources=replace(step.resources, retries=1),
        )
        if step.name == trained
        else step
        for step in request.pipeline.steps
    )
    return replace(request, pipeline=replace(request.pipeline, steps=steps))


def _training(pipeline: Pipeline) -> str:
    """Return the step that fails: ``train``, or the one that makes the model."""
    maker = pipeline.model.rpartition(".")[0]
    return "train" if any(step.name == "train" for step in pipeline.steps) else maker


def _thresholds(pipeline: Pipeline, *, is_met: bool) -> dict[str, str]:
    """Return a value for each threshold of the gate that every model meets, or that none meets."""
    values = {}
    for clause, _ in iter_clauses(pipeline.gate.condition):
        if isinstance(clause, Comparison) and isinstance(clause.threshold, str):
            metric = next(metric for metric in pipeline.metrics if metric.name == clause.metric)
            low, high = max(metric.minimum, -_LARGEST), min(metric.maximum, _LARGEST)
            values[clause.threshold] = repr(low if clause.operator.is_minimum is is_met else high)
    return values
