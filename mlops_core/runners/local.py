"""The runner of this machine: each step in its own process, independent steps in parallel, finished steps reused."""

from __future__ import annotations

import datetime as dt
import os
import platform
import secrets
import shutil
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mlops_core.errors import DatasetError, ExitCode, GateRejectedError, MlopsError, PluginError, StepError
from mlops_core.metrics import read_evaluation
from mlops_core.pipeline import DATASET, EVALUATION_OUTPUT, FETCH, StepKind
from mlops_core.records import RunRecord, RunStatus, StepRecord, StepStatus
from mlops_core.registry import ApprovalStatus, ModelVersion, Registry
from mlops_core.runners.process import ProcessOutcome, run_step_process
from mlops_core.runners.sources import fetch_source
from mlops_core.step_keys import step_key
from mlops_core.steps import Shard, StepRequest
from mlops_core.store import CachedStep

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlops_core.conditions import Verdict
    from mlops_core.metrics import MetricReport
    from mlops_core.pipeline import Step
    from mlops_core.runners import RunObserver, RunRequest
    from mlops_core.step_keys import StepKey
    from mlops_core.store import Store

_BACKOFF_S = (1.0, 5.0, 15.0, 30.0)
_METRICS_HOOK = "mlops_compute_metrics"


def new_run_id() -> str:
    """Return an id that sorts by time of creation and is unique."""
    return f"{dt.datetime.now(dt.UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def utc_now() -> str:
    """Return the time as ISO 8601 in UTC, to the millisecond, for runs of one second must have an order."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")


class LocalRunner:
    """Carries out a pipeline on this machine."""

    def __init__(self, store: Store, *, observer: RunObserver, jobs: int | None = None) -> None:
        """Run in the workspace `store` with at most `jobs` steps at once (default: one a core)."""
        self._store = store
        self._observer = observer
        self._jobs = jobs or os.cpu_count() or 1

    def run(self, request: RunRequest) -> RunRecord:
        """Carry out the pipeline and return the finished record.

        Raises:
            KeyboardInterrupt: after every step's processes were ended and the record was saved as stopped.
            MlopsError: the data set could not be had; the record is saved as failed.
        """
        return _Run(self._store, request, observer=self._observer, jobs=self._jobs).carry_out()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """What a worker thread brings back."""

    outcome: ProcessOutcome
    outputs: Mapping[str, str] = field(default_factory=dict)
    duration_s: float = 0.0
    attempts: int = 1


class _Run:
    """The state of one run; all of it belongs to the thread that called `carry_out`."""

    def __init__(self, store: Store, request: RunRequest, *, observer: RunObserver, jobs: int) -> None:
        self._store = store
        self._request = request
        self._observer = observer
        self._jobs = jobs
        self._began = time.monotonic()
        self._cancel = threading.Event()
        self._digests: dict[str, str] = {}
        self._dataset_path: Path | None = None
        self._keys: dict[str, StepKey] = {}
        self._steps = {step.name: StepRecord(name=step.name) for step in request.pipeline.ordered()}
        self._record = RunRecord(
            run_id=new_run_id(),
            use_case=request.use_case.name,
            plugin=f"{request.use_case.installed.distribution} {request.use_case.installed.version}",
            runner="local",
            status=RunStatus.RUNNING,
            created=utc_now(),
            seed=request.seed,
            parameters=dict(request.parameters),
            config=request.config.to_yaml(),
            pipeline=request.pipeline.to_json(),
            environment=_environment(request),
        )

    def carry_out(self) -> RunRecord:
        self._save()
        self._observer.run_started(self._record)
        try:
            self._fetch()
            self._run_steps()
            self._judge()
        except KeyboardInterrupt:
            self._finish(RunStatus.STOPPED, exit_code=ExitCode.INTERRUPTED, error="interrupted")
            raise
        except GateRejectedError as error:
            self._finish(RunStatus.REJECTED, exit_code=error.exit_code, error=str(error))
        except MlopsError as error:
            self._finish(RunStatus.FAILED, exit_code=error.exit_code, error=str(error))
        except BaseException as error:
            self._finish(RunStatus.FAILED, exit_code=ExitCode.DEFECT, error=f"{type(error).__name__}: {error}")
            raise
        else:
            self._finish(RunStatus.ACCEPTED, exit_code=ExitCode.OK, error="")
        return self._record

    # --- Data ---------------------------------------------------------------------------------------------

    def _fetch(self) -> None:
        self._observer.step_started(FETCH)
        began = time.monotonic()
        try:
            source = fetch_source(
                self._request.use_case,
                self._request.config.model,
                store=self._store,
                seed=self._request.seed,
                is_offline=self._request.is_offline,
                progress=lambda label, done, total: self._observer.step_progress(FETCH, label, done, total),
            )
        except MlopsError as error:
            self._observer.step_ended(StepRecord(name=FETCH, status=StepStatus.FAILED, error=str(error)))
            raise
        self._dataset_path = source.path
        self._digests[DATASET] = source.record.digest
        self._record = replace(self._record, dataset=source.record)
        self._save()
        status = StepStatus.REUSED if source.was_there else StepStatus.DONE
        self._observer.step_ended(
            StepRecord(
                name=FETCH,
                status=status,
                duration_s=time.monotonic() - began,
                outputs={"dataset": source.record.digest},
            )
        )

    # --- Steps --------------------------------------------------------------------------------------------

    def _run_steps(self) -> None:
        waiting = list(self._request.pipeline.ordered())
        running: dict[Future[_Attempt], Step] = {}
        failure: MlopsError | None = None
        with ThreadPoolExecutor(max_workers=self._jobs, thread_name_prefix="step") as pool:
            try:
                while waiting or running:
                    if failure is None:
                        waiting = self._start_ready(waiting, running, pool)
                    elif not running:
                        break
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        failure = self._step_ended(running.pop(future), future.result()) or failure
            except BaseException:
                self._stop(running)
                raise
        for step in waiting:
            self._end(replace(self._steps[step.name], status=StepStatus.SKIPPED))
        if failure:
            raise failure

    def _start_ready(
        self, waiting: list[Step], running: dict[Future[_Attempt], Step], pool: ThreadPoolExecutor
    ) -> list[Step]:
        """Reuse or start each step whose inputs are there and for which a process is free; return the others."""
        left = []
        for step in waiting:
            if not all(reference in self._digests for reference in step.inputs.values()):
                left.append(step)
            elif self._reuse(step):
                continue
            elif len(running) < self._jobs:
                self._observer.step_started(step.name)
                self._steps[step.name] = replace(self._steps[step.name], status=StepStatus.RUNNING, started=utc_now())
                running[pool.submit(self._attempt, step)] = step
            else:
                left.append(step)
        # A reused step may have made others ready that stand before it in this list.
        return left if running or not left else self._start_ready(left, running, pool)

    def _reuse(self, step: Step) -> bool:
        key = self._key(step)
        self._steps[step.name] = replace(
            self._steps[step.name],
            key=key.digest,
            key_components=key.components,
            inputs={name: self._digests[reference] for name, reference in step.inputs.items()},
        )
        cached = None if step.name in self._request.force else self._store.cached_step(key.digest)
        if cached is None:
            return False
        self._digests |= {f"{step.name}.{output}": digest for output, digest in cached.outputs.items()}
        self._end(
            replace(
                self._steps[step.name],
                status=StepStatus.REUSED,
                outputs=cached.outputs,
                duration_s=cached.duration_s,
                reused_from=cached.run_id,
            )
        )
        return True

    def _key(self, step: Step) -> StepKey:
        if step.name not in self._keys:
            self._keys[step.name] = key_of(step, self._request, digests=self._digests)
        return self._keys[step.name]

    def _attempt(self, step: Step) -> _Attempt:
        """Execute a step, with its retries. Runs in a worker thread; touches no state of the run."""
        began = time.monotonic()
        for attempt in range(1, step.resources.retries + 2):
            result = self._attempt_once(step)
            if result.outcome.exit_code in (ExitCode.OK, ExitCode.INTERRUPTED):
                break
            is_last = attempt > step.resources.retries
            if is_last or self._cancel.wait(_BACKOFF_S[min(attempt, len(_BACKOFF_S)) - 1]):
                break
        return replace(result, duration_s=time.monotonic() - began, attempts=attempt)

    def _attempt_once(self, step: Step) -> _Attempt:
        folder = self._store.work_folder(f"{self._record.run_id}-{step.name}")
        try:
            outcomes = self._run_shards(step, folder)
            failed = [outcome for outcome in outcomes if outcome.exit_code is not ExitCode.OK]
            if failed:
                return _Attempt(outcome=failed[0])
            outputs = {output: self._store.add_artifact(_merged(folder, output, step)) for output in step.all_outputs}
            return _Attempt(outcome=outcomes[0], outputs=outputs)
        except (MlopsError, OSError) as error:
            return _Attempt(outcome=ProcessOutcome(exit_code=ExitCode.STEP, error=str(error)))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _run_shards(self, step: Step, folder: Path) -> list[ProcessOutcome]:
        with ThreadPoolExecutor(max_workers=step.shards, thread_name_prefix=step.name) as pool:
            return list(pool.map(lambda index: self._run_shard(step, folder / str(index), index), range(step.shards)))

    def _run_shard(self, step: Step, folder: Path, index: int) -> ProcessOutcome:
        outputs = {output: folder / "outputs" / output for output in step.all_outputs}
        scratch = folder / "scratch"
        for path in (scratch, *outputs.values()):
            path.mkdir(parents=True)
        request = StepRequest(
            use_case=self._request.use_case.name,
            step=step,
            config=_sections(step, self._request),
            parameters={name: self._request.parameters[name] for name in step.parameters},
            seed=self._request.seed,
            shard=Shard(index=index, count=step.shards),
            inputs={name: self._input_path(reference) for name, reference in step.inputs.items()},
            outputs=outputs,
            scratch=scratch,
            progress_file=folder / "progress.jsonl",
            metrics=tuple(metric.to_json() for metric in self._request.pipeline.metrics)
            if step.kind is StepKind.EVALUATION
            else (),
        )
        suffix = f".{index}" if step.shards > 1 else ""
        return run_step_process(
            request,
            folder=folder,
            log=self._store.run_folder(self._record.run_id) / "logs" / f"{step.name}{suffix}.log",
            cancel=self._cancel,
            on_progress=lambda label, done, total: self._observer.step_progress(step.name, label, done, total),
        )

    def _input_path(self, reference: str) -> Path:
        if reference == DATASET:
            assert self._dataset_path is not None  # noqa: S101  for mypy: _fetch has set it
            return self._dataset_path
        return self._store.artifact_path(self._digests[reference])

    def _step_ended(self, step: Step, attempt: _Attempt) -> MlopsError | None:
        record = replace(
            self._steps[step.name],
            outputs=attempt.outputs,
            duration_s=attempt.duration_s,
            attempts=attempt.attempts,
            error=attempt.outcome.error,
        )
        if attempt.outcome.exit_code is not ExitCode.OK:
            self._end(replace(record, status=StepStatus.FAILED))
            return _step_failure(step.name, attempt.outcome, self._log_path(step))
        self._digests |= {f"{step.name}.{output}": digest for output, digest in attempt.outputs.items()}
        key = self._key(step)
        self._store.remember_step(
            self._request.use_case.name,
            step.name,
            CachedStep(
                key=key.digest,
                outputs=attempt.outputs,
                components=key.components,
                run_id=self._record.run_id,
                duration_s=attempt.duration_s,
            ),
        )
        self._end(replace(record, status=StepStatus.DONE))
        return None

    def _log_path(self, step: Step) -> Path:
        return self._store.run_folder(self._record.run_id) / "logs" / f"{step.name}.log"

    def _end(self, record: StepRecord) -> None:
        self._steps[record.name] = record
        self._observer.step_ended(record)

    def _stop(self, running: Mapping[Future[_Attempt], Step]) -> None:
        """End all processes; the threads that wait for them come back at once."""
        self._cancel.set()
        wait(running)
        for step in running.values():
            self._end(replace(self._steps[step.name], status=StepStatus.STOPPED))

    # --- The gate -----------------------------------------------------------------------------------------

    def _judge(self) -> None:
        pipeline = self._request.pipeline
        folder = self._store.artifact_path(self._digests[f"{pipeline.evaluation_step.name}.{EVALUATION_OUTPUT}"])
        shutil.copyfile(folder / "evaluation.json", self._store.run_folder(self._record.run_id) / "evaluation.json")
        report = read_evaluation(folder, pipeline.metrics)
        numbers = {name: value for name, value in self._request.parameters.items() if isinstance(value, int | float)}
        verdict = pipeline.gate.evaluate(report, metrics=pipeline.metrics, parameters=numbers)
        self._record = replace(self._record, verdict=verdict)
        if not verdict.accepted:
            raise GateRejectedError(verdict.message)
        self._register(report, verdict)

    def _register(self, report: MetricReport, verdict: Verdict) -> None:
        assert verdict.accepted  # noqa: S101  the only caller has checked; nothing else may ever register
        dataset = self._record.dataset
        version = Registry(self._store).register(
            ModelVersion(
                use_case=self._record.use_case,
                version=0,
                status=ApprovalStatus.PENDING,
                run_id=self._record.run_id,
                created=utc_now(),
                artifact=self._digests[self._request.pipeline.model],
                metrics={name: value.value for name, value in report.values.items()},
                dataset=dataset.name if dataset else "",
                dataset_digest=dataset.digest if dataset else "",
                is_generated_data=bool(dataset and dataset.is_generated),
                config=self._record.config,
                plugin=self._record.plugin,
            )
        )
        self._record = replace(self._record, model_version=version.version)

    def _finish(self, status: RunStatus, *, exit_code: ExitCode, error: str) -> None:
        self._record = replace(
            self._record,
            status=status,
            exit_code=int(exit_code),
            error=error,
            duration_s=time.monotonic() - self._began,
        )
        self._save()

    def _save(self) -> None:
        self._record = replace(self._record, steps=tuple(self._steps.values()))
        self._store.save_run(self._record)


def key_of(step: Step, request: RunRequest, *, digests: Mapping[str, str]) -> StepKey:
    """Return the key of `step` in a run, given the digest of each reference that it reads."""
    extra = (request.use_case.implementation_module(_METRICS_HOOK),) if step.kind is StepKind.EVALUATION else ()
    return step_key(
        step,
        config={name: request.config.section_json(name) for name in step.config},
        parameters={name: request.parameters[name] for name in step.parameters},
        inputs={name: digests[reference] for name, reference in step.inputs.items()},
        seed=request.seed,
        extra_modules=extra,
    )


def _sections(step: Step, request: RunRequest) -> dict[str, object]:
    sections = request.config.sections()
    return {name: sections[name] for name in step.config}


def _merged(folder: Path, output: str, step: Step) -> Path:
    """Return the folder of one output with the files of all shards.

    Raises:
        StepError: two shards wrote a file of the same name.
    """
    target = folder / "0" / "outputs" / output
    for index in range(1, step.shards):
        part = folder / str(index) / "outputs" / output
        for path in sorted(part.rglob("*")):
            if path.is_dir():
                continue
            place = target / path.relative_to(part)
            if place.exists():
                raise StepError(
                    f"step '{step.name}': two shards wrote '{place.name}' to '{output}'; "
                    "put the shard's index in the name, or write it in a later step"
                )
            place.parent.mkdir(parents=True, exist_ok=True)
            path.rename(place)
    return target


def _step_failure(name: str, outcome: ProcessOutcome, log: Path) -> MlopsError:
    message = f"step '{name}' failed: {outcome.error}; log: {log}"
    kind = {ExitCode.DATASET: DatasetError, ExitCode.PLUGIN: PluginError}.get(outcome.exit_code, StepError)
    return kind(message)


def _environment(request: RunRequest) -> dict[str, str]:
    from importlib.metadata import version

    packages = sorted({package for step in request.pipeline.steps for package in step.packages})
    found = {}
    for package in ("mlops-core", *packages):
        try:
            found[package] = version(package)
        except ModuleNotFoundError:
            found[package] = "not installed"
    return {"python": platform.python_version(), "platform": platform.platform(), **found}


__all__ = ["LocalRunner", "key_of", "new_run_id"]
