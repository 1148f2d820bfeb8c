"""The execution of a run at the service: state, stop, retry, logs and evaluation, as core follows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core import MlopsError, Pipeline
from mlops_core.runners import Decision, RunnerError, find_searches
from mlops_core.runners.remote.following import ExecutionState, RemoteEvaluation, RemoteRun, last_lines
from mlops_sagemaker.compiler.definition import FAIL_STEP
from mlops_sagemaker.service import curves, logs, results, states
from mlops_sagemaker.service.account import Account
from mlops_sagemaker.service.executions import ExecutionStatus
from mlops_sagemaker.service.outcomes import failure_of
from mlops_sagemaker.service.pipelines import Execution

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mlops_core import RunRecord, Step
    from mlops_core.runners import RemoteRecord, RunObserver, StepRecord, Store
    from mlops_sagemaker.service.executions import ExecutionRecord

_NO_ENTRY_POINT = (
    "No module named mlops_core",
    "No module named 'mlops_core'",
    "No module named mlops_sagemaker",
    "No module named 'mlops_sagemaker'",
    "exit code: 127",
    "exit code: 126",
)
_ADVICE = "reject the model package, if one was registered, and compile again"


class SageMakerExecution:
    """The execution of a compiled pipeline."""

    def __init__(self, record: RunRecord, remote: RemoteRecord, *, account: Account) -> None:
        """Open the execution that the record of a run names."""
        self._use_case = record.use_case
        self._pipeline = Pipeline.from_json(record.pipeline)
        self._remote = remote
        self._account = account
        self._latest: ExecutionRecord | None = None

    def describe(self) -> ExecutionState:
        """Return the execution's current state.

        Raises:
            RunnerError: the service cannot be reached or refuses.
        """
        execution = self._refresh()
        is_met = states.is_met(execution)
        return ExecutionState(
            status=str(execution.status),
            is_final=execution.status.is_final,
            is_retryable=execution.status in (ExecutionStatus.FAILED, ExecutionStatus.STOPPED),
            is_stopped=execution.status is ExecutionStatus.STOPPED,
            duration_s=states.seconds(execution.start, execution.end),
            ended=execution.end,
            steps=tuple((states.step_records(self._pipeline, execution) | self._trials(execution)).values()),
            decision=None if is_met is None else _decision(execution, is_met=is_met),
        )

    def _trials(self, execution: ExecutionRecord) -> dict[str, StepRecord]:
        """Return the records of the trials of searches that have begun."""
        records: dict[str, StepRecord] = {}
        for search in find_searches(self._pipeline):
            job = states.job_name(execution.step(search.name))
            if job:
                request = {"HyperParameterTuningJobName": job}
                operation = "list_training_jobs_for_hyper_parameter_tuning_job"
                pages = self._account.pages("sagemaker", operation, "TrainingJobSummaries", **request)
                records |= states.trial_records(search, list(pages))
        return records

    def stop(self, *, token: str) -> None:
        """Stop the execution.

        Raises:
            RunnerError: the execution has already ended, or the service refuses.
        """
        self._call("stop_pipeline_execution", ClientRequestToken=token)

    def retry(self, *, token: str) -> None:
        """Retry the execution after a failure.

        Raises:
            RunnerError: the service refuses.
        """
        self._call("retry_pipeline_execution", ClientRequestToken=token)

    def fetch_logs(self, step: Step, *, folder: Path) -> tuple[Path, ...]:
        """Copy the logs of a step from CloudWatch into a folder.

        Raises:
            RunnerError: CloudWatch refuses.
        """
        return logs.fetch_logs(self._account, self._latest or self._refresh(), step, folder=folder)

    def fetch_evaluation(self, store: Store) -> RemoteEvaluation:
        """Copy the evaluation into the workspace and publish it in the bucket.

        Raises:
            RunnerError: the evaluation is not at its location in S3, or S3 refuses.
        """
        execution = self._latest or self._refresh()
        evaluation = results.fetch_evaluation(self._account, self._pipeline, execution, store=store)
        if self._remote.bucket:
            results.publish(self._account, evaluation.uri, bucket=self._remote.bucket)
        return RemoteEvaluation(verdict=evaluation.verdict, outputs=evaluation.outputs)

    def fetch_histories(self, steps: Sequence[Step], *, folder: Path) -> None:
        """Copy the training histories from S3.

        Raises:
            RunnerError: S3 refuses.
        """
        execution = self._latest or self._refresh()
        for step in steps:
            curves.fetch_histories(self._account, execution, step, folder=folder / step.name)

    def store_logs(self, folder: Path) -> None:
        """Copy the logs for TensorBoard to ``tensorboard/`` under the prefix of the execution.

        Raises:
            RunnerError: S3 refuses.
        """
        execution = self._latest or self._refresh()
        curves.store_logs(self._account, execution, self._pipeline, arn=self._remote.execution, folder=folder)

    def failure(self, *, logs: Path) -> MlopsError:
        """Return why the execution failed."""
        execution = self._latest or self._refresh()
        failure = failure_of(execution, self._pipeline, logs=logs)
        text = f"{failure} {_last_log_lines(execution, logs)}"
        if any(sign in text for sign in _NO_ENTRY_POINT):
            return RunnerError(
                f"{failure}; the step image lacks mlops-usecases, mlops-sagemaker or the plugin of {self._use_case}: "
                f"build it with mlops package --usecase {self._use_case}, push it, and pass it with --image"
            )
        return failure

    def registered_model(self) -> tuple[str, str]:
        """Return the ARN and approval status of the model package; two empty strings if none was registered.

        Raises:
            RunnerError: the service refuses.
        """
        package = states.model_package(self._latest or self._refresh())
        if not package:
            return "", ""
        description = self._account.call("sagemaker", "describe_model_package", ModelPackageName=package)
        return package, description.get("ModelApprovalStatus", "")

    def _call(self, operation: str, **request: str) -> None:
        self._account.call("sagemaker", operation, PipelineExecutionArn=self._remote.execution, **request)

    def _refresh(self) -> ExecutionRecord:
        execution = Execution(arn=self._remote.execution, client=self._account.client("sagemaker"))
        self._latest = states.execution_record(execution.describe(), execution.list_steps())
        return self._latest


def open_run(store: Store, record: RunRecord, *, observer: RunObserver, account: Account | None = None) -> RemoteRun:
    """Return a run together with its execution at the service.

    Args:
        store: the workspace.
        record: record of the run.
        observer: receives the run's events.
        account: account to use; None for the default account in the region of the record.

    Raises:
        RunnerError: the run was never started at the service.
    """
    if record.remote is None:
        raise RunnerError(f"run {record.run_id} was never started at the service; start a new one")
    execution = SageMakerExecution(record, record.remote, account=account or Account(region=record.remote.region))
    return RemoteRun(store, record, execution, observer=observer)


def _decision(execution: ExecutionRecord, *, is_met: bool) -> Decision:
    fail_step = execution.step(FAIL_STEP)
    return Decision(is_accepted=is_met, message=fail_step.failure if fail_step else "", advice=_ADVICE)


def _last_log_lines(execution: ExecutionRecord, folder: Path) -> str:
    failed = next((step.name for step in execution.steps if step.failure), "")
    paths = sorted(folder.glob(f"{failed}*.log")) if failed else ()
    return " ".join(last_lines(tuple(paths), lines=5))
