"""The runner ``sagemaker``: data to S3, the compiled pipeline to the service, started and followed to its verdict.

Everything that can be checked here is checked before anything is sent. From the moment an execution exists its ARN is
in the run's record, so nothing is lost when this process ends; `mlops_sagemaker.tracking` goes on.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_core.errors import DefinitionError, ExitCode, MlopsError, RunnerError, UsageError
from mlops_core.pipeline import EVALUATION_OUTPUT, FETCH
from mlops_core.runners.lifecycle import new_record
from mlops_core.runners.remote.costs import check_cost
from mlops_core.runners.remote.datasets import provide_dataset
from mlops_core.runners.remote.options import RunnerOptions
from mlops_core.workspace.files import write_atomically
from mlops_core.workspace.records import RemoteRecord, RunRecord, RunStatus, StepRecord, StepStatus
from mlops_sagemaker.checking import check_definition
from mlops_sagemaker.compiler.definition import Definition, compile_pipeline
from mlops_sagemaker.service.account import Account
from mlops_sagemaker.service.pipelines import CompiledPipeline
from mlops_sagemaker.target import Target, find_target, pipeline_tags
from mlops_sagemaker.tracking import RemoteRun

if TYPE_CHECKING:
    from mlops_core.runners import RunObserver, RunRequest
    from mlops_core.workspace.store import Store

NAME = "sagemaker"
_FAULTS_SHOWN = 3


class SageMakerRunner:
    """Carries out a pipeline in an account."""

    def __init__(
        self,
        store: Store,
        *,
        observer: RunObserver,
        jobs: int | None = None,
        options: RunnerOptions | None = None,
        account: Account | None = None,
    ) -> None:
        """Keep the records of runs in the workspace `store`.

        Args:
            store: the workspace.
            observer: is told what happens.
            jobs: steps at once; the settings' ``account.max_parallel_steps`` where it is None.
            options: account, limits, whether to wait.
            account: that of the options where it is None.
        """
        self._store = store
        self._observer = observer
        self._jobs = jobs
        self._options = options or RunnerOptions()
        self._account = account or Account(region=self._options.region)

    def run(self, request: RunRequest) -> RunRecord:
        """Carry out the pipeline and return its record, finished unless the run is detached.

        Raises:
            UsageError: a name is missing or wrong, only some steps were asked for, or it may cost too much.
            DefinitionError: the service would refuse the compiled definition.
            RunnerError: the run could not begin.
            KeyboardInterrupt: after the execution was left to itself, or before it was started.
        """
        _refuse_selection(request)
        resumed = request.resumed
        if resumed and resumed.remote:
            return self._go_on(resumed)
        target = find_target(request.use_case.name, self._options)
        self._compile(request, target)
        check_cost(request, target.settings, store=self._store, options=self._options, note=self._observer.note)
        record = new_record(request, runner=NAME)
        if resumed:
            record = replace(record, run_id=resumed.run_id)
        with self._store.runs.lock(record.run_id):
            write_atomically(self._store.runs.folder(record.run_id) / "config.yaml", record.config)
            self._store.runs.save(record)
            self._observer.run_started(record)
            return self._follow(self._submit(request, target, record))

    def _go_on(self, record: RunRecord) -> RunRecord:
        """Follow an execution again, after asking the service to retry it where it has failed or was stopped."""
        with self._store.runs.lock(record.run_id):
            self._observer.run_started(record)
            run = RemoteRun(self._store, record, observer=self._observer)
            if record.status is RunStatus.RUNNING:
                run.refresh()
            if run.record.status in (RunStatus.FAILED, RunStatus.STOPPED):
                run.retry()
            return run.record if run.record.status is not RunStatus.RUNNING else self._follow(run.record)

    # --- Before the execution exists ----------------------------------------------------------------------

    def _submit(self, request: RunRequest, target: Target, record: RunRecord) -> RunRecord:
        began = time.monotonic()
        try:
            return self._start(request, target, record)
        except BaseException as error:
            is_stopped = isinstance(error, KeyboardInterrupt)
            code = getattr(error, "exit_code", ExitCode.INTERRUPTED if is_stopped else ExitCode.DEFECT)
            known = self._store.runs.load(record.run_id)
            failed = replace(
                known,
                status=RunStatus.STOPPED if is_stopped else RunStatus.FAILED,
                error="interrupted before the execution was started" if is_stopped else str(error),
                exit_code=int(code),
                duration_s=time.monotonic() - began,
            )
            self._store.runs.save(failed)
            if isinstance(error, MlopsError):
                return failed
            raise

    def _start(self, request: RunRequest, target: Target, record: RunRecord) -> RunRecord:
        record = self._provide(request, target, record)
        assert record.dataset is not None  # noqa: S101  for mypy: _provide has set it
        compiled = self._compile(request, target, dataset_digest=record.dataset.digest)
        folder = self._store.runs.folder(record.run_id)
        write_atomically(folder / "definition.json", compiled.to_text())
        pipeline = CompiledPipeline(
            name=target.pipeline, compiled=compiled, bucket=target.bucket, account=self._account
        )
        pipeline.upsert(target.role, tags=pipeline_tags(target.settings))
        execution = pipeline.start(token=hashlib.sha256(f"{record.run_id} start".encode()).hexdigest())
        self._observer.note(f"execution {execution.arn}")
        remote = RemoteRecord(
            execution=execution.arn, pipeline=target.pipeline, region=self._account.region, bucket=target.bucket
        )
        record = replace(record, remote=remote)
        self._store.runs.save(record)
        return record

    def _compile(self, request: RunRequest, target: Target, *, dataset_digest: str = "") -> Definition:
        compiled = compile_pipeline(request, target.settings, dataset_digest=dataset_digest)
        faults = check_definition(compiled.data)
        if faults:
            shown = "; ".join(map(str, faults[:_FAULTS_SHOWN]))
            raise DefinitionError(f"the compiled definition has {len(faults)} fault(s): {shown}")
        return replace(compiled, max_parallel_steps=self._jobs) if self._jobs else compiled

    def _provide(self, request: RunRequest, target: Target, record: RunRecord) -> RunRecord:
        self._observer.step_started(FETCH)
        began = time.monotonic()
        try:
            uri = f"s3://{target.bucket}/train/datasets/{request.pipeline.dataset}/"
            provided = provide_dataset(
                request,
                uri,
                store=self._store,
                account=self._account,
                progress=lambda label, done, total: self._observer.step_progress(FETCH, label, done, total),
            )
        except MlopsError as error:
            self._observer.step_ended(StepRecord(name=FETCH, status=StepStatus.FAILED, error=str(error)))
            raise
        status = StepStatus.DONE if provided.sent else StepStatus.REUSED
        duration_s = time.monotonic() - began
        self._observer.step_ended(StepRecord(name=FETCH, status=status, duration_s=duration_s))
        return replace(record, dataset=provided.record)

    # --- While it runs ------------------------------------------------------------------------------------

    def _follow(self, record: RunRecord) -> RunRecord:
        if record.remote is None or self._options.is_detached:
            return record
        run = RemoteRun(self._store, record, observer=self._observer, account=self._account_of(record.remote))
        try:
            record = run.follow(timeout_s=self._options.timeout_s)
        except KeyboardInterrupt:
            self._observer.note(
                f"detached: the execution goes on in the service; mlops runs show {record.run_id} looks at it, "
                f"mlops runs stop {record.run_id} ends it"
            )
            raise
        except RunnerError as error:
            return replace(run.record, error=str(error), exit_code=int(error.exit_code))
        if self._options.artifacts_dir is not None and record.verdict is not None:
            self._hand_over(record)
        return record

    def _account_of(self, remote: RemoteRecord) -> Account:
        return self._account if self._account.region == remote.region else Account(region=remote.region)

    def _hand_over(self, record: RunRecord) -> None:
        folder = self._options.artifacts_dir
        evaluation = next(
            (step.outputs[EVALUATION_OUTPUT] for step in record.steps if EVALUATION_OUTPUT in step.outputs), ""
        )
        if folder is not None and evaluation:
            source = self._store.artifacts.path(evaluation)
            shutil.copytree(source, folder, copy_function=shutil.copyfile, dirs_exist_ok=True)
            self._observer.note(f"the evaluation is in {folder}")


def _refuse_selection(request: RunRequest) -> None:
    selection = request.selection
    if selection.start or selection.only or selection.force or selection.keep_going:
        raise UsageError(
            f"runner {NAME}: --from, --only, --force and --keep-going are not for a compiled definition, which the "
            "service executes as a whole; use --runner local"
        )


__all__ = ["NAME", "SageMakerRunner"]
