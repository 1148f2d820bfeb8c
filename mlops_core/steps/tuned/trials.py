"""A trial of a search: its configuration, and its objective, computed from its predictions for the validation part.

`Objective` is what a trial leaves behind beside its own outputs, as ``objective.json``. A value that is missing, not
finite or out of range makes the trial fail, like an error of the step.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mlops_core.errors import DatasetError, PluginError, StepError
from mlops_core.pipeline import OBJECTIVE_OUTPUT
from mlops_core.reading import read_json, replace_text
from mlops_core.steps.context import StepContext

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from mlops_core.predictions import Predictions
    from mlops_core.steps.context import StepRequest
    from mlops_core.tuning.space import TunedValue

OBJECTIVE_FILE = "objective.json"
_FORMAT = "mlops-objective/1"
_LIMIT_BYTES = 1 << 20
_TRAIN, _VALIDATION, _TEST = "train", "validation", "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """The result of a trial; equal for trials with equal values, so it does not hold the index.

    Attributes:
        metric: name of the objective.
        values: the drawn values, by parameter; the configuration's own for trial 0.
        value: of the metric.
        low: lower end of its interval; NaN where it has none.
        high: upper end.
        level: of the interval.
        metrics: every declared metric of the same predictions.
    """

    metric: str
    value: float
    low: float
    high: float
    level: float
    values: Mapping[str, TunedValue] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON types only; a number that is not finite becomes null."""
        numbers = {name: _finite(getattr(self, name)) for name in ("value", "low", "high", "level")}
        metrics = {name: _finite(value) for name, value in sorted(self.metrics.items())}
        return {
            "format": _FORMAT,
            "metric": self.metric,
            "values": dict(self.values),
            **numbers,
            "metrics": metrics,
        }


def read_objective(folder: Path) -> Objective:
    """Return the result of the trial whose output ``objective`` is `folder`.

    Raises:
        StepError: the file is missing or damaged.
    """
    path = folder / OBJECTIVE_FILE
    try:
        data = read_json(path, limit_bytes=_LIMIT_BYTES)
        _require_format(data)
        numbers = {name: _number(data[name]) for name in ("value", "low", "high", "level")}
        metrics = {str(name): _number(value) for name, value in data["metrics"].items()}
        return Objective(
            metric=str(data["metric"]),
            values=dict(data["values"]),
            metrics=metrics,
            **numbers,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StepError(f"{path} is not the result of a trial: {error}") from error


def _require_format(data: Mapping[str, Any]) -> None:
    if data["format"] != _FORMAT:
        raise ValueError(f"format {data['format']!r}, expected {_FORMAT!r}")


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(value: object) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number")
    return float(value)


def trial_values(request: StepRequest) -> dict[str, TunedValue]:
    """Return the values of the trial that `request` executes; a Bayesian search draws them from the earlier trials.

    Raises:
        StepError: the result of an earlier trial is damaged.
        PluginError: the library of a Bayesian search is not installed.
    """
    step = request.step
    tuning, index = step.tuning, step.trial
    assert tuning is not None and index is not None  # noqa: S101, PT018  for mypy: the caller asks for it first
    if tuning.is_static:
        return tuning.values(index)
    from mlops_core.evaluation.metrics import Direction, Metric
    from mlops_core.tuning.bayesian import EarlierTrial, ask
    from mlops_core.use_cases.searches import earlier_trials

    declared = {each["name"]: Metric.from_json(each) for each in request.metrics}
    earlier = []
    for name, number in earlier_trials(step).items():
        if name in request.inputs:
            found = read_objective(request.inputs[name])
            earlier.append(EarlierTrial(index=number, values=found.values, value=found.value))
    is_higher = declared[tuning.objective].direction is Direction.HIGHER
    return ask(tuning, index, earlier=earlier, is_higher_better=is_higher)


def with_trial_values(request: StepRequest, values: Mapping[str, TunedValue]) -> StepRequest:
    """Return the request with the values of its trial in the configuration.

    Raises:
        StepError: the configuration's own checks refuse values that were drawn just now.
    """
    tuning = request.step.tuning
    assert tuning is not None  # noqa: S101  for mypy
    if values:
        shown = ", ".join(f"{name}={value}" for name, value in values.items())
        StepContext(request).log.info("trial %s: %s", request.step.trial, shown)
    if values and request.whole_config is not None:
        from mlops_core.use_cases.manager import load_use_case
        from mlops_core.use_cases.tuned_steps import values_fault

        model = load_use_case(request.use_case).config_model()
        fault = values_fault(tuning, values, model=model, sections=request.whole_config)
        if fault:
            raise StepError(f"search: trial {request.step.trial} {fault}; narrow the search space")
    return replace(request, config=tuning.overlay(request.config, values))


def write_objective(request: StepRequest, values: Mapping[str, TunedValue]) -> None:
    """Compute the objective of a trial from its predictions and write it; print it on one line for engines.

    Raises:
        StepError: there are no predictions, or the objective is missing, not finite or out of range.
        DatasetError: the predictions are not those of the validation part.
    """
    from mlops_core.evaluation.metrics import Metric
    from mlops_core.predictions import read_predictions
    from mlops_core.steps.evaluation import evaluate_predictions
    from mlops_core.use_cases.manager import load_use_case

    step, tuning = request.step, request.step.tuning
    assert tuning is not None  # noqa: S101  for mypy
    folder = request.outputs[tuning.predictions]
    predictions = read_predictions(folder)
    if not predictions.rows:
        raise StepError(f"step '{step.name}' wrote no predictions to '{tuning.predictions}': nothing to compare it by")
    if request.is_trained is not None:
        check_validation_predictions(request, predictions)
    metrics = [Metric.from_json(metric) for metric in request.metrics]
    report = evaluate_predictions(predictions, load_use_case(request.use_case).compute_metrics, metrics=metrics)
    metric = next(each for each in metrics if each.name == tuning.objective)
    found = report.values.get(metric.name)
    if found is None or metric.fault(found.value):
        fault = metric.fault(found.value if found else None)
        raise StepError(f"objective {metric.name} {fault}, from the predictions in '{tuning.predictions}'")
    objective = Objective(
        metric=metric.name,
        values=values or tuning.configured(request.config),
        value=found.value,
        low=found.low,
        high=found.high,
        level=found.level,
        metrics={name: value.value for name, value in report.values.items()},
    )
    text = json.dumps(objective.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    replace_text(request.outputs[OBJECTIVE_OUTPUT] / OBJECTIVE_FILE, text)
    print(f"{objective_mark(metric.name)}{found.value!r}", flush=True)  # noqa: T201  the step's log


def objective_mark(metric: str) -> str:
    """Return the beginning of the line with which a trial prints its objective; the number follows."""
    return f"mlops objective {metric}="


# --- The part of the data that chooses ----------------------------------------------------------------------


def check_validation_predictions(request: StepRequest, predictions: Predictions) -> None:
    """Check that a trial is judged by all validation samples and by no other.

    Where the split has no validation part, the samples are those of the training part, each predicted by a model that
    was trained without it, as in a cross-validation. Test samples are never among them.

    Raises:
        DatasetError: a sample belongs to another part, or a validation sample is missing.
        PluginError: the step reads no split manifest.
    """
    from mlops_core.datasets.splits import SPLIT_FILE
    from mlops_core.evaluation.coverage import read_left_out

    step, tuning = request.step, request.step.tuning
    assert tuning is not None  # noqa: S101  for mypy
    parts = _divided(request)
    if not parts:
        raise PluginError(
            f"step '{step.name}' reads no split manifest ({SPLIT_FILE}), so nothing shows that its trials are compared "
            "on the validation part; let it read the output of the step that splits the data"
        )
    wanted = _VALIDATION if _VALIDATION in parts.values() else _TRAIN
    predicted = {row.sample for row in predictions.rows}
    for sample in sorted(predicted):
        if parts.get(sample) != wanted:
            where = f"is in the {parts[sample] or 'unassigned'} part" if sample in parts else "is not in the split"
            raise DatasetError(
                f"predicted sample '{sample}' {where}; expected in '{tuning.predictions}' the samples of the {wanted} "
                "part only: what chooses a model must not be what judges it"
            )
    left_out = read_left_out(request.outputs[tuning.predictions])
    expected = {sample for sample, part in parts.items() if part == wanted}
    if missing := sorted(expected - predicted - left_out.keys()):
        raise DatasetError(
            f"{wanted} sample '{missing[0]}' (and {len(missing) - 1} more) has no prediction in "
            f"'{tuning.predictions}'; expected all {len(expected)}, so that trials are compared on the same samples"
        )


def _divided(request: StepRequest) -> dict[str, str]:
    """Return sample -> part; a trial may divide the training part further, but a test sample stays one.

    Raises:
        DatasetError: the trial's own manifest gives a sample to another part that its inputs do not let it learn from.
    """
    given = _parts_in(request.inputs.values())
    own = _parts_in(request.outputs.values())
    for sample, part in own.items():
        known = given.get(sample, "")
        if given and part != known and known not in (_TRAIN, _VALIDATION):
            where = f"in the {known} part" if known else "not in the split"
            raise DatasetError(
                f"step '{request.step.name}': its own split manifest has sample '{sample}' in the "
                f"{part or 'unassigned'} part, but it is {where} that the step reads; a trial may divide training and "
                "validation samples only"
            )
    return given | own


def _parts_in(folders: Iterable[Path]) -> dict[str, str]:
    from mlops_core.datasets.splits import SPLIT_FILE, iter_members

    manifests = (folder for folder in folders if (folder / SPLIT_FILE).is_file())
    return {sample: part for folder in manifests for sample, _, _, part, _ in iter_members(folder)}
