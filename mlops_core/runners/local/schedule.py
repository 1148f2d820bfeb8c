"""The order in which steps are executed: each as soon as its inputs exist and a process is free.

What it means to reuse, start or end a step is the run's business (`mlops_core.runners.local.runner`); what happens in a
process is that of `mlops_core.runners.local.execution`.
"""

from __future__ import annotations

import graphlib
import time
from collections import Counter, defaultdict, deque
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Protocol

from mlops_core.errors import ExitCode
from mlops_core.workspace.searches.notes import STOPPED_BY_TIME

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from mlops_core.pipeline import Step
    from mlops_core.runners.local.execution import Attempt, StepExecution, StepInput
    from mlops_core.runners.request import RunRequest

_IMPORTED_AHEAD = 2
"""Number of module sets that are imported ahead while a step runs; each takes memory."""


class ScheduledRun(Protocol):
    """The run that a schedule serves; all calls come from one thread."""

    @property
    def request(self) -> RunRequest:
        """The request of the run."""

    def is_reused(self, step: Step) -> bool:
        """Decide whether a step whose inputs are known is executed or reused; a reused step has ended."""

    def start(self, step: Step) -> dict[str, StepInput]:
        """Record the start of a step and return its inputs."""

    def progress(self, step: str, label: str, done: int, total: int) -> None:
        """Report the progress of a step; called from any thread."""

    def is_step_done(self, step: Step, attempt: Attempt, *, log: Path) -> bool:
        """Record the result of a step and return whether it succeeded."""

    def give_up_damaged(self, step: Step, damaged: Mapping[str, str]) -> Step:
        """Discard one damaged artifact that `step` reads; return the step that wrote it."""

    def stop(self, step: Step, *, error: str = "") -> None:
        """Record that a step was cancelled."""

    def skip(self, step: Step, *, because: str) -> None:
        """Record that a trial was not started."""

    def is_search_lost(self, step: Step) -> bool:
        """Decide whether a step selects among trials of which none has a result; it has failed then."""


def import_ahead(execution: StepExecution, steps: Iterable[Step]) -> None:
    """Start importing the modules of the next steps."""
    begun = set()
    for step in steps:
        modules = execution.modules(step)
        if modules not in begun:
            begun.add(modules)
            execution.prepare(step)
        if len(begun) >= _IMPORTED_AHEAD:
            return


class Schedule:
    """Executes each step as soon as its inputs exist and a process is free."""

    def __init__(self, run: ScheduledRun, execution: StepExecution, *, jobs: int) -> None:
        self._run = run
        self._execution = execution
        self._jobs = jobs
        self._pipeline = run.request.pipeline
        self._by_name = {step.name: step for step in self._pipeline.ordered()}
        self._position = {name: position for position, name in enumerate(self._by_name)}
        self._sorter = graphlib.TopologicalSorter({name: step.needs for name, step in self._by_name.items()})
        self._awaited = Counter(execution.modules(step) for step in self._by_name.values())
        self._first = {execution.modules(step): step for step in reversed(self._by_name.values())}
        self._queue: deque[Step] = deque()
        self._running: dict[Future[Attempt], Step] = {}
        self._blocked: defaultdict[str, list[Step]] = defaultdict(list)
        self._deadlines: dict[str, float] = {}
        self._has_failed = False

    def carry_out(self) -> None:
        """Execute all selected steps until one fails.

        Raises:
            KeyboardInterrupt: after all processes were ended.
        """
        self._sorter.prepare()
        with ThreadPoolExecutor(max_workers=self._jobs, thread_name_prefix="step") as pool:
            try:
                self._take_ready()
                while self._queue or self._running:
                    if self._drop_late_trials():
                        self._take_ready()
                        continue
                    self._start(pool)
                    if not self._running:
                        break
                    done, _ = wait(self._running, return_when=FIRST_COMPLETED)
                    for future in done:
                        self._ended(self._running.pop(future), future.result())
                    self._take_ready()
            except BaseException:
                self._stop()
                raise

    def _take_ready(self) -> None:
        """Reuse each step whose inputs exist, or queue it."""
        selection = self._run.request.selection
        while names := sorted(self._sorter.get_ready(), key=self._position.__getitem__):
            for name in names:
                step = self._by_name[name]
                if selection.is_left_out(name, self._pipeline):
                    continue
                if self._run.is_search_lost(step):
                    self._has_failed = True
                elif self._run.is_reused(step):
                    self._count_down(step)
                    self._sorter.done(name)
                else:
                    self._queue.append(step)

    def _start(self, pool: ThreadPoolExecutor) -> None:
        keep_going = self._run.request.selection.keep_going
        while len(self._running) < self._jobs and (keep_going or not self._has_failed):
            step = next(filter(self._may_start, self._queue), None)
            if step is None:
                return
            self._queue.remove(step)
            deadline = self._deadline(step)
            inputs = self._run.start(step)

            def on_progress(label: str, done: int, total: int, name: str = step.name) -> None:
                self._run.progress(name, label, done, total)

            execute = self._execution.execute
            future = pool.submit(execute, step, inputs=inputs, on_progress=on_progress, deadline=deadline)
            self._running[future] = step
            self._import_ahead(step)

    def _may_start(self, step: Step) -> bool:
        """Tell whether fewer trials of its search are running than may run at a time."""
        if step.tuning is None or step.trial is None:
            return True
        running = sum(each.trial is not None and each.search == step.search for each in self._running.values())
        return running < step.tuning.concurrent

    def _deadline(self, step: Step) -> float | None:
        """Return when the search of a trial ends; it begins with the first trial that is started."""
        if step.tuning is None or step.trial is None:
            return None
        return self._deadlines.setdefault(step.search, time.monotonic() + step.tuning.timeout_s)

    def _is_late(self, step: Step) -> bool:
        return step.trial is not None and time.monotonic() >= self._deadlines.get(step.search, float("inf"))

    def _drop_late_trials(self) -> bool:
        """Give up the trials that wait although the time of their search is over."""
        late = [step for step in self._queue if self._is_late(step)]
        for step in late:
            self._queue.remove(step)
            self._run.skip(step, because=STOPPED_BY_TIME)
            self._forget(step)
            self._sorter.done(step.name)
        return bool(late)

    def _import_ahead(self, step: Step) -> None:
        """Import the modules of the next steps while `step` runs, once per set of modules."""
        own = self._execution.modules(step)
        import_ahead(self._execution, (self._first[modules] for modules in self._awaited if modules != own))

    def _ended(self, step: Step, attempt: Attempt) -> None:
        if attempt.damaged:
            self._run_again_what_wrote(step, attempt.damaged)
            return
        if attempt.outcome.exit_code is not ExitCode.OK and self._is_late(step):
            self._run.stop(step, error=f"{STOPPED_BY_TIME} after {attempt.duration_s:.0f} s")
        elif not self._run.is_step_done(step, attempt, log=self._execution.log_path(step.name)) and step.trial is None:
            self._has_failed = True
            return
        self._forget(step)
        waiting = self._blocked.pop(step.name, None)
        if waiting is None:
            self._sorter.done(step.name)
            return
        for follower in waiting:  # decided again: the output may be different now
            if self._run.is_reused(follower):
                self._sorter.done(follower.name)
            else:
                self._queue.append(follower)

    def _forget(self, step: Step) -> None:
        """Release the modules of this step unless a later one needs them."""
        if self._count_down(step) == 0:
            self._execution.release(step)

    def _count_down(self, step: Step) -> int:
        """Return how many steps still need the modules of this one."""
        modules = self._execution.modules(step)
        self._awaited[modules] -= 1
        if self._awaited[modules] > 0:
            return self._awaited[modules]
        del self._awaited[modules]
        return 0

    def _run_again_what_wrote(self, step: Step, damaged: Mapping[str, str]) -> None:
        writer = self._run.give_up_damaged(step, damaged)
        is_new = writer.name not in self._blocked
        self._blocked[writer.name].append(step)
        if is_new and not self._run.is_reused(writer):
            self._queue.appendleft(writer)

    def _stop(self) -> None:
        """Kill the running steps and wait for their end."""
        self._execution.cancel()
        wait(self._running)
        for step in self._running.values():
            self._run.stop(step)
