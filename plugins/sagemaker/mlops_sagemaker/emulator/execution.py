"""Executes a definition: schedules its steps, retries them, records their results, and determines the final status.

A step starts when all steps that it needs have succeeded and the condition has selected its branch. After a failure
no further step starts, but running steps continue to their end, as in the local runner.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.emulator.caching import find_cached, signature_of
from mlops_sagemaker.emulator.comparisons import holds_all
from mlops_sagemaker.emulator.faults import RETRIED_BY, FaultKind, StepFault, StepStopped
from mlops_sagemaker.emulator.functions import as_text, resolve
from mlops_sagemaker.emulator.history import now
from mlops_sagemaker.emulator.jobs.callbacks import CallbackOrder
from mlops_sagemaker.emulator.jobs.common import JobPlace, JobResult, job_name
from mlops_sagemaker.emulator.jobs.processing import run_processing
from mlops_sagemaker.emulator.jobs.registration import run_model_creation, run_registration
from mlops_sagemaker.emulator.jobs.training import run_training
from mlops_sagemaker.emulator.jobs.transform import run_transform
from mlops_sagemaker.emulator.jobs.tuning import run_tuning
from mlops_sagemaker.emulator.scope import ExecutionScope
from mlops_sagemaker.service.executions import (
    ANY_STEP_FAILED,
    ExecutionRecord,
    ExecutionStatus,
    ExecutionStep,
    ExecutionStepStatus,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mlops_sagemaker.emulator.definition import Definition, RetryPolicy, StepDefinition
    from mlops_sagemaker.emulator.history import ExecutionHistory
    from mlops_sagemaker.emulator.jobs.callbacks import Callbacks
    from mlops_sagemaker.emulator.jobs.common import JobState
    from mlops_sagemaker.emulator.jobs.containers import Containers
    from mlops_sagemaker.emulator.jobs.registration import ModelRegistrar
    from mlops_sagemaker.emulator.objects import ObjectStore
    from mlops_sagemaker.emulator.selection import Selection

_LONGEST_WAIT_S = 3600.0
_POLL_S = 1.0
_ANY_JOB = "job"
"""Name of the job in the arguments that identify a result: the real one differs in every execution."""


_JOBS: Mapping[str, Callable[[str, Mapping[str, Any], JobPlace], JobResult]] = {
    "Processing": run_processing,
    "Training": run_training,
    "Tuning": run_tuning,
}


def _ignore(_: object) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The environment of an execution.

    Attributes:
        objects: the objects behind ``s3://`` URIs.
        containers: starts the commands of containers.
        registrar: creates model packages and models.
        history: records of executions, for caching; this execution is saved to it.
        folder: folder of this execution, for trees and logs.
        max_parallel: number of steps to run in parallel.
        environment: additional environment variables of every container.
        on_step: called from any thread with each new state of a step.
        callbacks: waits for the answers of Callback steps; None if they are not supported.
        on_job: called from any thread with each new state of a job.
    """

    objects: ObjectStore
    containers: Containers
    registrar: ModelRegistrar
    history: ExecutionHistory
    folder: Path
    max_parallel: int = 2
    environment: Mapping[str, str] = field(default_factory=dict)
    on_step: Callable[[ExecutionStep], None] = _ignore
    callbacks: Callbacks | None = None
    on_job: Callable[[JobState], None] = _ignore


class PipelineExecution:
    """An execution of a definition; `stop` and `record` may be called from other threads than `carry_out`."""

    def __init__(  # noqa: PLR0913  what is executed, as what, where, and what is kept
        self,
        definition: Definition,
        *,
        arn: str,
        pipeline: str,
        values: Mapping[str, Any],
        surroundings: Surroundings,
        former: ExecutionRecord | None = None,
        selection: Selection | None = None,
    ) -> None:
        """Prepare an execution.

        Args:
            definition: definition to execute.
            arn: ARN of this execution: ``arn:aws:sagemaker:<region>:<account>:pipeline/<name>/execution/<id>``.
            pipeline: name of the pipeline.
            values: values of all parameters, by name.
            surroundings: environment of the execution.
            former: earlier record of this execution if it is retried; steps that succeeded are kept.
            selection: steps to execute, and the results to use instead of the others; None for all steps.
        """
        self._definition = definition
        self._around = surroundings
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        kept = former.steps if former else ()
        self._steps = {step.name: step for step in kept if step.status is ExecutionStepStatus.SUCCEEDED}
        self._selected = frozenset(definition.steps) if selection is None else selection.steps
        self._steps |= {step.name: step for step in selection.results} if selection else {}
        self._max_parallel = surroundings.max_parallel
        self._has_new_limit = threading.Event()
        self._skipped: set[str] = set()
        start = former.start if former else now()
        self._record = ExecutionRecord(
            arn=arn, pipeline=pipeline, status=ExecutionStatus.EXECUTING, start=start, parameters=dict(values)
        )
        execution_id = self._record.execution_id
        self._place = JobPlace(
            objects=surroundings.objects,
            containers=surroundings.containers,
            work=surroundings.folder.absolute() / "work",
            logs=surroundings.folder.absolute() / "logs",
            execution_id=execution_id,
            arn_prefix=arn.partition(":pipeline/")[0],
            stopped=self._stopped,
            environment=surroundings.environment,
            announce=lambda _: None,
            on_job=surroundings.on_job,
            pipeline=pipeline,
        )

    @property
    def record(self) -> ExecutionRecord:
        """The current state."""
        with self._lock:
            return replace(self._record, steps=tuple(self._steps.values()))

    def resolve(self, value: Any) -> Any:
        """Return the value of an expression in the current state of the execution.

        Raises:
            StepFault: a reference cannot be resolved.
        """
        return resolve(value, self._scope())

    def _scope(self, *, job: str = "") -> ExecutionScope:
        return ExecutionScope(self.record, self._definition, objects=self._around.objects, job=job)

    def stop(self) -> None:
        """Stop all running steps; the execution then ends as ``Stopped``."""
        with self._lock:
            if self._record.status.is_final:
                return
            self._record = replace(self._record, status=ExecutionStatus.STOPPING)
        self._stopped.set()

    def limit(self, max_parallel: int) -> None:
        """Change the number of steps to run in parallel."""
        self._max_parallel = max_parallel
        self._has_new_limit.set()

    def carry_out(self) -> ExecutionRecord:
        """Execute the steps and return the final record."""
        self._save()
        try:
            self._run_steps()
        except BaseException:
            self._stopped.set()
            self._finish(ExecutionStatus.STOPPED)
            raise
        statuses = {step.status for step in self._steps.values()}
        if ExecutionStepStatus.FAILED in statuses:
            self._finish(ExecutionStatus.FAILED, failure=ANY_STEP_FAILED)
        else:
            self._finish(ExecutionStatus.STOPPED if self._stopped.is_set() else ExecutionStatus.SUCCEEDED)
        return self.record

    def _finish(self, status: ExecutionStatus, *, failure: str = "") -> None:
        with self._lock:
            self._record = replace(self._record, status=status, failure=failure, end=now())
        self._save()

    def _save(self) -> None:
        self._around.history.save(self.record)

    # --- Scheduling ---------------------------------------------------------------------------------------

    def _run_steps(self) -> None:
        waiting = [name for name in self._definition.order() if name not in self._steps and name in self._selected]
        running: dict[Future[None], str] = {}
        with ThreadPoolExecutor(max_workers=max(1, len(waiting)), thread_name_prefix="step") as pool:
            try:
                while waiting or running:
                    waiting = self._start_ready(waiting, running, pool)
                    if not running:
                        break
                    for future in self._ended(running):
                        del running[future]
                        future.result()
            except BaseException:
                self._stopped.set()
                raise

    def _ended(self, running: Mapping[Future[None], str]) -> set[Future[None]]:
        """Wait until a step has ended or more steps may run, and return those that have ended."""
        done: set[Future[None]] = set()
        while not done and not self._has_new_limit.is_set():
            done, _ = wait(running, timeout=_POLL_S, return_when=FIRST_COMPLETED)
        self._has_new_limit.clear()
        return done

    def _start_ready(self, waiting: list[str], running: dict[Future[None], str], pool: ThreadPoolExecutor) -> list[str]:
        remaining: list[str] = []
        for name in waiting:
            if self._is_skipped(name):
                self._skipped.add(name)
            elif not self._may_start() or not self._has_place(running) or not self._is_ready(name):
                remaining.append(name)
            else:
                step = self._definition.steps[name]
                self._set(_started(step))
                running[pool.submit(self._execute, step)] = name
        return remaining

    def _has_place(self, running: Mapping[Future[None], str]) -> bool:
        """Return whether another step may run; a step that waits for a callback needs no processor."""
        types = [self._definition.steps[name].type for name in running.values()]
        return len(types) - types.count("Callback") < self._max_parallel

    def _may_start(self) -> bool:
        failed = any(step.status is ExecutionStepStatus.FAILED for step in self._steps.values())
        return not failed and not self._stopped.is_set()

    def _is_skipped(self, name: str) -> bool:
        """Return whether the step can never start: its branch was not taken, or a step that it needs is skipped."""
        step = self._definition.steps[name]
        for branch in self._definition.branches(name):
            condition = self._steps.get(branch.condition)
            if condition and condition.status is ExecutionStepStatus.SUCCEEDED:
                outcome = condition.properties["Outcome"] == "True"
                if outcome is not branch.outcome:
                    return True
        needed = {*step.depends_on, *step.references()} | ({step.branch.condition} if step.branch else set())
        return bool(needed & self._skipped & self._selected)

    def _is_ready(self, name: str) -> bool:
        needs = self._definition.needs(name) - self._skipped
        for needed in needs & (self._selected | self._definition.steps[name].references()):
            state = self._steps.get(needed)
            if state is None or state.status is not ExecutionStepStatus.SUCCEEDED:
                return False
        return True

    # --- One step -----------------------------------------------------------------------------------------

    def _execute(self, step: StepDefinition) -> None:
        """Execute a step, including retries; runs in a thread and does not raise if the step fails."""
        state = self._set(replace(self._steps[step.name], status=ExecutionStepStatus.EXECUTING))
        try:
            state = self._attempt_until_done(step, state)
        except StepStopped:
            state = replace(self._steps[step.name], status=ExecutionStepStatus.STOPPED)
        except StepFault as fault:
            state = replace(self._steps[step.name], status=ExecutionStepStatus.FAILED, failure=str(fault))
        except Exception as error:  # noqa: BLE001  an invalid definition can raise anything; its step fails
            reason = f"{FaultKind.CLIENT}: {type(error).__name__}: {error}"
            state = replace(self._steps[step.name], status=ExecutionStepStatus.FAILED, failure=reason)
        self._set(replace(state, end=now()))

    def _attempt_until_done(self, step: StepDefinition, state: ExecutionStep) -> ExecutionStep:
        start = time.monotonic()
        used: dict[int, int] = {}
        while True:
            try:
                return self._attempt(step, state)
            except StepFault as fault:
                delay = _delay_s(step.retries, fault, used, elapsed_s=time.monotonic() - start)
                if delay is None:
                    raise
            if self._stopped.wait(delay):
                raise StepStopped
            state = self._set(replace(self._steps[step.name], attempts=state.attempts + 1))

    def _attempt(self, step: StepDefinition, state: ExecutionStep) -> ExecutionStep:
        job = job_name(self._place, step.name)
        scope = self._scope(job=job)
        if step.type == "Condition":
            outcome = str(holds_all(step.arguments["Conditions"], scope))
            result = JobResult(properties={"Outcome": outcome}, metadata={"Condition": {"Outcome": outcome}})
            return _done(state, result)
        arguments = resolve(step.arguments, scope)
        if step.type == "Fail":
            message = as_text(arguments.get("ErrorMessage", ""))
            failed = replace(state, status=ExecutionStepStatus.FAILED, failure=message)
            return replace(failed, metadata={"Fail": {"ErrorMessage": message}})
        signature = signature_of(step, resolve(step.arguments, self._scope(job=_ANY_JOB)))
        cached = find_cached(
            step,
            signature,
            pipeline=self._record.pipeline,
            history=self._around.history,
            objects=self._around.objects,
        )
        if cached:
            source, former = cached
            kept = replace(_done(state, former), cache_source=source)
            return replace(kept, signature=signature)
        return replace(_done(state, self._perform(step, arguments, job=job)), signature=signature)

    def _perform(self, step: StepDefinition, arguments: Mapping[str, Any], *, job: str) -> JobResult:
        place = replace(self._place, announce=lambda result: self._announce(step.name, result))
        if step.type in _JOBS:
            return _JOBS[step.type](job, arguments, place)
        if step.type == "Transform":
            return run_transform(job, arguments, place, self._around.registrar)
        if step.type == "RegisterModel":
            return run_registration(arguments, place, self._around.registrar)
        if step.type == "Callback":
            return self._call_back(step, arguments)
        return run_model_creation(step.name, arguments, place, self._around.registrar)

    def _call_back(self, step: StepDefinition, arguments: Mapping[str, Any]) -> JobResult:
        if self._around.callbacks is None:
            raise StepFault(FaultKind.CLIENT, "Callback steps can only be executed by mlops sagemaker emulate")
        order = CallbackOrder(
            queue=as_text(self.resolve(step.queue)),
            arguments=arguments,
            types=step.outputs,
            arn=self._record.arn,
            stopped=self._stopped,
            announce=lambda result: self._announce(step.name, result),
            on_stopping=lambda: self._mark_stopping(step.name),
        )
        return self._around.callbacks.call(order)

    def _mark_stopping(self, name: str) -> None:
        self._set(replace(self._steps[name], status=ExecutionStepStatus.STOPPING))

    def _announce(self, name: str, result: JobResult) -> None:
        state = replace(self._steps[name], properties=result.properties, metadata=result.metadata, logs=result.logs)
        self._set(state)

    def _set(self, state: ExecutionStep) -> ExecutionStep:
        with self._lock:
            self._steps[state.name] = state
        self._save()
        self._around.on_step(state)
        return state


def _started(step: StepDefinition) -> ExecutionStep:
    return ExecutionStep(
        name=step.name,
        type=step.type,
        status=ExecutionStepStatus.STARTING,
        start=now(),
        display_name=step.display_name,
        description=step.description,
    )


def _done(state: ExecutionStep, result: JobResult | ExecutionStep) -> ExecutionStep:
    return replace(
        state,
        status=ExecutionStepStatus.SUCCEEDED,
        properties=result.properties,
        metadata=result.metadata,
        logs=result.logs,
        written=result.written,
    )


def _delay_s(
    policies: tuple[RetryPolicy, ...], fault: StepFault, used: dict[int, int], *, elapsed_s: float
) -> float | None:
    """Return the seconds to wait before the next attempt; None if no policy allows one."""
    exception = RETRIED_BY.get(fault.kind, "")
    for index, policy in enumerate(policies):
        if exception not in policy.exceptions:
            continue
        count = used.get(index, 0)
        is_spent = policy.max_attempts is not None and count >= policy.max_attempts
        is_late = policy.expire_after_s is not None and elapsed_s >= policy.expire_after_s
        if is_spent or is_late:
            return None
        used[index] = count + 1
        return float(min(policy.interval_s * policy.backoff**count, _LONGEST_WAIT_S))
    return None
