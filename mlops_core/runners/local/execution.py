"""Execution of one step on this machine: verified inputs, shards and their merge, artifacts, retries.

Runs in a worker thread and touches neither the database nor the state of the run; what it finds comes back as an
`Attempt`.
"""

from __future__ import annotations

import functools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mlops_core.errors import DatasetError, ExitCode, MlopsError
from mlops_core.processes.confinement import landlock_version
from mlops_core.runners.local.processes import ProcessOutcome, module_of
from mlops_core.runners.local.shard_progress import ShardProgress
from mlops_core.steps.context import Shard, StepRequest
from mlops_core.use_cases.searches import draws_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from mlops_core.pipeline import Step
    from mlops_core.processes.pool import Modules
    from mlops_core.runners.local.dataset_watch import DatasetWatch
    from mlops_core.runners.local.processes import StepProcesses
    from mlops_core.runners.request import RunRequest
    from mlops_core.workspace.store import Store

_STABLE_TRIES = 3
"""How often a step is executed whose data set changes meanwhile."""
_BACKOFF_S = (1.0, 5.0, 15.0, 30.0)
_FINAL = (ExitCode.OK, ExitCode.INTERRUPTED)
_OK = ProcessOutcome(exit_code=ExitCode.OK, error="")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepInput:
    """An input of a step.

    Attributes:
        path: its folder.
        artifact: its digest when it is an artifact of this workspace; empty for a data set.
        is_trusted: it was written and hashed in this run, and need not be read again to be sure of it.
        watch: tells whether a data set has changed; None for an artifact.
    """

    path: Path
    artifact: str = ""
    is_trusted: bool = False
    watch: DatasetWatch | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The result of executing a step.

    Attributes:
        outcome: how the step's processes ended.
        outputs: output -> digest of the artifact.
        duration_s: duration of all attempts together.
        attempts: number of attempts.
        damaged: damaged input artifact -> what is wrong with it; nothing was executed then.
    """

    outcome: ProcessOutcome = _OK
    outputs: Mapping[str, str] = field(default_factory=dict)
    duration_s: float = 0.0
    attempts: int = 1
    damaged: Mapping[str, str] = field(default_factory=dict)


class StepExecution:
    """Executes steps of one run."""

    def __init__(self, store: Store, request: RunRequest, *, run_id: str, processes: StepProcesses) -> None:
        """Execute steps of the run `run_id` with `processes`."""
        self._store = store
        self._request = request
        self._run_id = run_id
        self._processes = processes
        self._cancelled = threading.Event()
        self._cleaning = ThreadPoolExecutor(max_workers=1, thread_name_prefix="clean")
        self._sections = request.config.sections()
        self._redactor = request.config.redactor()
        self._metrics = tuple(metric.to_json() for metric in request.pipeline.metrics)

    def close(self) -> None:
        """Wait until the folders of ended steps are removed."""
        self._cleaning.shutdown()

    def cancel(self) -> None:
        """Kill every process and end every wait."""
        self._cancelled.set()
        self._processes.cancel()

    def execute(
        self,
        step: Step,
        *,
        inputs: Mapping[str, StepInput],
        on_progress: Callable[[str, int, int], None],
        deadline: float | None = None,
    ) -> Attempt:
        """Execute a step with its retries.

        Args:
            step: the step.
            inputs: local name -> the input.
            on_progress: called with (label, done, total).
            deadline: when, by the monotonic clock, its processes are ended; None for its own timeout alone.
        """
        began = time.monotonic()
        damaged = self._damaged(inputs.values())
        if damaged:
            return Attempt(damaged=damaged)
        watch = next((given.watch for given in inputs.values() if given.watch), None)
        for attempt in range(1, step.resources.retries + 2):
            limited = functools.partial(self._attempt, _limited(step, deadline), inputs=inputs, on_progress=on_progress)
            result = self._attempt_on_stable_data(watch, limited)
            if deadline is not None and time.monotonic() >= deadline:
                break
            if result.outcome.exit_code in _FINAL or attempt > step.resources.retries:
                break
            if self._cancelled.wait(_BACKOFF_S[min(attempt, len(_BACKOFF_S)) - 1]):
                break
        return replace(result, duration_s=time.monotonic() - began, attempts=attempt)

    def _attempt_on_stable_data(self, watch: DatasetWatch | None, attempt: Callable[[], Attempt]) -> Attempt:
        """Execute a step until its data set does not change meanwhile; a lasting change is a failure.

        A change that was undone before the step ended leaves nothing but times, and the step may have read it.
        """
        if watch is None:
            return attempt()
        changed = ""
        try:
            for _ in range(_STABLE_TRIES):
                before = watch.verified_state()
                result = attempt()
                if result.outcome.exit_code is ExitCode.INTERRUPTED or watch.state() == before:
                    return _with_warning(result, changed and f"executed again: {changed}")
                changed = f"{watch.verified_state().newest} of the data set changed while the step was reading"
        except DatasetError as error:
            return Attempt(outcome=ProcessOutcome(exit_code=ExitCode.DATASET, error=str(error)))
        message = f"{changed}, {_STABLE_TRIES} times; run again when nothing writes there"
        return Attempt(outcome=ProcessOutcome(exit_code=ExitCode.DATASET, error=message))

    def prepare(self, step: Step) -> None:
        """Start importing the modules of a step while another one runs."""
        self._processes.prepare(self.modules(step))

    def release(self, step: Step) -> None:
        """End the process that imported the modules of a step; no other step needs them."""
        self._processes.release(self.modules(step))

    def modules(self, step: Step) -> Modules:
        """Return the modules to import before a step's process is forked; an evaluation also calls the metric hook."""
        own = module_of(step.run)
        if not step.computes_metrics:
            return (own,)
        return (own, "mlops_core.use_cases.manager", module_of(self._request.use_case.installed.target))

    def log_path(self, step: str) -> Path:
        """Return the file with the output of a step (of its first shard, where it has several)."""
        return self._store.runs.folder(self._run_id) / "logs" / f"{step}.log"

    def _damaged(self, inputs: Iterable[StepInput]) -> dict[str, str]:
        unsure = {given.artifact for given in inputs if given.artifact and not given.is_trusted}
        found = {digest: self._store.artifacts.damage(digest) for digest in unsure}
        return {digest: damage for digest, damage in found.items() if damage}

    def _attempt(
        self, step: Step, *, inputs: Mapping[str, StepInput], on_progress: Callable[[str, int, int], None]
    ) -> Attempt:
        try:
            folder = self._store.work_folder(f"{self._run_id}-{step.name}")
        except OSError as error:
            return Attempt(outcome=_failure(f"its working folder cannot be created: {error}"))
        try:
            outcome = self._run_shards(step, folder, inputs=inputs, on_progress=on_progress)
            if outcome.exit_code is ExitCode.OK and landlock_version() == 0:
                outcome = replace(self._check_inputs(inputs), warnings=outcome.warnings)
            if outcome.exit_code is not ExitCode.OK:
                return Attempt(outcome=outcome)
            outputs = {output: self._store.artifacts.add(folder / "outputs" / output) for output in step.all_outputs}
            return Attempt(outcome=outcome, outputs=outputs)
        except (MlopsError, OSError) as error:
            return Attempt(outcome=_failure(str(error)))
        finally:
            self._cleaning.submit(self._store.remove_work_folder, folder)

    def _check_inputs(self, inputs: Mapping[str, StepInput]) -> ProcessOutcome:
        """Check that the step has not written into its inputs, where the system could not prevent it."""
        for name, given in inputs.items():
            damage = self._store.artifacts.damage(given.artifact) if given.artifact else None
            if damage:
                self._store.artifacts.discard(given.artifact)
                return _failure(f"changed its input '{name}': {damage}; a step may write to its outputs only")
        return _OK

    def _run_shards(
        self,
        step: Step,
        folder: Path,
        *,
        inputs: Mapping[str, StepInput],
        on_progress: Callable[[str, int, int], None],
    ) -> ProcessOutcome:
        """Run every shard and then the merge, which writes to ``folder/outputs``."""
        outputs = {output: folder / "outputs" / output for output in step.all_outputs}
        whole = self._step_request(step, inputs=inputs, outputs=outputs, folder=folder)
        if step.shards == 1:
            return self._run_request(whole, folder=folder, log=self.log_path(step.name), on_progress=on_progress)
        places = [folder / f"shard-{index}" for index in range(step.shards)]
        requests = [
            replace(
                self._step_request(step, inputs=inputs, outputs=_below(place, step.outputs), folder=place),
                shard=Shard(index=index, count=step.shards),
            )
            for index, place in enumerate(places)
        ]
        progress = ShardProgress(step.shards, on_progress)
        with ThreadPoolExecutor(max_workers=step.shards, thread_name_prefix=step.name) as pool:
            running = [
                pool.submit(
                    self._run_request,
                    request,
                    folder=place,
                    log=self.log_path(f"{step.name}.{request.shard.index}"),
                    on_progress=progress.of_shard(request.shard.index),
                )
                for request, place in zip(requests, places, strict=True)
            ]
        failed = [one.result() for one in running if one.result().exit_code is not ExitCode.OK]
        if failed:
            return failed[0]
        parts = {output: tuple(place / output for place in places) for output in step.outputs}
        merged = self._run_request(
            replace(whole, parts=parts), folder=folder, log=self.log_path(step.name), on_progress=on_progress
        )
        warnings = (warning for one in (*running, None) for warning in (one.result() if one else merged).warnings)
        return replace(merged, warnings=tuple(dict.fromkeys(warnings)))

    def _step_request(
        self, step: Step, *, inputs: Mapping[str, StepInput], outputs: Mapping[str, Path], folder: Path
    ) -> StepRequest:
        return StepRequest(
            use_case=self._request.use_case.name,
            step=step,
            config={name: self._sections[name] for name in step.config},
            whole_config=self._sections if draws_values(step) else None,
            parameters={name: self._request.parameters[name] for name in step.parameters},
            seed=self._request.seed,
            inputs={name: given.path for name, given in inputs.items()},
            outputs=outputs,
            scratch=folder / "scratch",
            progress_file=folder / "progress.jsonl",
            metrics=self._metrics if step.computes_metrics or step.search else (),
            is_trained=self._request.pipeline.is_trained,
        )

    def _run_request(
        self, request: StepRequest, *, folder: Path, log: Path, on_progress: Callable[[str, int, int], None]
    ) -> ProcessOutcome:
        try:
            for path in (request.scratch, *request.outputs.values()):
                path.mkdir(parents=True)
            return self._processes.run(
                request,
                folder=folder,
                log=log,
                on_progress=on_progress,
                modules=self.modules(request.step),
                redactor=self._redactor,
            )
        except OSError as error:
            return _failure(f"its process could not be started: {error}")


def _limited(step: Step, deadline: float | None) -> Step:
    """Return the step with a timeout that ends at the deadline."""
    if deadline is None:
        return step
    left_s = min(step.resources.timeout_s, max(0.1, deadline - time.monotonic()))
    return replace(step, resources=replace(step.resources, timeout_s=left_s))


def _below(folder: Path, outputs: tuple[str, ...]) -> dict[str, Path]:
    return {output: folder / output for output in outputs}


def _with_warning(attempt: Attempt, warning: str) -> Attempt:
    if not warning:
        return attempt
    return replace(attempt, outcome=replace(attempt.outcome, warnings=(*attempt.outcome.warnings, warning)))


def _failure(error: str) -> ProcessOutcome:
    return ProcessOutcome(exit_code=ExitCode.STEP, error=error)
