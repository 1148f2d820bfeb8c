"""The verdict on a run's model: reached by the gate, confirmed without the plugin, and compared with the engine's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.errors import GateRejectedError, GateUndecidedError, RunnerError
from mlops_core.evaluation.evaluation_file import read_evaluation
from mlops_core.gates.verdicts import GateOutcome
from mlops_core.workspace.records import RunRecord, RunStatus

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlops_core.evaluation.metrics import MetricReport
    from mlops_core.gates.evidence import GateEvidence
    from mlops_core.gates.verdicts import Verdict
    from mlops_core.pipeline import ParameterValue, Pipeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What an engine's own condition decided.

    Attributes:
        is_accepted: the condition was met.
        message: what the engine's failure says; empty where it says nothing.
        advice: what to do when the decision differs from the gate's.
    """

    is_accepted: bool
    message: str = ""
    advice: str = "nothing was registered"


def evaluate_gate(
    pipeline: Pipeline,
    folder: Path,
    parameters: Mapping[str, ParameterValue],
    *,
    evidence: GateEvidence | None = None,
) -> tuple[MetricReport, Verdict]:
    """Return the metrics of an evaluation and the gate's verdict on them.

    Args:
        pipeline: with metrics and gate.
        folder: holds ``evaluation.json``.
        parameters: of the run; the gate uses the numbers.
        evidence: predictions and the champion, for a gate that needs them.

    Raises:
        StepError: there is no evaluation.
    """
    report = read_evaluation(folder, pipeline.metrics)
    numbers = {name: value for name, value in parameters.items() if isinstance(value, int | float)}
    verdict = pipeline.gate.evaluate(
        report, metrics=pipeline.metrics, parameters=numbers, evidence=evidence, licences=pipeline.licences
    )
    return report, verdict


def confirm_verdict(record: RunRecord, pipeline: Pipeline, folder: Path) -> None:
    """Reach the accepting verdict of a record again, from data alone, in a process without the plugin.

    Args:
        record: with the verdict and the parameters.
        pipeline: with metrics and gate.
        folder: holds ``evaluation.json``.

    Raises:
        PluginError: the verdict contradicts the gate, the parameters or the evaluation.
    """
    from mlops_core.gates.confirmation import confirm_accepted

    assert record.verdict is not None  # noqa: S101  for mypy: the caller has recorded it
    numbers = {name: value for name, value in record.parameters.items() if isinstance(value, int | float)}
    confirm_accepted(
        record.verdict,
        pipeline.gate,
        metrics=pipeline.metrics,
        parameters=numbers,
        evaluation=folder,
        licences=pipeline.licences,
    )


def require_accepted(verdict: Verdict) -> None:
    """Raise an error unless a verdict accepts the model.

    Raises:
        GateUndecidedError: the evidence is not enough.
        GateRejectedError: the gate rejected it.
    """
    if verdict.outcome is GateOutcome.UNDECIDED:
        raise GateUndecidedError(verdict.message)
    if not verdict.accepted:
        raise GateRejectedError(verdict.message)


def gate_status(error: GateRejectedError) -> RunStatus:
    """Return the status of a run that ends with this error."""
    return RunStatus.UNDECIDED if isinstance(error, GateUndecidedError) else RunStatus.REJECTED


def check_agreement(verdict: Verdict, decision: Decision) -> None:
    """Refuse an engine's decision that differs from the gate's verdict.

    Raises:
        RunnerError: the two differ, or the engine rejected the model with another message.
    """
    if verdict.accepted is not decision.is_accepted:
        raise RunnerError(
            f"the engine's condition came out {decision.is_accepted}, the gate itself {verdict.accepted}: they must "
            f"agree; {decision.advice}"
        )
    if not verdict.accepted and decision.message and not verdict.message.encode().startswith(decision.message.encode()):
        raise RunnerError(f"the engine rejected the model with {decision.message!r}, the gate with {verdict.message!r}")
