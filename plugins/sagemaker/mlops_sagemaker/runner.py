"""The runner ``sagemaker``: uploads data, submits the compiled pipeline, starts it and follows it to its verdict.

All local checks are made before anything is sent. As soon as an execution exists, its ARN is saved in the record of
the run, so a later process can follow it with `mlops_core.runners.remote.following`.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_core import RunRecord, RunStatus, UsageError
from mlops_core.runners import (
    EVALUATION_OUTPUT,
    DefinitionError,
    RemoteRecord,
    Run,
    RunnerError,
    copy_evaluation,
    write_atomically,
)
from mlops_core.runners.remote.costs import check_cost, estimate_cost
from mlops_core.runners.remote.datasets import provide_dataset, stored_dataset
from mlops_sagemaker.checking import check_definition
from mlops_sagemaker.compiler.definition import Definition, compile_pipeline
from mlops_sagemaker.compiler.ingestion import DATASET_URI, DATASET_VERSION
from mlops_sagemaker.compiler.job_graph import champion_key
from mlops_sagemaker.machines import load_price_table, step_machines
from mlops_sagemaker.options import SageMakerOptions
from mlops_sagemaker.service.account import Account, faults
from mlops_sagemaker.service.pipelines import PipelineSubmission
from mlops_sagemaker.service.store import S3Bucket
from mlops_sagemaker.target import Target, find_target, pipeline_tags
from mlops_sagemaker.tracking import open_run

if TYPE_CHECKING:
    from mlops_core.runners import Progress, RunObserver, RunRequest, Store
    from mlops_core.runners.remote.costs import Estimate, Prices
    from mlops_core.runners.remote.datasets import Provided
    from mlops_sagemaker.settings import CompileSettings

NAME = "sagemaker"
_FAULTS_SHOWN = 3


class SageMakerRunner:
    """Runs pipelines in an account."""

    def __init__(
        self,
        store: Store,
        *,
        observer: RunObserver,
        jobs: int | None = None,
        options: SageMakerOptions | None = None,
        account: Account | None = None,
    ) -> None:
        """Keep the records of runs in the workspace `store`.

        Args:
            store: the workspace.
            observer: receives the run's events.
            jobs: number of steps to run in parallel; None for the setting ``account.max_parallel_steps``.
            options: account, limits, and whether to wait for the end.
            account: account to use; None for the account of the options.
        """
        self._store = store
        self._observer = observer
        self._jobs = jobs
        self._options = options or SageMakerOptions()
        self._account = account or Account(region=self._options.region)

    def run(self, request: RunRequest) -> RunRecord:
        """Run the pipeline and return its record, which is final unless the run is detached.

        Raises:
            UsageError: a name is missing or wrong, only some steps were selected, or the run may cost too much.
            DefinitionError: the service would refuse the compiled definition.
            RunnerError: the run could not be started.
            KeyboardInterrupt: before the execution was started, or while it was followed; it then continues.
        """
        _refuse_selection(request)
        if request.resumed and request.resumed.remote:
            return self._resume(request, request.resumed)
        target = find_target(request.use_case.name, self._options)
        self._compile(request, target)
        self._check_cost(request, target)
        self._account.require_access(pipeline=target.pipeline)
        run = Run(self._store, request, observer=self._observer, runner=NAME)
        with self._store.runs.lock(run.run_id):
            run.begin()
            with run.errors_recorded():
                self._start(run, request, target)
            return self._follow(request, run.record)

    def _resume(self, request: RunRequest, record: RunRecord) -> RunRecord:
        """Follow an execution again; if it failed or was stopped, retry it first."""
        with self._store.runs.lock(record.run_id):
            self._observer.run_started(record)
            run = open_run(self._store, record, observer=self._observer)
            if record.status is RunStatus.RUNNING:
                run.refresh()
            if run.record.status in (RunStatus.FAILED, RunStatus.STOPPED):
                run.retry()
            return run.record if run.record.status is not RunStatus.RUNNING else self._follow(request, run.record)

    # --- Before the execution exists ----------------------------------------------------------------------

    def _start(self, run: Run, request: RunRequest, target: Target) -> None:
        def provide(progress: Progress) -> Provided:
            stored = stored_dataset(
                request.dataset_choice(), open_bucket=lambda name: S3Bucket(name, account=self._account)
            )
            if stored is not None:
                return stored
            uri = f"s3://{target.bucket}/train/datasets/{request.pipeline.dataset}/"
            bucket = S3Bucket(target.bucket, account=self._account)
            return provide_dataset(request, uri, store=self._store, bucket=bucket, progress=progress)

        dataset = run.fetch(provide)
        compiled = self._compile(
            request, target, dataset_digest=dataset.record.digest, champion=self._send_champion(run, request, target)
        )
        write_atomically(run.folder / "definition.json", compiled.to_text())
        submission = PipelineSubmission(
            name=target.pipeline, compiled=compiled, bucket=target.bucket, account=self._account
        )
        submission.upsert(target.role, tags=pipeline_tags(target.settings))
        uploaded: dict[str, str] = {}
        if target.settings.ingest.enabled:  # what this run has uploaded, whatever events start the pipeline with
            uploaded = {DATASET_URI: str(dataset.place), DATASET_VERSION: dataset.record.digest}
        execution = submission.start(uploaded, token=hashlib.sha256(f"{run.run_id} start".encode()).hexdigest())
        self._observer.note(f"execution {execution.arn}")
        remote = RemoteRecord(
            execution=execution.arn, pipeline=target.pipeline, region=self._account.region, bucket=target.bucket
        )
        run.record = replace(run.record, remote=remote)
        run.save()

    def _send_champion(self, run: Run, request: RunRequest, target: Target) -> str:
        """Upload the best version's predictions and return their digest; empty if the gate needs none."""
        digest = run.keep_champion()
        if digest:
            prefix = target.settings.account.prefix or request.pipeline.name
            for path in sorted(self._store.artifacts.path(digest).iterdir()):
                key = "/".join((*champion_key(prefix), digest, path.name))
                with faults():
                    self._account.client("s3").upload_file(str(path), target.bucket, key)
        return digest

    def _compile(
        self, request: RunRequest, target: Target, *, dataset_digest: str = "", champion: str = ""
    ) -> Definition:
        if any(step.batch for step in request.pipeline.steps) and not target.settings.inference.image:
            raise UsageError(
                "the batch predictions need the image that serves models: build it with mlops package --serve, and set "
                "inference.image in the settings file, or --set-sagemaker inference.image=URI"
            )
        compiled = compile_pipeline(request, target.settings, dataset_digest=dataset_digest, champion=champion)
        faults = check_definition(compiled.data)
        if faults:
            shown = "; ".join(map(str, faults[:_FAULTS_SHOWN]))
            count = f"{len(faults)} fault{'s' if len(faults) > 1 else ''}"
            raise DefinitionError(f"the compiled definition has {count}: {shown}")
        return replace(compiled, max_parallel_steps=self._jobs) if self._jobs else compiled

    def _check_cost(self, request: RunRequest, target: Target) -> None:
        prices = load_price_table(self._options.prices)
        estimate = estimate_run(request, target.settings, store=self._store, prices=prices)
        self._observer.note(f"estimate: {estimate}")
        check_cost(estimate, prices, max_cost=self._options.max_cost)

    # --- While it runs ------------------------------------------------------------------------------------

    def _follow(self, request: RunRequest, record: RunRecord) -> RunRecord:
        if record.remote is None or self._options.is_detached:
            return record
        account = self._account if self._account.region == record.remote.region else None
        run = open_run(self._store, record, observer=self._observer, account=account)
        try:
            record = run.follow(timeout_s=self._options.timeout_s)
        except KeyboardInterrupt:
            self._observer.note(
                f"detached: the execution continues at the service; use mlops runs show {record.run_id} to see it, "
                f"mlops runs stop {record.run_id} to stop it"
            )
            raise
        except RunnerError as error:
            return replace(run.record, error=str(error), exit_code=int(error.exit_code))
        if request.artifacts_dir is not None and record.verdict is not None:
            self._copy_evaluation(request, record)
        return record

    def _copy_evaluation(self, request: RunRequest, record: RunRecord) -> None:
        evaluation = next(
            (step.outputs[EVALUATION_OUTPUT] for step in record.steps if EVALUATION_OUTPUT in step.outputs), ""
        )
        if request.artifacts_dir is not None and evaluation:
            copy_evaluation(self._store.artifacts.path(evaluation), request.artifacts_dir, observer=self._observer)


def estimate_run(request: RunRequest, settings: CompileSettings, *, store: Store, prices: Prices) -> Estimate:
    """Return the estimated duration and cost of a run in the account."""
    machines = step_machines(request.pipeline, settings)
    return estimate_cost(request, machines, runner=NAME, store=store, prices=prices)


def _refuse_selection(request: RunRequest) -> None:
    selection = request.selection
    if selection.start or selection.only or selection.force or selection.keep_going:
        raise UsageError(
            f"runner {NAME}: --from, --only, --force and --keep-going are not supported, because the service executes "
            "a compiled definition as a whole; use --runner local"
        )
