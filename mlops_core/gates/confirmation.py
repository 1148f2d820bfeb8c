"""Confirming a verdict in a process that has imported no plugin.

A model is registered on a verdict that was reached in a process which also holds the plugin's code. Before it is
registered, the verdict is reached again from data alone: the gate and the metrics as JSON, the parameters of the run's
record, and ``evaluation.json``. A clause that rests on predictions (slices, the champion) needs the plugin's own
metrics; of such a clause the process takes the recorded finding, and checks its threshold.

``python -I -S`` starts in about 0.1 s and reads no ``site-packages``, so that not even a ``.pth`` file of a plugin is
executed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_core.datasets.licences import Licences
from mlops_core.errors import PluginError
from mlops_core.evaluation.evaluation_file import read_evaluation
from mlops_core.evaluation.metrics import Metric, MetricReport
from mlops_core.gates.clauses import Comparison
from mlops_core.gates.conditions import iter_clauses
from mlops_core.gates.gate import Gate
from mlops_core.gates.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


_TIMEOUT_S = 60.0
_TOLERANCE = 1e-12
_ROOT = Path(__file__).parents[2]
_START = "import sys; sys.path.insert(0, sys.argv[1]); from mlops_core.gates.confirmation import main; main()"


def confirm_accepted(
    verdict: Verdict,
    gate: Gate,
    *,
    metrics: Sequence[Metric],
    parameters: Mapping[str, float],
    evaluation: Path,
    licences: Licences | None = None,
) -> None:
    """Refuse a verdict that accepts a model and contradicts the gate, the parameters or the evaluation.

    Args:
        verdict: as it will be recorded.
        gate: of the pipeline.
        metrics: the declared metrics.
        parameters: value of each numeric parameter, as it will be recorded.
        evaluation: folder with ``evaluation.json``.
        licences: of the data and the base models.

    Raises:
        PluginError: the verdict is another one; the message says which and why.
    """
    message = {
        "verdict": verdict.to_json(),
        "gate": gate.to_json(),
        "metrics": [metric.to_json() for metric in metrics],
        "parameters": dict(parameters),
        "evaluation": str(evaluation.absolute()),
        "licences": licences.to_json() if licences else None,
    }
    done = subprocess.run(  # noqa: S603  this interpreter
        [sys.executable, "-I", "-S", "-c", _START, str(_ROOT)],
        input=json.dumps(message),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
        env={"PATH": os.defpath},
    )
    try:
        fault = str(json.loads(done.stdout)["fault"])
    except (ValueError, KeyError, TypeError):
        last = (done.stderr.strip().splitlines() or ["it wrote nothing"])[-1]
        fault = f"it could not be confirmed: {last}"
    if fault:
        raise PluginError(
            f"the verdict 'accepted' contradicts the record, so nothing was registered: {fault}; the same gate was "
            "evaluated in a process without the plugin: look for code of the plugin that changes core"
        )


def find_contradiction(
    verdict: Verdict,
    gate: Gate,
    *,
    report: MetricReport,
    metrics: Sequence[Metric],
    parameters: Mapping[str, float],
    licences: Licences | None = None,
) -> str:
    """Return how an accepting verdict contradicts what it rests on; empty if it does not."""
    clauses = list(iter_clauses(gate.condition))
    if len(clauses) != len(verdict.clauses):
        return f"it has {len(verdict.clauses)} clauses, the gate {len(clauses)}"
    for (clause, is_wanted), found in zip(clauses, verdict.clauses, strict=True):
        if isinstance(clause, Comparison) and (fault := _clause_fault(clause, found.threshold, parameters)):
            return fault
        if clause.needs_predictions:
            continue
        alone = Gate(clause).evaluate(report, metrics=metrics, parameters=parameters, licences=licences)
        is_met = alone.accepted is is_wanted
        if is_met is not found.passed:
            recorded = "met" if found.passed else "not met"
            return f"'{found.clause}' is recorded as {recorded}, but {alone.clauses[0].reason}"
        value = alone.clauses[0].value
        if found.value is not None and value is not None and abs(found.value - value) > _TOLERANCE:
            return f"{found.metric} is recorded as {found.value:g}, evaluation.json has {value:g}"
    if gate.needs_predictions:
        return ""
    again = gate.evaluate(report, metrics=metrics, parameters=parameters, licences=licences)
    return "" if again.accepted else again.message


def main() -> None:
    """Read a request from standard input and write the contradiction, or an empty text, to standard output."""
    request: dict[str, Any] = json.load(sys.stdin)
    metrics = tuple(map(Metric.from_json, request["metrics"]))
    fault = find_contradiction(
        Verdict.from_json(request["verdict"]),
        Gate.from_json(request["gate"]),
        report=read_evaluation(Path(request["evaluation"]), metrics),
        metrics=metrics,
        parameters=request["parameters"],
        licences=Licences.from_json(request["licences"]) if request["licences"] else None,
    )
    json.dump({"fault": fault}, sys.stdout)


def _clause_fault(clause: Comparison, recorded: float | None, parameters: Mapping[str, float]) -> str:
    """Return what is wrong with a recorded threshold; one that depends on the champion is not a number of the gate."""
    if clause.is_paired:
        return ""
    threshold = clause.threshold
    declared = parameters.get(threshold) if isinstance(threshold, str) else threshold
    if not isinstance(declared, int | float):
        return f"the parameter '{threshold}' of '{clause}' is not in the record"
    if recorded is None or abs(float(declared) - recorded) <= _TOLERANCE:
        return ""
    return f"the threshold of {clause.metric} is recorded as {recorded:g}; gate and parameters say {declared:g}"
