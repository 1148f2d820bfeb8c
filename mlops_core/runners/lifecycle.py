"""The life of a run, the same for every runner: begin, fetch, status and exit code, verdict, registration, report.

A runner supplies only how steps are carried out: it makes a `Run` and calls `Run.carry_out` with a function that
executes the steps and returns a `Result`. What a gate accepts is decided here and nowhere else; an engine that decides
by a condition of its own must come to the same `Decision`, or nothing is registered.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import platform
import secrets
import shutil
import sqlite3
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from mlops_core.errors import ExitCode, GateRejectedError, MlopsError, RunnerError
from mlops_core.evaluation.comparability import TEST_SET_NOTE
from mlops_core.evaluation.metrics import read_evaluation
from mlops_core.pipeline import FETCH
from mlops_core.runners.saved_config import write_saved_config
from mlops_core.settings import read_settings
from mlops_core.use_cases.distributions import version_of
from mlops_core.workspace.database import workspace_error
from mlops_core.workspace.model_versions import ModelVersion
from mlops_core.workspace.records import RunRecord, RunStatus, StepRecord, StepStatus
from mlops_core.workspace.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from mlops_core.conditions import Verdict
    from mlops_core.datasets.catalogue import Progress
    from mlops_core.evaluation.metrics import MetricReport
    from mlops_core.pipeline import ParameterValue, Pipeline
    from mlops_core.runners.observers import RunObserver
    from mlops_core.runners.request import RunRequest
    from mlops_core.use_cases.discovery import InstalledUseCase
    from mlops_core.use_cases.manager import UseCase
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
class Decision:
    """What an engine's own condition decided.

    Attributes:
        is_accepted: the condition was met.
        message: what the engine's failure says; empty where it says nothing.
        advice: what to do when the decision differs from the gate's.
    """

    is_accepted: bool
    message: str = ""
    advice: str = "nothing was registered"


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
        self.steps = {step.name: StepRecord(name=step.name) for step in request.pipeline.ordered()}
        record = new_record(request, runner=runner)
        if request.resumed:
            record = replace(record, run_id=request.resumed.run_id, created=request.resumed.created)
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
            self.finish(RunStatus.REJECTED, exit_code=error.exit_code, error=str(error))
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
            self._observer.step_ended(StepRecord(name=FETCH, status=StepStatus.FAILED, error=str(error)))
            raise
        self.record = replace(self.record, dataset=dataset.record)
        self.save()
        step = StepRecord(
            name=FETCH,
            status=StepStatus.REUSED if dataset.was_there else StepStatus.DONE,
            duration_s=time.monotonic() - began,
            outputs={"dataset": dataset.record.digest},
        )
        self._observer.step_ended(step)
        return dataset

    # --- Verdict and registration -------------------------------------------------------------------------

    def _judge(self, result: Result) -> None:
        shutil.copyfile(result.evaluation / "evaluation.json", self.folder / "evaluation.json")
        report, verdict = evaluate_gate(self._request.pipeline, result.evaluation, self._request.parameters)
        self.record = replace(self.record, verdict=verdict)
        if self._request.artifacts_dir is not None:
            copy_evaluation(result.evaluation, self._request.artifacts_dir, observer=self._observer)
        if result.decision is not None:
            check_agreement(verdict, result.decision)
        if not verdict.accepted:
            raise GateRejectedError(verdict.message)
        if result.check_registration is not None:
            result.check_registration()
        self.record = register_model(
            self._store,
            self.record,
            pipeline=self._request.pipeline,
            artifact=result.model,
            report=report,
            code=keep_code(self._store, self._request.use_case.installed),
        )

    # --- The record ---------------------------------------------------------------------------------------

    def finish(self, status: RunStatus, *, exit_code: ExitCode, error: str) -> None:
        """Set how the run ended and save its record."""
        duration_s = time.monotonic() - self._began
        if self._request.resumed:
            duration_s += self._request.resumed.duration_s
        self.record = replace(self.record, status=status, exit_code=int(exit_code), error=error, duration_s=duration_s)
        # Where nothing can be written any more, the record in memory still says what happened.
        with contextlib.suppress(OSError, sqlite3.Error):
            self.save()

    def save(self) -> None:
        """Save the record with the current state of all steps."""
        self.record = replace(self.record, steps=tuple(self.steps.values()))
        self._store.runs.save(self.record)


def new_run_id() -> str:
    """Return a unique id that starts with the time of creation."""
    return f"{dt.datetime.now(dt.UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def utc_now() -> str:
    """Return the time as ISO 8601 in UTC, to the millisecond."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")


def new_record(request: RunRequest, *, runner: str) -> RunRecord:
    """Return the record of a run that begins now."""
    return RunRecord(
        run_id=new_run_id(),
        use_case=request.use_case.name,
        plugin=f"{request.use_case.installed.distribution} {request.use_case.installed.version}",
        runner=runner,
        status=RunStatus.RUNNING,
        created=utc_now(),
        seed=request.seed,
        parameters=dict(request.parameters),
        config=request.config.to_yaml(),
        pipeline=request.pipeline.to_json(),
        steps=tuple(StepRecord(name=step.name) for step in request.pipeline.ordered()),
        environment=_environment(request.pipeline),
    )


def evaluate_gate(
    pipeline: Pipeline, folder: Path, parameters: Mapping[str, ParameterValue]
) -> tuple[MetricReport, Verdict]:
    """Return the metrics of an evaluation and the gate's verdict on them.

    Args:
        pipeline: with metrics and gate.
        folder: holds ``evaluation.json``.
        parameters: of the run; the gate uses the numbers.

    Raises:
        StepError: there is no evaluation.
    """
    report = read_evaluation(folder, pipeline.metrics)
    numbers = {name: value for name, value in parameters.items() if isinstance(value, int | float)}
    return report, pipeline.gate.evaluate(report, metrics=pipeline.metrics, parameters=numbers)


def check_agreement(verdict: Verdict, decision: Decision) -> None:
    """Refuse an engine's decision that differs from the gate's verdict.

    Raises:
        RunnerError: the two differ, or the engine rejected the model with another message.
    """
    if verdict.accepted is not decision.is_accepted:
        raise RunnerError(
            f"the engine's condition came out {decision.is_accepted}, the gate itself {verdict.accepted}: they must "
            f"agree; {decision.advice}"
        )
    if not verdict.accepted and decision.message and not verdict.message.encode().startswith(decision.message.encode()):
        raise RunnerError(f"the engine rejected the model with {decision.message!r}, the gate with {verdict.message!r}")


def copy_evaluation(source: Path, target: Path, *, observer: RunObserver) -> None:
    """Copy an evaluation's files to a folder of the user's.

    Raises:
        RunnerError: they cannot be written there.
    """
    try:
        shutil.copytree(source, target, copy_function=shutil.copyfile, dirs_exist_ok=True)
    except (OSError, shutil.Error) as error:
        raise RunnerError(f"the evaluation cannot be copied to {target}: {error}") from error
    observer.note(f"the evaluation was copied to {target}")


def keep_code(store: Store, installed: InstalledUseCase) -> str:
    """Keep the code of a plugin as an artifact and return its digest; empty if it cannot be kept."""
    from mlops_core.use_cases.model_code import find_plugin_code

    work = store.work_folder("code")
    try:
        code = find_plugin_code(installed)
        if code is None:
            return ""
        digest = code.digest()
        if store.artifacts.has(digest) and store.artifacts.damage(digest) is None:
            return digest
        folder = work / "content"
        folder.mkdir()
        code.copy_to(folder)
        return store.artifacts.add(folder)
    except OSError:
        return ""  # the model is as good without it
    finally:
        shutil.rmtree(work, ignore_errors=True)


def register_model(
    store: Store, record: RunRecord, *, pipeline: Pipeline, artifact: str, report: MetricReport, code: str = ""
) -> RunRecord:
    """Register the model of an accepted run and return the run's record with its version; ``best`` may move.

    Args:
        store: the workspace.
        record: of the run.
        pipeline: that the run carried out.
        artifact: digest of the model.
        report: the metrics by which it was judged.
        code: digest of the artifact with the plugin's code; empty for none.

    Raises:
        AssertionError: the gate has not accepted the model; nothing else may ever be registered.
    """
    assert record.verdict is not None and record.verdict.accepted  # noqa: S101, PT018  see above
    dataset, metric = record.dataset, pipeline.metrics[0]
    registry = Registry(store)
    registered = registry.register(
        ModelVersion(
            use_case=record.use_case,
            version=0,
            run_id=record.run_id,
            created=utc_now(),
            artifact=artifact,
            metrics={name: value.value for name, value in report.values.items()},
            compared_by=metric.name,
            direction=metric.direction,
            test_set=str(report.notes.get(TEST_SET_NOTE, "")),
            dataset=dataset.name if dataset else "",
            dataset_digest=dataset.digest if dataset else "",
            is_generated_data=bool(dataset and dataset.is_generated),
            config=record.config,
            plugin=record.plugin,
            code=code,
        )
    )
    note = registry.promote_best(registered, allows_pending=read_settings().best_allows_pending)
    return replace(record, model_version=registered.version, alias_note=note)


def write_run_report(
    store: Store, run_id: str, *, note: Callable[[str], None], use_case: UseCase | None = None
) -> None:
    """Write the run's page; a page that cannot be written is noted and changes nothing about the run.

    Args:
        store: the workspace that holds the run.
        run_id: of the run.
        note: receives a message when the page cannot be written.
        use_case: of the run, for previews; None to load it.
    """
    from mlops_core.report import write_report

    try:
        write_report(store, run_id, use_case=use_case, note=note)
    except (MlopsError, OSError) as error:
        note(f"the report of run {run_id} was not written: {error}")


def _environment(pipeline: Pipeline) -> dict[str, str]:
    packages = ("mlops-usecases", *sorted({package for step in pipeline.steps for package in step.packages}))
    versions = {package: version_of(package) or "not installed" for package in packages}
    return {"python": platform.python_version(), "platform": _platform(), **versions}


def _platform() -> str:
    """Return system, release and machine; `platform.platform` starts a process for the name of the processor."""
    name = platform.uname()
    return f"{name.system}-{name.release}-{name.machine}"
