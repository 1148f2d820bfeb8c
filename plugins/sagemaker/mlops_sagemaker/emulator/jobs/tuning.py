"""Executes Tuning steps: runs several training jobs and selects the best one."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.emulator.faults import FaultKind, StepFault
from mlops_sagemaker.emulator.jobs.common import JobPlace, JobResult, job_name
from mlops_sagemaker.emulator.jobs.search import drawn_values
from mlops_sagemaker.emulator.jobs.training import run_training

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SIGNATURE = ("HyperParameterTuningJobConfig", "TrainingJobDefinition", "TrainingJobDefinitions")
"""The arguments that identify a reusable result."""
_OBJECTIVE = "_tuning_objective_metric"
_FEWEST = 1


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


def run_tuning(step: str, request: Mapping[str, Any], place: JobPlace) -> JobResult:
    """Execute a tuning job.

    Args:
        step: name of the pipeline step.
        request: resolved arguments of ``CreateHyperParameterTuningJob``.
        place: environment of the job.

    Raises:
        StepFault: no training job logged the objective metric.
        StepStopped: the execution was stopped.
    """
    long = job_name(place, step)
    name = f"{long[:21].rstrip('-')}-{long[-10:]}"  # at most 32 characters; the last ten make it unique
    arn = f"{place.arn_prefix}:hyper-parameter-tuning-job/{name}"
    tuning = JobResult(
        properties={**request, "HyperParameterTuningJobName": name, "HyperParameterTuningJobArn": arn},
        metadata={"TuningJob": {"Arn": arn}},
    )
    place.announce(tuning)
    limits = (request.get("HyperParameterTuningJobConfig") or {}).get("ResourceLimits") or {}
    trials = list(itertools.islice(_trials(request), int(limits.get("MaxNumberOfTrainingJobs") or _FEWEST)))
    quiet = replace(place, announce=lambda _: None)
    with ThreadPoolExecutor(max_workers=int(limits.get("MaxParallelTrainingJobs") or _FEWEST)) as pool:
        results = list(pool.map(lambda trial: _try(step, trial, quiet), trials))
    ranked = sorted((result for result in results if result.value is not None), key=_rank)
    if not ranked:
        reason = next((result.failure for result in results if result.failure), "no log contains the objective metric")
        raise StepFault(FaultKind.ALGORITHM, f"none of {len(trials)} training jobs can be compared: {reason}")
    logs = tuple(log for result in results if result.job for log in result.job.logs)
    return replace(tuning, properties={**tuning.properties, **_summary(results, ranked)}, logs=logs)


def _trials(request: Mapping[str, Any]) -> Iterator[Trial]:
    """Yield the trials, from each training job definition in turn."""
    config = request.get("HyperParameterTuningJobConfig") or {}
    definitions = request.get("TrainingJobDefinitions") or [request.get("TrainingJobDefinition") or {}]
    ranges = [each.get("HyperParameterRanges") or config.get("ParameterRanges") or {} for each in definitions]
    searches = [drawn_values(config, each) for each in ranges]
    objectives = [
        each.get("TuningObjective") or config.get("HyperParameterTuningJobObjective") or {} for each in definitions
    ]
    sources = zip(definitions, searches, objectives, strict=True)
    for definition, search, objective in itertools.cycle(list(sources)):
        drawn = next(search, None)
        if drawn is None:
            return
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


def _try(step: str, trial: Trial, place: JobPlace) -> TrialResult:
    """Execute the training job of a trial; a failure does not end the other trials."""
    try:
        job = run_training(step, trial.request, place)
    except StepFault as fault:
        return TrialResult(trial=trial, failure=str(fault))
    name = trial.objective.get("MetricName")
    values = [metric["Value"] for metric in job.properties["FinalMetricDataList"] if metric["MetricName"] == name]
    value = values[-1] if values and values[-1] == values[-1] else None  # NaN is not a result
    return TrialResult(trial=trial, job=job, value=value)


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
