"""Tuning steps: several training jobs, the best of which is the step's result."""

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
"""The arguments that decide whether a former result may be taken."""
_OBJECTIVE = "_tuning_objective_metric"
_FEWEST = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One training job of the search.

    Attributes:
        request: arguments of ``CreateTrainingJob``.
        drawn: the hyperparameters that are searched.
        objective: type and name of the metric that decides.
    """

    request: Mapping[str, Any]
    drawn: Mapping[str, str]
    objective: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a trial ended.

    Attributes:
        trial: what was tried.
        job: what it left; None when it failed.
        value: of the objective; None when the job failed or did not say it.
        failure: why it failed; empty when it did not.
    """

    trial: Trial
    job: JobResult | None = None
    value: float | None = None
    failure: str = ""


def run_tuning(step: str, request: Mapping[str, Any], place: JobPlace) -> JobResult:
    """Execute one tuning job.

    Args:
        step: name of the pipeline step.
        request: the arguments of ``CreateHyperParameterTuningJob``, resolved.
        place: where it happens.

    Raises:
        StepFault: no training job said the objective.
        StepStopped: the execution was stopped.
    """
    long = job_name(place, step)
    name = f"{long[:21].rstrip('-')}-{long[-10:]}"  # the service takes 32 characters; the last ten make it unique
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
        ended = list(pool.map(lambda trial: _try(step, trial, quiet), trials))
    found = sorted((one for one in ended if one.value is not None), key=_rank)
    if not found:
        reasons = next((one.failure for one in ended if one.failure), "no log says the objective metric")
        raise StepFault(FaultKind.ALGORITHM, f"none of {len(trials)} training jobs can be compared: {reasons}")
    logs = tuple(log for one in ended if one.job for log in one.job.logs)
    return replace(tuning, properties={**tuning.properties, **_summary(ended, found)}, logs=logs)


def _trials(request: Mapping[str, Any]) -> Iterator[Trial]:
    """Yield what is tried, each definition of a training job in turn."""
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
    """Return the arguments of one training job."""
    given = dict(definition)
    constant = given.pop("StaticHyperParameters", None) or {}
    resources = given.pop("HyperParameterTuningResourceConfig", None)
    if resources:
        given["ResourceConfig"] = resources
    given["HyperParameters"] = {**constant, **drawn, _OBJECTIVE: str(objective.get("MetricName", ""))}
    return given


def _try(step: str, trial: Trial, place: JobPlace) -> Ended:
    """Execute one training job; one that fails does not end the others."""
    try:
        job = run_training(step, trial.request, place)
    except StepFault as fault:
        return Ended(trial=trial, failure=str(fault))
    wanted = trial.objective.get("MetricName")
    values = [one["Value"] for one in job.properties["FinalMetricDataList"] if one["MetricName"] == wanted]
    value = values[-1] if values and values[-1] == values[-1] else None  # NaN is no result
    return Ended(trial=trial, job=job, value=value)


def _rank(ended: Ended) -> float:
    assert ended.value is not None  # noqa: S101  for mypy: only those with a value are ranked
    return -ended.value if ended.trial.objective.get("Type") == "Maximize" else ended.value


def _summary(ended: list[Ended], found: list[Ended]) -> dict[str, Any]:
    """Return what the service would describe of the finished search, the best training job first."""
    summaries = [_described(one) for one in found]
    failed = sum(1 for one in ended if one.failure)
    return {
        "HyperParameterTuningJobStatus": "Completed",
        "BestTrainingJob": summaries[0],
        "TrainingJobSummaries": summaries,
        "TrainingJobStatusCounters": {"Completed": len(ended) - failed, "NonRetryableError": failed, "InProgress": 0},
        "ObjectiveStatusCounters": {"Succeeded": len(found), "Pending": 0, "Failed": len(ended) - len(found)},
    }


def _described(ended: Ended) -> dict[str, Any]:
    assert ended.job is not None  # noqa: S101  for mypy: it has a value
    return {
        "TrainingJobName": ended.job.properties["TrainingJobName"],
        "TrainingJobArn": ended.job.properties["TrainingJobArn"],
        "TrainingJobStatus": "Completed",
        "TunedHyperParameters": dict(ended.trial.drawn),
        "FinalHyperParameterTuningJobObjectiveMetric": {**ended.trial.objective, "Value": ended.value},
        "ObjectiveStatus": "Succeeded",
    }
