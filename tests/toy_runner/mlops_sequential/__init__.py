"""A whole engine: one step after the other on this machine, nothing reused. The walk-through is docs/runners.md."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from mlops_core import DATASET, StepError
from mlops_core.runners import (
    EVALUATION_OUTPUT,
    ExitCode,
    Result,
    Run,
    RunnerOptions,
    RunnerPlugin,
    StepExecution,
    StepInput,
    StepProcesses,
    StepStatus,
    fetch_source,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlops_core import RunRecord, Step
    from mlops_core.runners import Runner, RunObserver, RunRequest, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class SequentialOptions(RunnerOptions):
    """Options of the engine: `pause_s` is the time to wait before each step."""

    pause_s: float = 0.0


class SequentialRunner:
    """Carries out the steps of a pipeline one after the other."""

    def __init__(self, store: Store, *, observer: RunObserver, options: SequentialOptions) -> None:
        self._store = store
        self._observer = observer
        self._options = options

    def run(self, request: RunRequest) -> RunRecord:
        run = Run(self._store, request, observer=self._observer, runner="sequential")
        return run.carry_out(lambda: self._execute(run, request))

    def _execute(self, run: Run, request: RunRequest) -> Result:
        source = run.fetch(
            lambda progress: fetch_source(
                request.use_case,
                request.dataset_choice(),
                store=self._store,
                seed=request.seed,
                is_offline=request.is_offline,
                progress=progress,
            )
        )
        inputs = {DATASET: StepInput(path=source.path)}
        with StepProcesses() as processes:
            execution = StepExecution(self._store, request, run_id=run.run_id, processes=processes)
            for step in request.pipeline.ordered():
                time.sleep(self._options.pause_s)
                outputs = self._execute_step(run, execution, step, inputs)
                for name, digest in outputs.items():
                    path = self._store.artifacts.path(digest)
                    inputs[f"{step.name}.{name}"] = StepInput(path=path, artifact=digest)
            execution.close()
        pipeline = request.pipeline
        evaluation = inputs[f"{pipeline.evaluation_step.name}.{EVALUATION_OUTPUT}"]
        return Result(evaluation=evaluation.path, model=inputs[pipeline.model].artifact)

    def _execute_step(
        self, run: Run, execution: StepExecution, step: Step, inputs: Mapping[str, StepInput]
    ) -> Mapping[str, str]:
        self._observer.step_started(step.name)
        attempt = execution.execute(
            step,
            inputs={name: inputs[reference] for name, reference in step.inputs.items()},
            on_progress=lambda label, done, total: self._observer.step_progress(step.name, label, done, total),
        )
        is_done = attempt.outcome.exit_code is ExitCode.OK
        record = replace(
            run.steps[step.name],
            status=StepStatus.DONE if is_done else StepStatus.FAILED,
            outputs=attempt.outputs,
            duration_s=attempt.duration_s,
            attempts=attempt.attempts,
            because="the engine reuses nothing",
            error=attempt.outcome.error,
        )
        run.steps[step.name] = record
        run.save()
        self._observer.step_ended(record)
        if not is_done:
            raise StepError(f"step '{step.name}' failed: {attempt.outcome.error}; log: {execution.log_path(step.name)}")
        return attempt.outputs


class SequentialPlugin(RunnerPlugin):
    """What the distribution provides: the runner and its one option."""

    name = "sequential"
    runs_on_this_machine = True

    def create_runner(
        self, store: Store, *, observer: RunObserver, jobs: int | None = None, options: RunnerOptions | None = None
    ) -> Runner:
        del jobs  # one step at a time
        own = options if isinstance(options, SequentialOptions) else SequentialOptions()
        return SequentialRunner(store, observer=observer, options=own)

    def command_options(self, command: str) -> Sequence[click.Parameter]:
        if command != "run":
            return ()
        return (
            click.Option(["--pause", "pause_s"], type=float, default=0.0, help="Seconds to wait before each step."),
        )

    def read_options(self, values: Mapping[str, object]) -> SequentialOptions:
        return SequentialOptions(pause_s=float(str(values.get("pause_s", 0.0))))


PLUGIN = SequentialPlugin()
