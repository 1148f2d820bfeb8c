"""Converts the service's descriptions of an execution and its steps to execution and step records."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from mlops_core.runners import StepRecord
from mlops_core.runners import StepStatus as Status
from mlops_sagemaker.compiler.arguments import TRIAL, TURN
from mlops_sagemaker.compiler.definition import GATE_STEP, REGISTER_STEP
from mlops_sagemaker.service.executions import ExecutionRecord, ExecutionStatus, ExecutionStep, ExecutionStepStatus
from mlops_sagemaker.service.outcomes import job_names, message_of, step_record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlops_core import Pipeline, Step
    from mlops_core.runners import Search

Json = Any
_JOBS = {"ProcessingJob": "Processing", "TrainingJob": "Training", "TransformJob": "Transform", "TuningJob": "Tuning"}
_TRIALS = {"Completed": Status.DONE, "Failed": Status.FAILED, "Stopped": Status.STOPPED}
_UNDECIDED = {ExecutionStepStatus.STARTING, ExecutionStepStatus.EXECUTING, ExecutionStepStatus.STOPPING}


def execution_record(description: Json, steps: Sequence[Json]) -> ExecutionRecord:
    """Return the record from the responses of DescribePipelineExecution and ListPipelineExecutionSteps."""
    status = ExecutionStatus(description["PipelineExecutionStatus"])
    return ExecutionRecord(
        arn=description["PipelineExecutionArn"],
        pipeline=description["PipelineArn"].rpartition("/")[2],
        status=status,
        start=_time(description.get("CreationTime")),
        end=_time(description.get("LastModifiedTime")) if status.is_final else "",
        failure=description.get("FailureReason", ""),
        steps=tuple(map(_step, steps)),
    )


def step_records(pipeline: Pipeline, execution: ExecutionRecord) -> dict[str, StepRecord]:
    """Return the records of all steps of the pipeline by name, in the order of execution."""
    return {step.name: _record(step, execution) for step in pipeline.ordered()}


def trial_records(search: Search, summaries: Sequence[Json]) -> dict[str, StepRecord]:
    """Return the records of the trials of a search by step name, from ListTrainingJobsForHyperParameterTuningJob."""
    records = {}
    for summary in summaries:
        values = summary.get("TunedHyperParameters") or {}
        index = sum(int(values[name]) for name in (TRIAL, TURN) if name in values)
        start, end = _time(summary.get("CreationTime")), _time(summary.get("TrainingEndTime"))
        objective = summary.get("FinalHyperParameterTuningJobObjectiveMetric") or {}
        found = f"{objective['MetricName']} {objective['Value']:.6g}" if "Value" in objective else ""
        name = search.trials[index].name
        records[name] = StepRecord(
            name=name,
            status=_TRIALS.get(summary["TrainingJobStatus"], Status.RUNNING),
            started=start,
            duration_s=seconds(start, end),
            attempts=1,
            because=found or "executed by the definition",
            error=message_of(summary.get("FailureReason", "")),
        )
    return records


def job_name(step: ExecutionStep | None) -> str:
    """Return the name of the job of a step; empty if it has none."""
    for key in _JOBS:
        arn = str((step.metadata.get(key) or {}).get("Arn", "")) if step else ""
        if arn:
            return arn.rpartition("/")[2]
    return ""


def is_training_job(step: ExecutionStep | None) -> bool:
    """Return whether the job of a step is a training job."""
    return bool(step and step.metadata.get("TrainingJob"))


def is_met(execution: ExecutionRecord) -> bool | None:
    """Return whether the condition of the gate was met; None if the gate was not reached."""
    gate = execution.step(GATE_STEP)
    if gate is None or gate.status is not ExecutionStepStatus.SUCCEEDED:
        return None
    return str((gate.metadata.get("Condition") or {}).get("Outcome")) == "True"


def model_package(execution: ExecutionRecord) -> str:
    """Return the ARN of the registered model package; empty if none was registered."""
    step = execution.step(REGISTER_STEP)
    if step is None or step.status is not ExecutionStepStatus.SUCCEEDED:
        return ""
    return str((step.metadata.get("RegisterModel") or {}).get("Arn", ""))


def seconds(start: str, end: str) -> float:
    """Return the seconds between two times; an empty end means now, an empty start gives 0."""
    if not start:
        return 0.0
    last = dt.datetime.fromisoformat(end) if end else dt.datetime.now(dt.UTC)
    return max(0.0, (last - dt.datetime.fromisoformat(start)).total_seconds())


def _record(step: Step, execution: ExecutionRecord) -> StepRecord:
    names = job_names(step)
    states = tuple(state for state in map(execution.step, names) if state)
    if not states:
        return StepRecord(name=step.name, status=Status.SKIPPED if execution.status.is_final else Status.PENDING)
    record = step_record(step.name, states)
    is_open = any(state.status in _UNDECIDED for state in states) or len(states) < len(names)
    has_failed = any(state.status in (ExecutionStepStatus.FAILED, ExecutionStepStatus.STOPPED) for state in states)
    if not is_open or has_failed:
        return record
    status = Status.STOPPED if execution.status.is_final else Status.RUNNING
    return StepRecord(name=step.name, status=status, started=states[0].start, attempts=record.attempts)


def _step(data: Mapping[str, Json]) -> ExecutionStep:
    metadata = data.get("Metadata") or {}
    text = data.get("StepStatus", "")
    return ExecutionStep(
        name=data["StepName"],
        type=next((kind for key, kind in _JOBS.items() if key in metadata), ""),
        status=ExecutionStepStatus(text) if text in set(ExecutionStepStatus) else ExecutionStepStatus.EXECUTING,
        start=_time(data.get("StartTime")),
        end=_time(data.get("EndTime")),
        attempts=int(data.get("AttemptCount") or 1),
        failure=data.get("FailureReason", ""),
        metadata=metadata,
        cache_source=(data.get("CacheHitResult") or {}).get("SourcePipelineExecutionArn", ""),
    )


def _time(moment: Json) -> str:
    return moment.astimezone(dt.UTC).isoformat(timespec="milliseconds") if isinstance(moment, dt.datetime) else ""
