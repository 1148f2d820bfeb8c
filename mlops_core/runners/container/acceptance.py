"""The gate as a container of its own, for engines without conditions: it succeeds for an accepted model only.

The verdict was reached in the evaluation's container (`mlops_core.runners.container.verdict`). Here it is read, and one
that accepts is reached again from data alone, as before every registration on this machine. Whatever registers the
model reads an output of this container, so it cannot start after a rejection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.errors import GateRejectedError, GateUndecidedError, RunnerError
from mlops_core.evaluation.comparability import TEST_SET_NOTE
from mlops_core.evaluation.evaluation_file import EVALUATION_FILE, read_evaluation
from mlops_core.gates.confirmation import confirm_accepted
from mlops_core.gates.verdicts import GateOutcome, Verdict
from mlops_core.reading import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlops_core.runners.container.request import ContainerOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What a registry should know about an accepted model.

    Attributes:
        metrics: metric -> value.
        compared_by: the metric by which versions are compared.
        is_higher_better: direction of that metric.
        test_set: digest of the test set; empty if the evaluation does not say.
    """

    metrics: Mapping[str, float]
    compared_by: str
    is_higher_better: bool
    test_set: str


def require_accepted(order: ContainerOrder, *, evaluation: Path, verdict: Path) -> None:
    """Raise unless the verdict of an evaluation accepts the model and is confirmed by the data.

    Args:
        order: of the gate's container: its request has the gate and the metrics.
        evaluation: folder with the ``evaluation.json`` of the evaluation.
        verdict: folder with the ``evaluation.json`` that has the verdict.

    Raises:
        GateRejectedError: the gate rejected the model; the message is that of a local run.
        GateUndecidedError: the evidence is not enough.
        RunnerError: there is no verdict, or the request has no gate.
        PluginError: the verdict contradicts the gate, the parameters or the evaluation.
    """
    request = order.request
    try:
        decided = Verdict.from_json(read_json(verdict / EVALUATION_FILE)["verdict"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunnerError(f"{verdict} holds no verdict of an evaluation: {error}") from error
    if decided.outcome is GateOutcome.UNDECIDED:
        raise GateUndecidedError(decided.message)
    if not decided.accepted:
        raise GateRejectedError(decided.message)
    if request.gate is None:
        raise RunnerError("the request of the gate's container has no gate; compile the pipeline again")
    numbers = {name: value for name, value in order.gate_parameters.items() if isinstance(value, int | float)}
    confirm_accepted(
        decided,
        request.gate.gate,
        metrics=request.metrics,
        parameters=numbers,
        evaluation=evaluation,
        licences=request.gate.licences,
    )


def model_facts(order: ContainerOrder, *, evaluation: Path) -> ModelFacts:
    """Return what a registry should know about the model of an evaluation.

    Raises:
        StepError: there is no evaluation.
    """
    report = read_evaluation(evaluation, order.request.metrics)
    first = order.request.metrics[0]
    return ModelFacts(
        metrics={name: value.value for name, value in report.values.items()},
        compared_by=first.name,
        is_higher_better=str(first.direction) == "higher",
        test_set=str(report.notes.get(TEST_SET_NOTE, "")),
    )
