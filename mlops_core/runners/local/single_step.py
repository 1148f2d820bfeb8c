"""One step by hand: a step of a use case, executed on given folders, without run, workspace, cache and retries."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.errors import (
    DatasetError,
    ExitCode,
    MlopsError,
    PipelineError,
    PluginError,
    StepError,
    UsageError,
    did_you_mean,
)
from mlops_core.pipeline import DATASET
from mlops_core.runners.local.processes import StepProcesses, module_of
from mlops_core.steps.context import StepRequest
from mlops_core.steps.packages import require_packages
from mlops_core.use_cases.searches import draws_values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mlops_core.pipeline import Step
    from mlops_core.runners.local.processes import ProcessOutcome
    from mlops_core.runners.request import RunRequest

_KINDS: Mapping[ExitCode, type[MlopsError]] = {ExitCode.DATASET: DatasetError, ExitCode.PLUGIN: PluginError}


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleStep:
    """A step and the folders that it is executed on.

    Attributes:
        step: the step, as one process; the outputs of a sharded step do not depend on the number of its shards.
        inputs: local name -> folder, one for each input.
        outputs: output -> folder that does not exist, or is empty; one for each output, those that core adds included.
    """

    step: Step
    inputs: Mapping[str, Path]
    outputs: Mapping[str, Path]


def find_single_step(
    request: RunRequest, name: str, *, inputs: Mapping[str, Path], outputs: Mapping[str, Path]
) -> SingleStep:
    """Return the step called `name` with its folders, all of them checked.

    Raises:
        DatasetError: an input is no folder.
        PluginError: a distribution that it needs is not installed.
        UsageError: there is no such step; a folder is missing, superfluous, not empty, or given twice.
    """
    try:
        step = replace(request.pipeline.step(name), shards=1)
    except PipelineError as error:
        raise UsageError(str(error)) from None
    optional = {local for local in step.inputs if step.may_lack(local)}
    _require_all(step, "input", given=inputs, wanted=step.inputs, optional=optional)
    _require_all(step, "output", given=outputs, wanted=dict.fromkeys(step.all_outputs, ""))
    for local, folder in inputs.items():
        if not folder.is_dir():
            raise DatasetError(f"step '{name}': input '{local}' is not a folder: {folder}")
    for output, folder in outputs.items():
        if folder.is_symlink() or (folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))):
            raise UsageError(f"step '{name}': output '{output}' exists: {folder}; give a new or an empty folder")
    _require_apart(name, inputs, outputs)
    require_packages((step,))
    return SingleStep(step=step, inputs=inputs, outputs=outputs)


def execute_single_step(
    request: RunRequest, single: SingleStep, *, log: Path, on_progress: Callable[[str, int, int], None]
) -> ProcessOutcome:
    """Execute a step in a process of its own, as a run does, and put its outputs into their folders.

    Args:
        request: the use case with its configuration.
        single: the step and its folders.
        log: file to which the step's output and errors are appended.
        on_progress: called with (label, done, total).

    Returns:
        how it ended, with the warnings.

    Raises:
        MlopsError: it failed; no output folder was changed.
    """
    step = single.step
    place = next(iter(single.outputs.values())).absolute().parent
    place.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{step.name}-", dir=place))
    try:
        order = _order(request, single, folder)
        modules: tuple[str, ...] = (module_of(step.run),)
        if step.computes_metrics:
            modules = (*modules, "mlops_core.use_cases.manager", module_of(request.use_case.installed.target))
        with StepProcesses() as processes:
            outcome = processes.run(
                order,
                folder=folder,
                log=log,
                on_progress=on_progress,
                modules=modules,
                redactor=request.config.redactor(),
            )
        if outcome.exit_code is ExitCode.INTERRUPTED:
            raise KeyboardInterrupt
        if outcome.exit_code is not ExitCode.OK:
            kind = _KINDS.get(outcome.exit_code, StepError)
            raise kind(f"step '{step.name}' failed: {outcome.error}")
        _publish_all(order.outputs, single)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


def _order(request: RunRequest, single: SingleStep, folder: Path) -> StepRequest:
    step = single.step
    sections = request.config.sections()
    metrics = request.pipeline.metrics if step.computes_metrics or step.search else ()
    outputs = {name: folder / "outputs" / name for name in single.outputs}
    for path in (folder / "scratch", *outputs.values()):
        path.mkdir(parents=True)
    return StepRequest(
        use_case=request.use_case.name,
        step=step,
        config={name: sections[name] for name in step.config},
        whole_config=sections if draws_values(step) else None,
        parameters={name: request.parameters[name] for name in step.parameters},
        seed=request.seed,
        inputs={name: path.absolute() for name, path in single.inputs.items()},
        outputs=outputs,
        scratch=folder / "scratch",
        progress_file=folder / "progress.jsonl",
        metrics=tuple(metric.to_json() for metric in metrics),
        is_trained=request.pipeline.is_trained,
    )


def _require_all(
    step: Step,
    what: str,
    *,
    given: Mapping[str, Path],
    wanted: Mapping[str, str],
    optional: set[str] | frozenset[str] = frozenset(),
) -> None:
    for name in given:
        if name not in wanted:
            known = f"; {what}s: {', '.join(wanted) or 'none'}"
            raise UsageError(f"step '{step.name}' has no {what} '{name}'{did_you_mean(name, wanted) or known}")
    missing = [name for name in wanted if name not in given and name not in optional]
    if missing:
        meanings = (f"{name}, which is {_meaning(wanted[name])}" if wanted[name] else name for name in missing)
        options = " ".join(f"--{what} {name}=FOLDER" for name in missing)
        raise UsageError(f"step '{step.name}' needs the {what} {'; '.join(meanings)}: {options}")


def _meaning(reference: str) -> str:
    return "the data set" if reference == DATASET else f"the output {reference}"


def _require_apart(name: str, inputs: Mapping[str, Path], outputs: Mapping[str, Path]) -> None:
    """Refuse an output in, above or equal to another folder of the step, which one of them would change."""
    others = [(f"input '{local}'", folder.resolve()) for local, folder in inputs.items()]
    for output, folder in outputs.items():
        place = folder.resolve()
        for what, other in others:
            if place == other or place in other.parents or other in place.parents:
                raise UsageError(f"step '{name}': output '{output}' and {what} share {folder}; give separate folders")
        others.append((f"output '{output}'", place))


def _publish_all(made: Mapping[str, Path], single: SingleStep) -> None:
    """Move the content of each output into its folder, which may be a mounted one and cannot be replaced then."""
    moved: list[Path] = []
    try:
        for name, target in single.outputs.items():
            target.mkdir(parents=True, exist_ok=True)
            for path in made[name].iterdir():
                moved.append(target / path.name)
                shutil.move(path, moved[-1])
    except OSError as error:
        for path in moved:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        raise StepError(f"step '{single.step.name}': its outputs cannot be written: {error}") from error
