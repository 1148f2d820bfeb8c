"""The operations for jobs; the jobs are those of the executed steps."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.emulator.endpoint.protocol.errors import NotFoundError
from mlops_sagemaker.emulator.endpoint.protocol.listing import in_order, is_between, page
from mlops_sagemaker.emulator.endpoint.protocol.model import output_shape
from mlops_sagemaker.emulator.endpoint.state import Region, moment, present

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mlops_sagemaker.emulator.jobs.common import JobState

    Request = Mapping[str, Any]
    Response = dict[str, Any]
    Call = Callable[[Region, Request], Response]

KINDS = ("Processing", "Training", "HyperParameterTuning", "Transform")
_CREATED = {"after": "CreationTimeAfter", "before": "CreationTimeBefore"}
_MODIFIED = {"after": "LastModifiedTimeAfter", "before": "LastModifiedTimeBefore"}
_TIMES = {
    "Processing": ("ProcessingStartTime", "ProcessingEndTime"),
    "Training": ("TrainingStartTime", "TrainingEndTime"),
    "HyperParameterTuning": ("", "HyperParameterTuningEndTime"),
    "Transform": ("TransformStartTime", "TransformEndTime"),
}
_DEFAULT_ORDER = {"HyperParameterTuning": "Name"}


def job_calls() -> dict[str, Call]:
    """Return the operations by name."""
    calls: dict[str, Call] = {}
    for kind in KINDS:
        calls[f"Describe{kind}Job"] = functools.partial(_describe, kind)
        calls[f"List{kind}Jobs"] = functools.partial(_list, kind)
    return calls | {"ListTrainingJobsForHyperParameterTuningJob": _list_trials}


def _describe(kind: str, region: Region, request: Request) -> Response:
    members = output_shape(f"Describe{kind}Job").members
    description = _description(_job(region, kind, request[f"{kind}JobName"]))
    return {name: value for name, value in description.items() if name in members}


def _list(kind: str, region: Region, request: Request) -> Response:
    matching = [job for job in region.jobs.values() if job.kind == kind and _matches(job, request)]
    if {"WarmPoolStatusEquals", "TrainingPlanArnEquals"} & set(request):
        matching = []  # no job here has a warm pool or a plan
    ordered = in_order(matching, request, keys=_keys(), default=_DEFAULT_ORDER.get(kind, "CreationTime"))
    members = output_shape(f"List{kind}Jobs").members[f"{kind}JobSummaries"].member.members
    summaries = [{**_description(job), **_tuning_summary(job)} for job in ordered]
    listed = [{name: value for name, value in each.items() if name in members} for each in summaries]
    return page(request, listed, name=f"{kind}JobSummaries")


def _list_trials(region: Region, request: Request) -> Response:
    name = request["HyperParameterTuningJobName"]
    _job(region, "HyperParameterTuning", name)
    status = request.get("StatusEquals")
    matching = [job for job in region.jobs.values() if job.tuning == name and status in (None, job.status)]
    keys = _keys() | {"FinalObjectiveMetricValue": _objective_value}
    if request.get("SortBy") == "FinalObjectiveMetricValue":
        matching = [job for job in matching if _objective(job) is not None]  # as documented
    ordered = in_order(matching, request, keys=keys, default="Name")
    return page(request, [_trial(job) for job in ordered], name="TrainingJobSummaries")


def _keys() -> dict[str, Callable[[JobState], Any]]:
    return {"Name": lambda job: job.name, "CreationTime": lambda job: job.created, "Status": lambda job: job.status}


def _matches(job: JobState, request: Request) -> bool:
    created, modified = moment(job.created), moment(job.modified)
    return (
        request.get("NameContains", "") in job.name
        and request.get("StatusEquals") in (None, job.status)
        and (created is None or is_between(request, created, **_CREATED))
        and (modified is None or is_between(request, modified, **_MODIFIED))
    )


def _job(region: Region, kind: str, name: str) -> JobState:
    job = region.jobs.get((kind, name))
    if job is None:
        raise NotFoundError(f"Could not find requested job with name: {name}")
    return job


def _description(job: JobState) -> Response:
    begin, end = _TIMES[job.kind]
    description = {
        **job.properties,
        f"{job.kind}JobStatus": job.status,
        "FailureReason": job.failure,
        "CreationTime": moment(job.created),
        begin: moment(job.created),
        end: moment(job.modified) if job.is_final else None,
        "LastModifiedTime": moment(job.modified),
    }
    if job.kind == "Training":
        description["SecondaryStatus"] = "Training" if job.status == "InProgress" else job.status
        description["TuningJobArn"] = _tuning_arn(job)
    return present(description)


def _tuning_arn(job: JobState) -> str:
    prefix = str(job.properties["TrainingJobArn"]).partition(":training-job/")[0]
    return f"{prefix}:hyper-parameter-tuning-job/{job.tuning}" if job.tuning else ""


def _tuning_summary(job: JobState) -> Response:
    config = job.properties.get("HyperParameterTuningJobConfig")
    if not isinstance(config, dict):
        return {}
    return {"Strategy": config.get("Strategy"), "ResourceLimits": config.get("ResourceLimits")}


def _trial(job: JobState) -> Response:
    objective = _objective(job)
    return present(
        {
            **{name: value for name, value in job.trial.items() if name != "Objective"},
            "TrainingJobName": job.name,
            "TrainingJobArn": job.properties["TrainingJobArn"],
            "CreationTime": moment(job.created),
            "TrainingStartTime": moment(job.created),
            "TrainingEndTime": moment(job.modified) if job.is_final else None,
            "TrainingJobStatus": job.status,
            "FailureReason": job.failure,
            "FinalHyperParameterTuningJobObjectiveMetric": objective,
            "ObjectiveStatus": "Succeeded" if objective else "Failed" if job.is_final else "Pending",
        }
    )


def _objective(job: JobState) -> Response | None:
    """Return the last value of the objective metric; None if there is none."""
    name = job.trial["Objective"].get("MetricName")
    metrics = job.properties.get("FinalMetricDataList") or ()
    values = [metric["Value"] for metric in metrics if metric["MetricName"] == name]
    return {**job.trial["Objective"], "Value": values[-1]} if values else None


def _objective_value(job: JobState) -> float:
    objective = _objective(job)
    return float(objective["Value"]) if objective else float("nan")
