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
from mlops_sagemaker.emulator.jobs.common import JobPlace, JobResult
from mlops_sagemaker.emulator.jobs.processing import run_processing
from mlops_sagemaker.emulator.jobs.registration import run_model_creation, run_registration
from mlops_sagemaker.emulator.jobs.training import run_training
from mlops_sagemaker.emulator.jobs.tuning import run_tuning
from mlops_sagemaker.emulator.objects import parse_uri
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
    from mlops_sagemaker.emulator.jobs.containers import Containers
    from mlops_sagemaker.emulator.jobs.registration import ModelRegistrar
    from mlops_sagemaker.emulator.objects import ObjectStore

_LONGEST_WAIT_S = 3600.0


def _ignore(_: ExecutionStep) -> None:
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


class PipelineExecution:
    """An execution of a definition; `stop` and `record` may be called from other threads than `carry_out`."""

    def __init__(
        self,
        definition: Definition,
        *,
        arn: str,
        pipeline: str,
        values: Mapping[str, Any],
        surroundings: Surroundings,
        former: ExecutionRecord | None = None,
    ) -> None:
        """Prepare an execution.

        Args:
            definition: definition to execute.
            arn: ARN of this execution: ``arn:aws:sagemaker:<region>:<account>:pipeline/<name>/execution/<id>``.
            pipeline: name of the pipeline.
            values: values of all parameters, by name.
            surroundings: environment of the execution.
            former: earlier record of this execution if it is retried; steps that succeeded are kept.
        """
        self._definition = definition
        self._around = surroundings
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        kept = former.steps if former else ()
        self._steps = {step.name: step for step in kept if step.status is ExecutionStepStatus.SUCCEEDED}
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
        return resolve(value, _ExecutionScope(self))

    def stop(self) -> None:
        """Stop all running steps; the execution then ends as ``Stopped``."""
        with self._lock:
            if self._record.status.is_final:
                return
            self._record = replace(self._record, status=ExecutionStatus.STOPPING)
        self._stopped.set()

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
        waiting = [name for name in self._definition.order() if name not in self._steps]
        running: dict[Future[None], str] = {}
        with ThreadPoolExecutor(max_workers=self._around.max_parallel, thread_name_prefix="step") as pool:
            try:
                while waiting or running:
                    waiting = self._start_ready(waiting, running, pool)
                    if not running:
                        break
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        del running[future]
                        future.result()
            except BaseException:
                self._stopped.set()
                raise

    def _start_ready(self, waiting: list[str], running: dict[Future[None], str], pool: ThreadPoolExecutor) -> list[str]:
        remaining: list[str] = []
        for name in waiting:
            if self._is_skipped(name):
                self._skipped.add(name)
            elif not self._may_start() or len(running) >= self._around.max_parallel or not self._is_ready(name):
                remaining.append(name)
            else:
                step = self._definition.steps[name]
                self._set(ExecutionStep(name=name, type=step.type, status=ExecutionStepStatus.STARTING, start=now()))
                running[pool.submit(self._execute, step)] = name
        return remaining

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
        return bool(needed & self._skipped)

    def _is_ready(self, name: str) -> bool:
        for needed in self._definition.needs(name) - self._skipped:
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
        scope = _ExecutionScope(self)
        if step.type == "Condition":
            outcome = str(holds_all(step.arguments["Conditions"], scope))
            result = JobResult(properties={"Outcome": outcome}, metadata={"Condition": {"Outcome": outcome}})
            return _done(state, result)
        arguments = resolve(step.arguments, scope)
        if step.type == "Fail":
            message = as_text(arguments.get("ErrorMessage", ""))
            failed = replace(state, status=ExecutionStepStatus.FAILED, failure=message)
            return replace(failed, metadata={"Fail": {"ErrorMessage": message}})
        signature = signature_of(step, arguments)
        cached = find_cached(step, signature, pipeline=self._record.pipeline, history=self._around.history)
        if cached:
            source, former = cached
            kept = replace(former, start=state.start, attempts=state.attempts, cache_source=source)
            return replace(kept, metadata=former.metadata, signature=signature)
        return replace(_done(state, self._perform(step, arguments)), signature=signature)

    def _perform(self, step: StepDefinition, arguments: Mapping[str, Any]) -> JobResult:
        place = replace(self._place, announce=lambda result: self._announce(step.name, result))
        if step.type == "Processing":
            return run_processing(step.name, arguments, place)
        if step.type == "Training":
            return run_training(step.name, arguments, place)
        if step.type == "Tuning":
            return run_tuning(step.name, arguments, place)
        if step.type == "RegisterModel":
            return run_registration(arguments, place, self._around.registrar)
        if step.type == "Callback":
            return self._call_back(step, arguments)
        return run_model_creation(step.name, arguments, place, self._around.registrar)

    def _call_back(self, step: StepDefinition, arguments: Mapping[str, Any]) -> JobResult:
        if self._around.callbacks is None:
            raise StepFault(FaultKind.CLIENT, "Callback steps can only be executed by mlops sagemaker emulate")
        queue = as_text(self.resolve(step.queue))
        return self._around.callbacks.call(queue, arguments, arn=self._record.arn, stopped=self._stopped)

    def _announce(self, name: str, result: JobResult) -> None:
        state = replace(self._steps[name], properties=result.properties, metadata=result.metadata, logs=result.logs)
        self._set(state)

    def _set(self, state: ExecutionStep) -> ExecutionStep:
        with self._lock:
            self._steps[state.name] = state
        self._save()
        self._around.on_step(state)
        return state


def _done(state: ExecutionStep, result: JobResult) -> ExecutionStep:
    return replace(
        state,
        status=ExecutionStepStatus.SUCCEEDED,
        properties=result.properties,
        metadata=result.metadata,
        logs=result.logs,
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


class _ExecutionScope:
    """The values that the expressions of an execution refer to."""

    def __init__(self, execution: PipelineExecution) -> None:
        self._record = execution.record
        self._definition = execution._definition  # noqa: SLF001  a view of the same execution
        self._objects = execution._around.objects  # noqa: SLF001  the same

    def parameters(self) -> Mapping[str, Any]:
        return self._record.parameters

    def execution(self) -> Mapping[str, Any]:
        return {
            "PipelineName": self._record.pipeline,
            "PipelineArn": self._record.arn.partition("/execution/")[0],
            "PipelineExecutionId": self._record.execution_id,
            "PipelineExecutionArn": self._record.arn,
            "StartDateTime": self._record.start,
            "CurrentDateTime": now(),
        }

    def properties(self, step: str) -> Mapping[str, Any]:
        state = self._record.step(step)
        if state is None or state.status is not ExecutionStepStatus.SUCCEEDED:
            raise StepFault(FaultKind.CLIENT, f"Steps.{step}: the step has not succeeded in this execution")
        return state.properties

    def property_file(self, step: str, name: str) -> str:
        declared = {file.name: file for file in self._definition.steps[step].property_files}
        if name not in declared:
            raise StepFault(FaultKind.CLIENT, f"Steps.{step}.PropertyFiles.{name}: the step declares no such file")
        file = declared[name]
        outputs = (self.properties(step).get("ProcessingOutputConfig") or {}).get("Outputs") or ()
        for output in outputs:
            if output["OutputName"] == file.output:
                return self.document(str(parse_uri(output["S3Output"]["S3Uri"]).join(file.path)))
        raise StepFault(FaultKind.CLIENT, f"property file '{name}': step '{step}' has no output '{file.output}'")

    def document(self, uri: str) -> str:
        return self._objects.read(parse_uri(uri)).decode("utf-8")
