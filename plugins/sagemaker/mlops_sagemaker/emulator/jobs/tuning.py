"""Executes Tuning steps: runs several training jobs and selects the best one."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.emulator.faults import FaultKind, StepFault
from mlops_sagemaker.emulator.jobs.common import IN_PROGRESS, JobPlace, JobResult, JobState, run_job
from mlops_sagemaker.emulator.jobs.search import drawn_values
from mlops_sagemaker.emulator.jobs.training import run_training
from mlops_sagemaker.emulator.support import GRID, require_supported

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SIGNATURE = ("HyperParameterTuningJobConfig",)
"""The arguments that identify a reusable result, besides the parts of the training job definitions below."""
_IDENTIFYING = (
    "AlgorithmSpecification",
    "HyperParameterRanges",
    "InputDataConfig",
    "StaticHyperParameters",
    "TuningObjective",
)
"""The parts of a training job definition that identify a reusable result, as documented by the service."""
_OBJECTIVE = "_tuning_objective_metric"
_FEWEST = 1
_LONGEST_NAME = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A training job of the search.

    Attributes:
        request: arguments of ``CreateTrainingJob``.
        drawn: values of the tuned hyperparameters.
        objective: type and name of the objective metric.
    """

    request: Mapping[str, Any]
    drawn: Mapping[str, str]
    objective: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """The result of a trial.

    Attributes:
        trial: the trial.
        job: result of the training job; None if it failed.
        value: value of the objective metric; None if the job failed or did not log it.
        failure: failure reason; empty if the job succeeded.
    """

    trial: Trial
    job: JobResult | None = None
    value: float | None = None
    failure: str = ""


def identifying_definitions(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of the training job definitions that identify a reusable result."""
    one, many = request.get("TrainingJobDefinition"), request.get("TrainingJobDefinitions")
    return {
        "TrainingJobDefinition": _identifying(one),
        "TrainingJobDefinitions": [_identifying(each) for each in many] if isinstance(many, list) else many,
    }


def _identifying(definition: Any) -> Any:
    return {name: definition.get(name) for name in _IDENTIFYING} if isinstance(definition, dict) else definition


def run_tuning(long_name: str, request: Mapping[str, Any], place: JobPlace) -> JobResult:
    """Execute a tuning job.

    Args:
        long_name: name from which the names of the tuning job and of its training jobs are derived.
        request: resolved arguments of ``CreateHyperParameterTuningJob``.
        place: environment of the job.

    Raises:
        StepFault: no training job logged the objective metric.
        StepStopped: the execution was stopped.
    """
    require_supported("Tuning", request)
    name = f"{long_name[:21].rstrip('-')}-{long_name[-10:]}"  # at most 32 characters; the last ten make it unique
    arn = f"{place.arn_prefix}:hyper-parameter-tuning-job/{name}"
    started = {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobArn": arn,
        "HyperParameterTuningJobStatus": IN_PROGRESS,
        "TrainingJobStatusCounters": {"Completed": 0, "NonRetryableError": 0, "InProgress": 0},
        "ObjectiveStatusCounters": {"Succeeded": 0, "Pending": 0, "Failed": 0},
    }
    tuning = JobResult(properties={**request, **started}, metadata={"TuningJob": {"Arn": arn}})
    return run_job(place, "HyperParameterTuning", tuning, body=lambda: _search(place, tuning, name=long_name))


def _search(place: JobPlace, tuning: JobResult, *, name: str) -> JobResult:
    """Run the training jobs and return the completed tuning job."""
    request = tuning.properties
    config = request.get("HyperParameterTuningJobConfig") or {}
    limits = config.get("ResourceLimits") or {}
    trials = list(itertools.islice(_trials(request), _number_of_trials(config, limits)))
    with ThreadPoolExecutor(max_workers=int(limits.get("MaxParallelTrainingJobs") or _FEWEST)) as pool:
        running = [
            pool.submit(
                _try, f"{name}-{number:03}", trial, _place_of(trial, place, request["HyperParameterTuningJobName"])
            )
            for number, trial in enumerate(trials, start=1)
        ]
        results = [future.result() for future in running]
    ranked = sorted((result for result in results if result.value is not None), key=_rank)
    if not ranked:
        reason = next((result.failure for result in results if result.failure), "no log contains the objective metric")
        raise StepFault(FaultKind.ALGORITHM, f"none of {len(trials)} training jobs can be compared: {reason}")
    logs = tuple(log for result in results if result.job for log in result.job.logs)
    written = tuple(uri for result in results if result.job for uri in result.job.written)
    return replace(tuning, properties={**request, **_summary(results, ranked)}, logs=logs, written=written)


def _number_of_trials(config: Mapping[str, Any], limits: Mapping[str, Any]) -> int | None:
    """Return the largest number of training jobs; None for all combinations, which a grid search tries by default."""
    number = limits.get("MaxNumberOfTrainingJobs")
    return int(number) if number else None if config.get("Strategy") == GRID else _FEWEST


def _place_of(trial: Trial, place: JobPlace, tuning: str) -> JobPlace:
    """Return the environment of a trial's training job: it is reported as a part of the tuning job."""
    listed = {
        "TrainingJobDefinitionName": trial.request.get("DefinitionName"),
        "TunedHyperParameters": dict(trial.drawn),
        "Objective": dict(trial.objective),
    }

    def on_job(state: JobState) -> None:
        place.on_job(replace(state, tuning=tuning, trial=listed))

    return replace(place, announce=lambda _: None, on_job=on_job)


def _trials(request: Mapping[str, Any]) -> Iterator[Trial]:
    """Yield the trials, from each training job definition in turn."""
    config = request.get("HyperParameterTuningJobConfig") or {}
    definitions = request.get("TrainingJobDefinitions") or [request.get("TrainingJobDefinition") or {}]
    ranges = [each.get("HyperParameterRanges") or config.get("ParameterRanges") or {} for each in definitions]
    searches = [drawn_values(config, each) for each in ranges]
    objectives = [
        each.get("TuningObjective") or config.get("HyperParameterTuningJobObjective") or {} for each in definitions
    ]
    sources = list(zip(definitions, searches, objectives, strict=True))
    while sources:
        for source in tuple(sources):
            definition, search, objective = source
            drawn = next(search, None)
            if drawn is None:
                sources.remove(source)
            else:
                yield Trial(request=_training(definition, drawn, objective), drawn=drawn, objective=objective)


def _training(definition: Mapping[str, Any], drawn: Mapping[str, str], objective: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a training job."""
    request = dict(definition)
    constant = request.pop("StaticHyperParameters", None) or {}
    resources = request.pop("HyperParameterTuningResourceConfig", None)
    if resources:
        request["ResourceConfig"] = resources
    request["HyperParameters"] = {**constant, **drawn, _OBJECTIVE: str(objective.get("MetricName", ""))}
    return request


def _try(name: str, trial: Trial, place: JobPlace) -> TrialResult:
    """Execute the training job of a trial; a failure does not end the other trials."""
    try:
        job = run_training(_short(name), trial.request, place)
    except StepFault as fault:
        return TrialResult(trial=trial, failure=str(fault))
    metric_name = trial.objective.get("MetricName")
    values = [
        metric["Value"] for metric in job.properties["FinalMetricDataList"] if metric["MetricName"] == metric_name
    ]
    value = values[-1] if values and values[-1] == values[-1] else None  # NaN is not a result
    return TrialResult(trial=trial, job=job, value=value)


def _short(name: str) -> str:
    """Return a job name with at most 63 characters; its end makes it unique."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 15].rstrip('-')}-{name[-14:]}"


def _rank(result: TrialResult) -> float:
    assert result.value is not None  # noqa: S101  for mypy: only results with a value are ranked
    return -result.value if result.trial.objective.get("Type") == "Maximize" else result.value


def _summary(results: list[TrialResult], ranked: list[TrialResult]) -> dict[str, Any]:
    """Return the properties of the completed tuning job, with the best training job first."""
    summaries = [_described(result) for result in ranked]
    failed = sum(1 for result in results if result.failure)
    return {
        "HyperParameterTuningJobStatus": "Completed",
        "BestTrainingJob": summaries[0],
        "TrainingJobSummaries": summaries,
        "TrainingJobStatusCounters": {"Completed": len(results) - failed, "NonRetryableError": failed, "InProgress": 0},
        "ObjectiveStatusCounters": {"Succeeded": len(ranked), "Pending": 0, "Failed": len(results) - len(ranked)},
    }


def _described(result: TrialResult) -> dict[str, Any]:
    assert result.job is not None  # noqa: S101  for mypy: it has a value
    return {
        "TrainingJobName": result.job.properties["TrainingJobName"],
        "TrainingJobArn": result.job.properties["TrainingJobArn"],
        "TrainingJobStatus": "Completed",
        "TunedHyperParameters": dict(result.trial.drawn),
        "FinalHyperParameterTuningJobObjectiveMetric": {**result.trial.objective, "Value": result.value},
        "ObjectiveStatus": "Succeeded",
    }
