"""Carrying out one execution of a definition: which step is next, its retries, its result, the end of all.

A step starts when the steps that it needs have succeeded and its condition came out its way. After a failure no
further step starts; those that run go on to their end. The same holds for a run of the local runner.
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
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What an execution takes from where it happens.

    Attributes:
        objects: what ``s3://`` means.
        containers: what starts a command.
        registrar: where model packages go.
        history: former executions, for caching; also told of this one.
        folder: of this execution: trees and logs go below it.
        max_parallel: steps at once.
        environment: variables that every container gets besides its own.
        on_step: called from any thread with each new state of a step.
        callbacks: for callback steps; None where nobody could answer.
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
    """One execution; `carry_out` may run in any thread, `stop` and `record` may be called from others."""

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
            definition: what is executed.
            arn: of this execution: ``arn:aws:sagemaker:<region>:<account>:pipeline/<name>/execution/<id>``.
            pipeline: its name.
            values: of all parameters.
            surroundings: where it happens.
            former: the record of the same execution when it is retried; steps that succeeded are kept.
        """
        self._definition = definition
        self._around = surroundings
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        kept = former.steps if former else ()
        self._steps = {step.name: step for step in kept if step.status is ExecutionStepStatus.SUCCEEDED}
        self._left_out: set[str] = set()
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
        """The state now."""
        with self._lock:
            return replace(self._record, steps=tuple(self._steps.values()))

    def resolve(self, value: Any) -> Any:
        """Return what an expression stands for in the present state of the execution.

        Raises:
            StepFault: something that it refers to is not there.
        """
        return resolve(value, _ExecutionScope(self))

    def stop(self) -> None:
        """Ask every running step to end; the execution is then ``Stopped``."""
        with self._lock:
            if self._record.status.is_final:
                return
            self._record = replace(self._record, status=ExecutionStatus.STOPPING)
        self._stopped.set()

    def carry_out(self) -> ExecutionRecord:
        """Execute every step that has to be; return the finished record."""
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

    # --- Which step is next -------------------------------------------------------------------------------

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
        left: list[str] = []
        for name in waiting:
            if self._is_left_out(name):
                self._left_out.add(name)
            elif not self._may_start() or len(running) >= self._around.max_parallel or not self._is_ready(name):
                left.append(name)
            else:
                step = self._definition.steps[name]
                self._set(ExecutionStep(name=name, type=step.type, status=ExecutionStepStatus.STARTING, start=now()))
                running[pool.submit(self._execute, step)] = name
        return left

    def _may_start(self) -> bool:
        failed = any(step.status is ExecutionStepStatus.FAILED for step in self._steps.values())
        return not failed and not self._stopped.is_set()

    def _is_left_out(self, name: str) -> bool:
        """Tell whether the step can never start: its branch was not taken, or what it asks for is left out."""
        step = self._definition.steps[name]
        for branch in self._definition.branches(name):
            condition = self._steps.get(branch.condition)
            if condition and condition.status is ExecutionStepStatus.SUCCEEDED:
                outcome = condition.properties["Outcome"] == "True"
                if outcome is not branch.outcome:
                    return True
        asked = {*step.depends_on, *step.references()} | ({step.branch.condition} if step.branch else set())
        return bool(asked & self._left_out)

    def _is_ready(self, name: str) -> bool:
        for needed in self._definition.needs(name) - self._left_out:
            found = self._steps.get(needed)
            if found is None or found.status is not ExecutionStepStatus.SUCCEEDED:
                return False
        return True

    # --- One step -----------------------------------------------------------------------------------------

    def _execute(self, step: StepDefinition) -> None:
        """Execute a step to its end, retries included; runs in a thread and never raises for a fault of the step."""
        state = self._set(replace(self._steps[step.name], status=ExecutionStepStatus.EXECUTING))
        try:
            state = self._attempt_until_done(step, state)
        except StepStopped:
            state = replace(self._steps[step.name], status=ExecutionStepStatus.STOPPED)
        except StepFault as fault:
            state = replace(self._steps[step.name], status=ExecutionStepStatus.FAILED, failure=str(fault))
        except Exception as error:  # noqa: BLE001  a definition can be wrong in more ways than are foreseen; its step fails
            reason = f"{FaultKind.CLIENT}: {type(error).__name__}: {error}"
            state = replace(self._steps[step.name], status=ExecutionStepStatus.FAILED, failure=reason)
        self._set(replace(state, end=now()))

    def _attempt_until_done(self, step: StepDefinition, state: ExecutionStep) -> ExecutionStep:
        began = time.monotonic()
        used: dict[int, int] = {}
        while True:
            try:
                return self._attempt(step, state)
            except StepFault as fault:
                delay = _delay_s(step.retries, fault, used, elapsed_s=time.monotonic() - began)
                if delay is None:
                    raise
            if self._stopped.wait(delay):
                raise StepStopped
            state = self._set(replace(self._steps[step.name], attempts=state.attempts + 1))

    def _attempt(self, step: StepDefinition, state: ExecutionStep) -> ExecutionStep:
        scope = _ExecutionScope(self)
        if step.type == "Condition":
            outcome = str(holds_all(step.arguments["Conditions"], scope))
            found = JobResult(properties={"Outcome": outcome}, metadata={"Condition": {"Outcome": outcome}})
            return _done(state, found)
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
        place = replace(self._place, announce=lambda found: self._announce(step.name, found))
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
            raise StepFault(FaultKind.CLIENT, "a Callback step needs an endpoint that can be answered; none is here")
        queue = as_text(self.resolve(step.queue))
        return self._around.callbacks.call(queue, arguments, arn=self._record.arn, stopped=self._stopped)

    def _announce(self, name: str, found: JobResult) -> None:
        state = replace(self._steps[name], properties=found.properties, metadata=found.metadata, logs=found.logs)
        self._set(state)

    def _set(self, state: ExecutionStep) -> ExecutionStep:
        with self._lock:
            self._steps[state.name] = state
        self._save()
        self._around.on_step(state)
        return state


def _done(state: ExecutionStep, found: JobResult) -> ExecutionStep:
    return replace(
        state,
        status=ExecutionStepStatus.SUCCEEDED,
        properties=found.properties,
        metadata=found.metadata,
        logs=found.logs,
    )


def _delay_s(
    policies: tuple[RetryPolicy, ...], fault: StepFault, used: dict[int, int], *, elapsed_s: float
) -> float | None:
    """Return how long to wait before the next attempt; None when no policy allows one."""
    wanted = RETRIED_BY.get(fault.kind, "")
    for index, policy in enumerate(policies):
        if wanted not in policy.exceptions:
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
    """What the functions of one execution read."""

    def __init__(self, execution: PipelineExecution) -> None:
        self._record = execution.record
        self._definition = execution._definition  # noqa: SLF001  the other half of the same class
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
        found = self._record.step(step)
        if found is None or found.status is not ExecutionStepStatus.SUCCEEDED:
            raise StepFault(FaultKind.CLIENT, f"Steps.{step}: the step has not succeeded in this execution")
        return found.properties

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
