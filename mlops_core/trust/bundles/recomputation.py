"""The process that computes the metrics and the verdict of a bundle again, with the plugin's code.

``python -m mlops_core.trust.bundles.recomputation FOLDER`` reads ``request.json`` and the files beside it, calls the
hooks of the installed plugin as a run does, and leaves ``result.json``. It is a process of its own, so that a plugin
can neither change nor stop the verification.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_core.errors import MlopsError
from mlops_core.evaluation.evaluation_file import read_evaluation, write_evaluation
from mlops_core.pipeline import Pipeline
from mlops_core.reading import read_json
from mlops_core.trust.bundles.envelopes import EvidenceFaultError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlops_core.gates.evidence import ChampionPredictions, GateEvidence
    from mlops_core.gates.verdicts import Verdict

PREDICTIONS, CHAMPION, EVALUATION, RECOMPUTED = "predictions", "champion", "evaluation", "recomputed"
"""Folders of the request and of the result."""
_REQUEST, _RESULT = "request.json", "result.json"


def recompute(
    folder: Path,
    *,
    use_case: str,
    pipeline: Mapping[str, Any],
    parameters: Mapping[str, Any],
    splits: Sequence[str],
    champion: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Compute metrics and verdict in a process of its own.

    Args:
        folder: holds the folders with predictions, the champion's predictions and the recorded evaluation.
        use_case: name of the use case, which is installed.
        pipeline: of the run, as JSON.
        parameters: of the run.
        splits: folders below `folder` with the splits that the evaluation read, in order.
        champion: version, and why its predictions are gone; None if there was none.

    Returns:
        ``unloadable``: why the plugin cannot be loaded, or ``error``: what its metrics raised; else ``verdict``, which
        is None for a gate that needs no predictions. The metrics are in the folder `RECOMPUTED`.

    Raises:
        EvidenceFaultError: the process ended without a result.
    """
    request = {
        "use_case": use_case,
        "pipeline": pipeline,
        "parameters": parameters,
        "splits": list(splits),
        "champion": champion,
    }
    (folder / _REQUEST).write_text(json.dumps(request), encoding="utf-8")
    (folder / RECOMPUTED).mkdir()
    done = subprocess.run(  # noqa: S603  our own module
        [sys.executable, "-P", "-m", "mlops_core.trust.bundles.recomputation", str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    try:
        result = read_json(folder / _RESULT)
    except (OSError, ValueError):
        raise EvidenceFaultError(f"the process that computes them again ended with code {done.returncode}") from None
    return result if isinstance(result, dict) else {}


def gate_verdict(
    pipeline: Pipeline, evaluation: Path, parameters: Mapping[str, Any], *, evidence: GateEvidence | None = None
) -> Verdict:
    """Return the verdict of a gate on a recorded evaluation, as a run computes it."""
    report = read_evaluation(evaluation, pipeline.metrics)
    numbers = {name: value for name, value in parameters.items() if isinstance(value, int | float)}
    return pipeline.gate.evaluate(
        report, metrics=pipeline.metrics, parameters=numbers, evidence=evidence, licences=pipeline.licences
    )


def main(folder: Path) -> None:
    """Compute what the request in the folder asks for."""
    from mlops_core.predictions import read_predictions
    from mlops_core.runners.evidence import gate_evidence
    from mlops_core.steps.evaluation import evaluate_predictions
    from mlops_core.use_cases.manager import load_use_case

    request = json.loads((folder / _REQUEST).read_text(encoding="utf-8"))
    try:
        use_case = load_use_case(request["use_case"])
    except MlopsError as error:
        _finish(folder, {"unloadable": str(error)})
        return
    pipeline = Pipeline.from_json(request["pipeline"])
    try:
        predictions = read_predictions(folder / PREDICTIONS)
        report = evaluate_predictions(predictions, use_case.compute_metrics, metrics=pipeline.metrics)
        write_evaluation(folder / RECOMPUTED, report, pipeline.metrics)
        verdict = None
        if pipeline.gate.needs_predictions:
            evidence = gate_evidence(
                folder / PREDICTIONS,
                metrics=pipeline.metrics,
                compute=use_case.compute_metrics,
                inputs=[folder / name for name in request["splits"]],
                champion=_champion(folder, request["champion"]),
            )
            judged = gate_verdict(pipeline, folder / EVALUATION, request["parameters"], evidence=evidence)
            verdict = judged.to_json()
    except MlopsError as error:
        _finish(folder, {"error": str(error)})
        return
    _finish(folder, {"verdict": verdict})


def _champion(folder: Path, champion: Mapping[str, Any] | None) -> ChampionPredictions | None:
    from mlops_core.gates.evidence import ChampionPredictions
    from mlops_core.predictions import read_predictions

    if champion is None:
        return None
    problem = champion["problem"]
    predictions = None if problem else read_predictions(folder / CHAMPION)
    return ChampionPredictions(version=champion["version"], predictions=predictions, problem=problem)


def _finish(folder: Path, result: Mapping[str, Any]) -> None:
    partial = folder / f"{_RESULT}.partial"
    partial.write_text(json.dumps(result), encoding="utf-8")
    partial.replace(folder / _RESULT)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
