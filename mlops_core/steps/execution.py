"""Executing one step: `execute`, which every engine calls.

A `StepRequest` says everything that a step may see; it crosses a process or a machine as JSON. A local worker
(``python -m mlops_core.steps.execution request.json``) and a container (``entrypoints/run_step.py``) call the same
`execute`, so a step cannot tell where it runs. An engine only moves files and starts the process.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mlops_core.code_references import load_function
from mlops_core.datasets.tree_walk import find_foreign_entry
from mlops_core.errors import DatasetError, ExitCode, MlopsError, StepError
from mlops_core.evaluation.comparability import TEST_SET_NOTE
from mlops_core.pipeline import EVALUATION_OUTPUT, PREDICTIONS_OUTPUT, Step, StepKind
from mlops_core.reading import replace_text
from mlops_core.settings import set_default_variables, unknown_home
from mlops_core.steps.context import STEP_LOGGER, StepContext, StepRequest
from mlops_core.steps.observation import Observation
from mlops_core.steps.protection import protected
from mlops_core.steps.split_checks import check_predictions, check_split_inputs, check_split_outputs, split_notes

if TYPE_CHECKING:
    from collections.abc import Callable

    import pydantic

    from mlops_core.predictions import Predictions

    M = TypeVar("M", bound=pydantic.BaseModel)


_MOST_WARNINGS = 5
_SHOWN = 5
_WARNING_LENGTH = 500
STEP_PROTOCOL_VERSION = 5
"""Raised when the way in which a step is executed changes what it may write; part of every step's key."""


def execute(request: StepRequest) -> None:
    """Run a step's function in this process; for an evaluation, compute the metrics from its predictions.

    One shard of several leaves its part; a request with `StepRequest.parts` merges them. A step that is not sharded
    does both at once.

    Raises:
        DatasetError: a part or a class of a split is empty, the split leaks, or the predictions are not those of its
            test samples.
        PluginError: an evaluation of a trained model reads no split manifest.
        StepError: the code cannot be found, or it broke its declaration.
        Exception: whatever the step's own code raises.
    """
    if request.step.tuning is not None:
        _execute_of_search(request)
        return
    _execute(request)


def _execute_of_search(request: StepRequest) -> None:
    """Execute a trial with its own values and compute its objective, or select the best trial."""
    if request.step.trial is None:
        from mlops_core.steps.tuned.selection import select

        select(request)
        return
    from mlops_core.steps.tuned.trials import trial_values, with_trial_values, write_objective

    values = trial_values(request)
    _execute(with_trial_values(request, values))
    write_objective(request, values)


def _execute(request: StepRequest) -> None:
    step = request.step
    if request.is_trained is not None:
        check_split_inputs(request)
    if request.is_generation:
        generate = load_function(step.run, what="data set")
        generate(*request.outputs.values(), seed=request.seed, progress=StepContext(request).progress)
        return
    if request.parts:
        _merge(request)
    elif request.shard.count == 1:
        _run_whole(request)
    else:
        _run_code(request)
    for name, folder in request.outputs.items():
        if name in step.outputs:
            _check_output(name, folder, step=step.name)
    if request.is_trained is not None and (request.parts or request.shard.count == 1):
        check_split_outputs(request)
    if step.kind is StepKind.EVALUATION and (request.parts or request.shard.count == 1):
        _evaluate(request)


def _check_output(name: str, folder: Path, *, step: str) -> None:
    foreign = find_foreign_entry(folder)
    if foreign:
        raise StepError(
            f"step '{step}', output '{name}': {foreign}; outputs hold files of their own: copy what is meant"
        )
    if not any(folder.iterdir()):
        raise StepError(f"step '{step}' wrote nothing to its output '{name}'")


def _run_code(request: StepRequest) -> None:
    load_function(request.step.run, what=f"step '{request.step.name}'")(StepContext(request))


def _run_whole(request: StepRequest) -> None:
    """Run a step that is not sharded as if it were, so that its output is the same as with any number of shards."""
    if request.step.kind is StepKind.EVALUATION and not request.step.merge:
        from mlops_core.predictions import merge_predictions

        _run_code(request)
        folder = request.outputs[PREDICTIONS_OUTPUT]
        if any(folder.iterdir()):
            merge_predictions((folder,), folder)
        return
    if not request.step.merge:
        _run_code(request)
        return
    only = request.scratch / "part"
    parts = {output: only / output for output in request.step.outputs}
    for folder in parts.values():
        folder.mkdir(parents=True)
    _run_code(replace(request, outputs=parts))
    _merge(replace(request, parts={output: (folder,) for output, folder in parts.items()}))


def _merge(request: StepRequest) -> None:
    from mlops_core.predictions import merge_predictions

    step = request.step
    if step.merge:
        load_function(step.merge, what=f"merge of step '{step.name}'")(StepContext(request))
        return
    for output, parts in request.parts.items():
        if step.kind is StepKind.EVALUATION and output == PREDICTIONS_OUTPUT:
            merge_predictions(parts, request.outputs[output])
            _merge_left_out(parts, request.outputs[output])
            _merge_descriptions(parts, request.outputs[output])
        else:
            _move_files(step, output, parts=parts, target=request.outputs[output])


def _merge_left_out(parts: tuple[Path, ...], folder: Path) -> None:
    from mlops_core.evaluation.coverage import read_left_out, write_left_out

    reasons = {sample: reason for part in parts for sample, reason in read_left_out(part).items()}
    write_left_out(folder, dict(sorted(reasons.items())))


def _merge_descriptions(parts: tuple[Path, ...], folder: Path) -> None:
    from mlops_core.evaluation.reference_statistics import (
        REFERENCE_FILE,
        merge_references,
        read_reference,
        write_reference,
    )

    described = [read_reference(part / REFERENCE_FILE) for part in parts if (part / REFERENCE_FILE).is_file()]
    if not described:
        return
    try:
        write_reference(folder, merge_references(described))
    except ValueError as error:
        raise StepError(f"the descriptions that the shards wrote cannot be merged: {error}") from error


def _move_files(step: Step, output: str, *, parts: tuple[Path, ...], target: Path) -> None:
    for part in parts:
        for path in sorted(part.rglob("*")):
            if path.is_dir():
                continue
            place = target / path.relative_to(part)
            if place.exists():
                raise StepError(
                    f"step '{step.name}': two shards wrote '{place.name}' to '{output}'; "
                    "declare merge=, or put what distinguishes them into the name"
                )
            place.parent.mkdir(parents=True, exist_ok=True)
            path.rename(place)


def _evaluate(request: StepRequest) -> None:
    from mlops_core.evaluation.baselines import constant_warning
    from mlops_core.evaluation.evaluation_file import write_evaluation
    from mlops_core.evaluation.metrics import Metric
    from mlops_core.predictions import digest_test_set, read_predictions
    from mlops_core.steps.evaluation import evaluate_predictions
    from mlops_core.use_cases.manager import load_use_case

    predictions = read_predictions(request.outputs[PREDICTIONS_OUTPUT])
    if not predictions.rows:
        raise StepError(f"step '{request.step.name}' wrote no predictions: the test set is empty")
    is_class = bool(predictions.classes) and not predictions.has_boxes  # a class without a true box is not measured
    present = {str(row.label) for row in predictions.rows} if is_class else set(predictions.classes)
    missing = sorted(set(predictions.classes) - present)
    if missing and request.is_trained:
        raise DatasetError(
            f"the test part has no sample of {', '.join(missing[:_SHOWN])} ({len(missing)} of "
            f"{len(predictions.classes)} classes); expected each class in the test part"
        )
    if request.is_trained is not None:
        check_predictions(request, predictions)
    if warning := constant_warning(predictions):
        StepContext(request).log.warning("%s", warning)
    metrics = [Metric.from_json(metric) for metric in request.metrics]
    report = evaluate_predictions(predictions, load_use_case(request.use_case).compute_metrics, metrics=metrics)
    notes = {**report.notes, TEST_SET_NOTE: digest_test_set(predictions), **split_notes(request)}
    report = replace(report, notes=notes)
    write_evaluation(request.outputs[EVALUATION_OUTPUT], report, metrics)
    _write_reference(request, predictions)


def _write_reference(request: StepRequest, predictions: Predictions) -> None:
    """Write the reference statistics beside the metrics: of the plugin's descriptions, else of the scores."""
    from mlops_core.evaluation.reference_statistics import reference_of_evaluation, write_reference

    try:
        reference = reference_of_evaluation(predictions, request.outputs[PREDICTIONS_OUTPUT])
    except ValueError as error:
        StepContext(request).log.warning("drift of this model cannot be detected: %s", error)
        return
    write_reference(request.outputs[EVALUATION_OUTPUT], reference)


def run_request_file(path: Path, *, is_kept: bool = True) -> ExitCode:
    """Execute the request in the JSON file `path`; leave the outcome in ``result.json`` beside it.

    Args:
        path: the file.
        is_kept: leave the file there; otherwise it is removed as soon as it is read.

    Returns:
        OK, or the exit code of the error, whose one-line message is in ``result.json`` and whose traceback is on
        standard error.
    """
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    warnings = _Warnings()
    logger = logging.getLogger(STEP_LOGGER)
    logger.addHandler(warnings)
    code, message = ExitCode.OK, ""
    request = None
    observation: Callable[[], Observation] = Observation
    try:
        request = StepRequest.from_json(json.loads(path.read_text(encoding="utf-8")))
        if not is_kept:
            path.unlink()
        set_default_variables(request.step.environment)
        with protected(request) as observation:
            execute(request)
    except MlopsError as error:
        traceback.print_exc()
        code, message = error.exit_code, str(error)
    except KeyboardInterrupt:
        code, message = ExitCode.INTERRUPTED, "interrupted"
    except BaseException as error:  # noqa: BLE001  a step may raise anything, SystemExit included; all is a failure
        traceback.print_exc()
        code, message = ExitCode.STEP, _one_line(error)
        if request is not None and (unknown := unknown_home(error, dict(request.config))):
            code, message = ExitCode.DATASET, unknown
    logger.removeHandler(warnings)
    seen = observation()
    lines = [*warnings.lines, *([seen.finding] if seen.finding else [])]
    result = {"exit_code": code, "error": message, "warnings": lines, "observed": seen.to_json()}
    replace_text(path.with_name("result.json"), json.dumps(result))
    return code


class _Warnings(logging.Handler):
    """Collects the first warnings that a step logs, each as one line, for the record of the run."""

    def __init__(self) -> None:
        super().__init__(level=logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a warning; a message that cannot be formatted is reported by the log itself."""
        with contextlib.suppress(TypeError, ValueError):
            line = " ".join(record.getMessage().split())[:_WARNING_LENGTH]
            if len(self.lines) < _MOST_WARNINGS and line not in self.lines:
                self.lines.append(line)


def _one_line(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    if isinstance(error, SystemExit):
        return f"the step called sys.exit({error.code!r}){where}"
    text = " ".join(str(error).split())[:500]
    return f"{type(error).__name__}: {text}{where}" if text else f"{type(error).__name__}{where}"


if __name__ == "__main__":
    sys.exit(run_request_file(Path(sys.argv[1])))
