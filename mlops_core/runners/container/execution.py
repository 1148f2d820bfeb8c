"""Executes a step, one shard of it or a merge inside a container of any engine.

`run_container` reads the request from the command's arguments (`mlops_core.runners.container.request`), executes the
step with its retries and limits, publishes the outputs and, for an evaluation, writes the verdict. Where files are and
how a message reaches the engine is the engine's own: it passes a `ContainerSite`.

**Inputs**: an input may arrive as one ``tar.gz``; the request's ``packed`` names it and the folder within, and it is
unpacked here. The data set is an input like any other.

**Outputs** appear when the step has succeeded, never half. The container of an evaluation has one more, ``gate``, with
an ``evaluation.json`` in which every declared metric has a finite ``value`` and ``usable`` 1 or 0, so that an engine's
own condition can read it; ``verdict`` in it is what `mlops_core.gates.gate.Gate` returns.

**Shards**: every instance sees the whole input (or, where the request has ``sharded_inputs``, its share of the files)
and writes below ``<output>/<index, 4 digits>/``, so that no instance overwrites another's files; a second container
merges them, reading them as the inputs ``<output>.parts``.

**Retries and limits** are kept here as in a local run (`mlops_core.runners.local.processes`).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tarfile
import threading
import time
import traceback
from typing import TYPE_CHECKING, Protocol

from mlops_core.datasets.fetching.archives import DAMAGED
from mlops_core.errors import ConfigError, ExitCode, MlopsError, RunnerError
from mlops_core.pipeline import EVALUATION_OUTPUT, PREDICTIONS_OUTPUT
from mlops_core.runners.container.request import (
    CHAMPION_INPUT,
    GATE_OUTPUT,
    ContainerOrder,
    Part,
    code_digest,
    read_order,
)
from mlops_core.steps.context import Shard, StepRequest
from mlops_core.use_cases.searches import trial_step

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mlops_core.gates.evidence import GateEvidence
    from mlops_core.runners.container.request import ContainerRequest
    from mlops_core.runners.local.processes import ProcessOutcome, StepProcesses

PARTS_SUFFIX = ".parts"
"""Suffix of the input from which a merge reads one output of all shards."""
_BACKOFF_S = (1.0, 5.0, 15.0, 30.0)


def part_folder(index: int) -> str:
    """Return the folder of the shard `index` within an output."""
    return f"{index:04d}"


class ContainerLayout(Protocol):
    """The folders of one container."""

    @property
    def work(self) -> Path:
        """Folder for everything that is not an output, on the same volume as the outputs, so that these are renamed."""

    def input(self, name: str) -> Path:
        """Return the folder of an input."""

    def output(self, name: str) -> Path:
        """Return the folder of an output."""

    def shard(self) -> Shard:
        """Return which instance this is.

        Raises:
            RunnerError: the engine does not say.
        """


class ContainerSite(Protocol):
    """A container as its engine sets it up."""

    def layout(self, request: ContainerRequest) -> ContainerLayout:
        """Return the folders for a request."""

    def report(self, message: str, *, is_failure: bool) -> None:
        """Write one line where the engine reads the outcome; never raise."""


def run_container(arguments: Sequence[str], site: ContainerSite) -> int:
    """Execute a container's command and return its exit code."""
    try:
        order = read_order(arguments)
        _Container(order, site=site).run()
    except MlopsError as error:
        return _failed(site, error.exit_code, str(error))
    except KeyboardInterrupt:
        return _failed(site, ExitCode.INTERRUPTED, "interrupted")
    except Exception as error:  # noqa: BLE001  the outermost function: the reason must reach the engine
        traceback.print_exc()
        return _failed(site, ExitCode.DEFECT, f"defect in mlops: {type(error).__name__}: {error}")
    return ExitCode.OK


def _failed(site: ContainerSite, code: ExitCode, message: str) -> int:
    print(f"mlops: error: {message}", file=sys.stderr, flush=True)  # noqa: T201  the container's log
    site.report(message, is_failure=True)
    return code


class _Container:
    """One execution of a step, of a shard, or of a merge."""

    def __init__(self, order: ContainerOrder, *, site: ContainerSite) -> None:
        self._order = order
        self._request = order.request
        step = order.request.step
        self._step = step if order.trial is None else trial_step(step, order.trial)
        self._site = site
        self._places = site.layout(order.request)
        self._inputs: dict[str, Path] = {}

    def run(self) -> None:
        """Execute, publish the outputs and, for an evaluation, write the verdict.

        Raises:
            MlopsError: it failed; nothing was published.
        """
        self._check_code()
        shard = self._places.shard()
        shutil.rmtree(self._places.work, ignore_errors=True)
        outputs = self._execute(shard)
        self._publish(outputs, shard)
        if self._request.gate:
            self._write_verdict()
        shutil.rmtree(self._places.work, ignore_errors=True)

    def _check_code(self) -> None:
        if not self._order.code:
            return
        from mlops_core.steps.source_code import CodeIndex
        from mlops_core.use_cases.manager import load_use_case

        found = code_digest(load_use_case(self._request.use_case), self._step, code=CodeIndex())
        if found != self._order.code:
            raise RunnerError(
                f"step '{self._step.name}': this image contains other code ({found[:12]}) than the definition was "
                f"compiled from ({self._order.code[:12]}); rebuild and push the image, or compile its code"
            )

    # --- Executing ----------------------------------------------------------------------------------------

    def _execute(self, shard: Shard) -> dict[str, Path]:
        """Return output -> folder after as many attempts as the step allows."""
        from mlops_core.runners.local.processes import StepProcesses

        inputs = self._inputs = {name: self._input(name) for name in self._step.inputs}
        parts = self._parts() if self._request.part is Part.MERGE else {}
        resources = self._step.resources
        with StepProcesses() as processes:
            for attempt in range(1, resources.retries + 2):
                folder = self._places.work / f"attempt-{attempt}"
                request = self._step_request(folder, shard=shard, inputs=inputs, parts=parts)
                outcome = _run(processes, request, folder=folder)
                if outcome.exit_code is ExitCode.OK:
                    return {name: request.outputs[name] for name in request.outputs}
                shutil.rmtree(folder, ignore_errors=True)
                if outcome.exit_code is ExitCode.INTERRUPTED or attempt > resources.retries:
                    break
                wait_s = _BACKOFF_S[min(attempt, len(_BACKOFF_S)) - 1]
                print(f"attempt {attempt} failed: {outcome.error}; the next in {wait_s:g} s", flush=True)  # noqa: T201
                time.sleep(wait_s)
        raise _failure(self._step.name, outcome)

    def _step_request(
        self, folder: Path, *, shard: Shard, inputs: dict[str, Path], parts: dict[str, tuple[Path, ...]]
    ) -> StepRequest:
        is_shard = self._request.part is Part.SHARD
        names = self._step.outputs if is_shard else self._step.all_outputs
        outputs = {name: folder / "outputs" / name for name in names}
        scratch = folder / "scratch"
        for path in (scratch, *outputs.values()):
            path.mkdir(parents=True)
        return StepRequest(
            use_case=self._request.use_case,
            step=self._step,
            config=self._request.config,
            parameters=self._order.parameters,
            seed=self._order.seed,
            shard=Shard() if self._request.sharded_inputs else shard,
            inputs=inputs,
            outputs=outputs,
            scratch=scratch,
            progress_file=folder / "progress.jsonl",
            is_trained=self._request.is_trained,
            metrics=tuple(metric.to_json() for metric in self._request.metrics),
            parts={
                name: tuple(_copied(path, folder / "parts" / name / path.name) for path in paths)
                for name, paths in parts.items()
            },
        )

    # --- Files --------------------------------------------------------------------------------------------

    def _input(self, name: str) -> Path:
        folder = self._places.input(name)
        if not folder.is_dir():
            raise RunnerError(f"step '{self._step.name}': input '{name}' is not at {folder}")
        if name not in self._request.packed:
            return folder
        return self._unpacked(name, folder) / self._request.packed[name]

    def _unpacked(self, name: str, folder: Path) -> Path:
        archives = sorted(folder.rglob("*.tar.gz"))
        if len(archives) != 1:
            raise RunnerError(
                f"step '{self._step.name}': input '{name}' should hold one tar.gz, {folder} holds {len(archives)}"
            )
        target = self._places.work / "unpacked" / name
        target.mkdir(parents=True)
        try:
            with tarfile.open(archives[0]) as archive:
                archive.extractall(target, filter="data")
        except (*DAMAGED, OSError) as error:
            raise RunnerError(f"step '{self._step.name}': {archives[0]} cannot be unpacked: {error}") from error
        return target

    def _parts(self) -> dict[str, tuple[Path, ...]]:
        parts = {}
        for output in self._step.outputs:
            folder = self._input(f"{output}{PARTS_SUFFIX}")
            found = tuple(folder / part_folder(index) for index in range(self._step.shards))
            missing = [path.name for path in found if not path.is_dir()]
            if missing:
                raise RunnerError(
                    f"step '{self._step.name}': the shards {', '.join(missing)} left nothing of '{output}' in {folder}"
                )
            parts[output] = found
        return parts

    def _publish(self, outputs: dict[str, Path], shard: Shard) -> None:
        for name, folder in outputs.items():
            target = self._places.output(name)
            if self._request.part is Part.SHARD:
                target /= part_folder(shard.index)
            target.mkdir(parents=True, exist_ok=True)
            for path in folder.iterdir():
                shutil.move(path, target / path.name)

    # --- The verdict --------------------------------------------------------------------------------------

    def _write_verdict(self) -> None:
        from mlops_core.runners.container.verdict import gate_evaluation, verdict_message

        folder = self._places.output(EVALUATION_OUTPUT)
        data = gate_evaluation(folder, self._request, self._order.gate_parameters, evidence=self._evidence())
        target = self._places.output(GATE_OUTPUT)
        target.mkdir(parents=True, exist_ok=True)
        text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        (target / "evaluation.json").write_text(text, encoding="utf-8")
        message = verdict_message(data["verdict"])
        print(message, flush=True)  # noqa: T201  the container's log
        self._site.report(message, is_failure=False)

    def _evidence(self) -> GateEvidence | None:
        """Return what the gate rests on beyond the metrics; None for a gate that rests on them alone."""
        assert self._request.gate is not None  # noqa: S101  for mypy: the caller asks for it first
        gate = self._request.gate.gate
        if not gate.needs_predictions:
            return None
        from mlops_core.runners.evidence import gate_evidence, read_champion
        from mlops_core.use_cases.manager import load_use_case

        return gate_evidence(
            self._places.output(PREDICTIONS_OUTPUT),
            metrics=self._request.metrics,
            compute=load_use_case(self._request.use_case).compute_metrics,
            inputs=self._inputs.values(),
            champion=read_champion(self._input(CHAMPION_INPUT)) if gate.needs_champion else None,
        )


def _copied(folder: Path, target: Path) -> Path:
    """Return a copy of a folder from which a merge may move files, so that the next attempt has them all.

    Hard links would not do: a file that a merge moves into its output would be a second name of an input file.
    """
    return shutil.copytree(folder, target, copy_function=shutil.copyfile)


def _run(processes: StepProcesses, request: StepRequest, *, folder: Path) -> ProcessOutcome:
    with _log_to_stdout(folder / "log") as log:
        return processes.run(request, folder=folder, log=log, on_progress=_print_progress)


def _print_progress(label: str, done: int, total: int) -> None:
    print(f"{label} {done}/{total}", flush=True)  # noqa: T201  the container's log


@contextlib.contextmanager
def _log_to_stdout(pipe: Path) -> Iterator[Path]:
    """Provide a named pipe whose content is copied to standard output immediately: that is the container's log."""
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reading, True)
    writing = os.open(pipe, os.O_WRONLY)  # held open, so that the reader does not end between two writers
    copying = threading.Thread(target=_copy, args=(reading,), name="log", daemon=True)
    copying.start()
    try:
        yield pipe
    finally:
        os.close(writing)
        copying.join(timeout=5)


def _copy(reading: int) -> None:
    while chunk := os.read(reading, 1 << 16):
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            os.write(1, chunk)
    os.close(reading)


def _failure(step: str, outcome: ProcessOutcome) -> MlopsError:
    from mlops_core.errors import DatasetError, PluginError, StepError

    message = f"step '{step}' failed: {outcome.error}"
    if outcome.exit_code is ExitCode.USAGE:
        return ConfigError(message)
    kind = {ExitCode.DATASET: DatasetError, ExitCode.PLUGIN: PluginError}.get(outcome.exit_code, StepError)
    return kind(message)
