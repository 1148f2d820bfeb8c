"""The life of a run, the same for every runner: begin, fetch, status and exit code, verdict, registration."""

from __future__ import annotations

import contextlib
import functools
import sqlite3
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from mlops_core.errors import ExitCode, GateRejectedError, MlopsError
from mlops_core.pipeline import FETCH
from mlops_core.runners.evidence import (
    EvidenceSources,
    find_champion,
    keep_champion,
    predictions_folder,
    split_digests,
    stored_evidence,
)
from mlops_core.runners.lifecycle.judgement import (
    Decision,
    check_agreement,
    confirm_verdict,
    evaluate_gate,
    gate_status,
    require_accepted,
)
from mlops_core.runners.lifecycle.new_records import new_record
from mlops_core.runners.lifecycle.registration import keep_code, register_model
from mlops_core.runners.lifecycle.results import copy_evaluation, keep_evaluation
from mlops_core.runners.saved_config import write_saved_config
from mlops_core.workspace.database import workspace_error
from mlops_core.workspace.records import RunRecord, RunStatus, StepRecord, StepStatus
from mlops_core.workspace.searches.notes import write_trials

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mlops_core.datasets.catalogue import Progress
    from mlops_core.gates.evidence import GateEvidence
    from mlops_core.runners.observers import RunObserver
    from mlops_core.runners.request import RunRequest
    from mlops_core.workspace.model_versions import ModelVersion
    from mlops_core.workspace.records import DatasetRecord
    from mlops_core.workspace.store import Store

FetchedT = TypeVar("FetchedT", bound="FetchedDataset")


class FetchedDataset(Protocol):
    """A data set that is complete where the engine reads it."""

    @property
    def record(self) -> DatasetRecord:
        """Its entry in the run's record."""

    @property
    def was_there(self) -> bool:
        """Whether nothing had to be fetched or sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What the steps left behind.

    Attributes:
        evaluation: folder with ``evaluation.json``.
        model: digest of the model's artifact in the workspace.
        decision: of the engine's own condition; None for an engine without one.
        check_registration: raises when the engine should have registered the model and did not; None for an engine
            that leaves registration to the workspace.
    """

    evaluation: Path
    model: str
    decision: Decision | None = None
    check_registration: Callable[[], None] | None = None


class Run:
    """One run. Its state belongs to the thread that calls `carry_out`."""

    def __init__(self, store: Store, request: RunRequest, *, observer: RunObserver, runner: str) -> None:
        """Make the record of a run that begins now, or continues the one that `request` resumes."""
        self._store = store
        self._request = request
        self._observer = observer
        self._began = time.monotonic()
        self._redactor = request.config.redactor()
        self.steps = {step.name: StepRecord(name=step.name) for step in request.pipeline.ordered()}
        record = new_record(request, runner=runner)
        if request.resumed:
            record = replace(record, run_id=request.resumed.run_id, created=request.resumed.created)
        elif request.run_id:
            record = replace(record, run_id=request.run_id)
        self.record = record

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.record.run_id

    @property
    def folder(self) -> Path:
        """The run's folder in the workspace."""
        return self._store.runs.folder(self.run_id)

    def carry_out(self, execute: Callable[[], Result | None]) -> RunRecord:
        """Begin the run, execute its steps, judge the model, register it, and return the finished record.

        Args:
            execute: carries out the steps; returns None when the pipeline was not carried out up to its evaluation
                because only some steps were selected.

        Raises:
            KeyboardInterrupt: after the record was saved as stopped.
            UsageError: another process carries out this run.
            StoreError: nothing can be written in the workspace.
        """
        try:
            with self._store.runs.lock(self.run_id):
                self.begin()
                with self.errors_recorded():
                    result = execute()
                    if result is not None:
                        self._judge(result)
                if self.record.status is RunStatus.RUNNING:
                    status = RunStatus.PARTIAL if result is None else RunStatus.ACCEPTED
                    self.finish(status, exit_code=ExitCode.OK, error="")
                return self.record
        except (OSError, sqlite3.Error) as error:
            raise workspace_error(self._store.home, error) from error

    def begin(self) -> None:
        """Write the run's record and configuration, and announce the run."""
        self.save()
        write_saved_config(self.folder, self._request.config, run_id=self.run_id)
        self._observer.run_started(self.record)

    @contextlib.contextmanager
    def errors_recorded(self) -> Iterator[None]:
        """Turn an error into the run's final status and exit code.

        Raises:
            KeyboardInterrupt: after the record was saved as stopped.
            Exception: anything that is not an `MlopsError`, after it was recorded as a defect.
        """
        try:
            yield
        except KeyboardInterrupt:
            self.finish(RunStatus.STOPPED, exit_code=ExitCode.INTERRUPTED, error="interrupted")
            raise
        except GateRejectedError as error:
            self.finish(gate_status(error), exit_code=error.exit_code, error=str(error))
        except MlopsError as error:
            self.finish(RunStatus.FAILED, exit_code=error.exit_code, error=str(error))
        except (OSError, sqlite3.Error) as error:
            failure = workspace_error(self._store.home, error)
            self.finish(RunStatus.FAILED, exit_code=failure.exit_code, error=str(failure))
        except BaseException as error:
            self.finish(RunStatus.FAILED, exit_code=ExitCode.DEFECT, error=f"{type(error).__name__}: {error}")
            raise

    # --- The data set -------------------------------------------------------------------------------------

    def fetch(self, fetch: Callable[[Progress], FetchedT]) -> FetchedT:
        """Make the data set available with `fetch`, as the step ``fetch`` of the run.

        Args:
            fetch: receives a progress callback; returns the data set.

        Raises:
            MlopsError: whatever `fetch` raises, after the step was recorded as failed.
        """
        self._observer.step_started(FETCH)
        began = time.monotonic()
        try:
            dataset = fetch(lambda label, done, total: self._observer.step_progress(FETCH, label, done, total))
        except MlopsError as error:
            self._redactor.error(error)
            self._observer.step_ended(StepRecord(name=FETCH, status=StepStatus.FAILED, error=str(error)))
            raise
        self.record = replace(self.record, dataset=self._licensed(dataset.record))
        self.save()
        step = StepRecord(
            name=FETCH,
            status=StepStatus.REUSED if dataset.was_there else StepStatus.DONE,
            duration_s=time.monotonic() - began,
            outputs={"dataset": dataset.record.digest},
        )
        self._observer.step_ended(step)
        return dataset

    def _licensed(self, record: DatasetRecord) -> DatasetRecord:
        """Return the entry of the data with the licence that the configuration declares for the user's own data."""
        licences, choice = self._request.pipeline.licences, self._request.dataset
        is_own = choice is not None and choice.path is not None and not (record.asset and record.licence)
        return replace(record, licence=licences.dataset) if licences and is_own else record

    # --- Verdict and registration -------------------------------------------------------------------------

    def _judge(self, result: Result) -> None:
        keep_evaluation(result.evaluation, self.folder)
        evidence = self._evidence()
        report, verdict = evaluate_gate(
            self._request.pipeline, result.evaluation, self._request.parameters, evidence=evidence
        )
        champion = evidence.champion.version if evidence and evidence.champion else None
        splits = split_digests(self._store, self.steps.values(), report)
        self.record = replace(self.record, verdict=verdict, champion=champion, splits=splits)
        if self._request.artifacts_dir is not None:
            copy_evaluation(result.evaluation, self._request.artifacts_dir, observer=self._observer)
        if result.decision is not None:
            check_agreement(verdict, result.decision)
        require_accepted(verdict)
        if self._request.use_case.check_core():  # otherwise this process is one without the plugin
            confirm_verdict(self.record, self._request.pipeline, self.folder)
        if result.check_registration is not None:
            result.check_registration()
        self.save()  # the predictions, with which the best version is compared, are found by the record
        self.record = register_model(
            self._store,
            self.record,
            pipeline=self._request.pipeline,
            artifact=result.model,
            report=report,
            compute=self._request.use_case.compute_metrics,
            code=keep_code(self._store, self._request.use_case.installed),
            record_requests=self._record_requests,
        )

    def _record_requests(self, version: ModelVersion) -> ModelVersion:
        """Return a version with a few recorded requests, where the use case says what a server of it reads."""
        from mlops_core.deployments.recording import record_requests

        if self.record.dataset is None or not self._request.use_case.implements("mlops_get_content_types"):
            return version
        digest = record_requests(
            self._store,
            version.use_case,
            model=version.artifact,
            predictions=predictions_folder(self._store, version.run_id),
            dataset=self.record.dataset,
            note=self._observer.note,
        )
        return replace(version, requests=digest)

    @functools.cached_property
    def champion(self) -> int | None:
        """The version that was ``best`` when it was first asked for; None if there is none or the gate needs none."""
        return find_champion(self._store, self._request.pipeline, self._request.use_case.name)

    def keep_champion(self) -> str:
        """Keep the champion's predictions as an artifact, for an engine's container; empty if the gate needs none."""
        if not self._request.pipeline.gate.needs_champion:
            return ""
        return keep_champion(self._store, self._request.use_case.name, self.champion)

    def _evidence(self) -> GateEvidence | None:
        """Return the predictions and the champion; None for a gate that rests on the metrics alone."""
        request = self._request
        if not request.pipeline.gate.needs_predictions:
            return None
        return stored_evidence(
            pipeline=request.pipeline,
            compute=request.use_case.compute_metrics,
            steps=self.steps,
            champion=self.champion,
            sources=EvidenceSources(self._store, request.use_case.name),
        )

    # --- The record ---------------------------------------------------------------------------------------

    def finish(self, status: RunStatus, *, exit_code: ExitCode, error: str) -> None:
        """Set how the run ended and save its record."""
        duration_s = time.monotonic() - self._began
        if self._request.resumed:
            duration_s += self._request.resumed.duration_s
        if not self.record.splits:  # a run that did not reach its gate
            with contextlib.suppress(MlopsError, OSError):
                self.record = replace(self.record, splits=split_digests(self._store, self.steps.values(), None))
        self.record = replace(
            self.record,
            status=status,
            exit_code=int(exit_code),
            error=self._redactor.text(error),
            duration_s=duration_s,
        )
        # Where nothing can be written any more, the record in memory still says what happened.
        with contextlib.suppress(OSError, sqlite3.Error):
            self.save()
            write_trials(self.folder, self.record, self._store.artifacts.path)

    def save(self) -> None:
        """Save the record with the current state of all steps, without any secret."""
        self.record = replace(self.record, steps=tuple(self.steps.values()))
        if self._redactor:
            self.record = RunRecord.from_json(self._redactor.data(self.record.to_json()))
        self._store.runs.save(self.record)
