"""Executing a pipeline step by step under observation, in chosen surroundings.

Each step gets exactly what it declares, in folders that lie apart, and nothing else of the run is beside them. What
it touched is sorted here into what it declared and what it did not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from mlops_core.pipeline import DATASET
from mlops_core.steps.observation import SYSTEM_FOLDERS, code_folders, is_cache
from mlops_core.testing.observation.processes import Call
from mlops_core.testing.observation.trees import differences, is_below, set_writable, tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from mlops_core.pipeline import Step
    from mlops_core.runners.request import RunRequest
    from mlops_core.steps.context import StepRequest
    from mlops_core.testing.observation.processes import Answer, Caller

_LOCAL_ADDRESSES = ("unix:", "127.", "::1:", "localhost:")


class Surrounding(StrEnum):
    """Surroundings that may differ from one execution to the next and must not change a result."""

    WORKING_DIRECTORY = "working_directory"
    LOCALE = "locale"
    TIME_ZONE = "time_zone"
    HASH_SEED = "hash_seed"
    LISTING_ORDER = "listing_order"
    FOLDER_NAMES = "folder_names"
    READ_ONLY_INPUTS = "read_only_inputs"


_STARTUP = {
    Surrounding.LOCALE: {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    Surrounding.HASH_SEED: {"PYTHONHASHSEED": "4711"},
}
# A POSIX time zone needs no data base on the machine: 12 h 45 min east of Greenwich.
_ENVIRON = {Surrounding.TIME_ZONE: {"TZ": "KIT-12:45"}}


_OBSERVED = ("events", "sections", "parameters", "inputs", "code", "packages")
"""Keys of the answer of an execution under observation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedStep:
    """One execution of one step.

    Attributes:
        name: the step's.
        error: why it failed; empty when it did not.
        outputs: output -> its folder.
        reads: files and folders read that it does not declare.
        writes: files written that it does not declare.
        configuration_reads: configuration files that it read by itself.
        connections: addresses other than this machine's.
        opened: the declared inputs that it asked for, or in which it read or listed something.
        sections: configuration sections that it asked for.
        parameters: parameters that it read.
        changed_inputs: differences in its inputs afterwards, one phrase per file.
        packages: top-level names that it had imported.
        is_confined: it could write nowhere else, where the surroundings ask for it.
        has_left_processes: it ended and something that it had started did not.
        progress: what it reported.
        duration_s: seconds that its code took, without the start of its process.
        log: its output.
    """

    name: str
    error: str
    outputs: Mapping[str, Path]
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    configuration_reads: tuple[str, ...] = ()
    connections: tuple[str, ...] = ()
    opened: frozenset[str] = frozenset()
    sections: frozenset[str] = frozenset()
    parameters: frozenset[str] = frozenset()
    changed_inputs: tuple[str, ...] = ()
    packages: frozenset[str] = frozenset()
    is_confined: bool = False
    has_left_processes: bool = False
    progress: tuple[Mapping[str, Any], ...] = ()
    duration_s: float = 0.0
    log: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One execution of a pipeline; steps after a failed one are not in it."""

    steps: Mapping[str, ObservedStep]

    @property
    def failed(self) -> ObservedStep | None:
        """The step that failed."""
        return next((step for step in self.steps.values() if step.error), None)

    def trees(self) -> dict[str, dict[str, str]]:
        """Return ``step.output`` -> its tree."""
        return {
            f"{name}.{output}": tree(folder)
            for name, step in self.steps.items()
            if not step.error
            for output, folder in step.outputs.items()
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One execution of a whole pipeline.

    Attributes:
        request: the run.
        dataset: folder of the data.
        place: where it happens; the folder must not exist.
        kept: to which place is moved when it is done.
        root: below it lies everything of the kit, which no step may read unless it is declared.
        configuration: files that no step may read by itself.
        timeout_s: of each step.
        surroundings: what is different.
        packages: foreign packages that are imported before the steps; none for an observation from the start.
        given: step -> its outputs, for steps that are not executed.
        last: the step after which it ends; empty for the last of the pipeline.
    """

    request: RunRequest
    dataset: Path
    place: Path
    kept: Path
    root: Path
    configuration: tuple[Path, ...]
    timeout_s: float
    surroundings: frozenset[Surrounding] = field(default_factory=frozenset)
    packages: tuple[str, ...] = ()
    given: Mapping[str, Mapping[str, Path]] = field(default_factory=dict)
    last: str = ""

    def carry_out(self, processes: Caller) -> Trace:
        """Execute every step, until one fails."""
        folders: dict[str, Path] = {DATASET: self.dataset}
        found: dict[str, ObservedStep] = {}
        self.place.mkdir(parents=True)
        for number, step in enumerate(self.request.pipeline.ordered()):
            if step.name in self.given:
                folders |= {f"{step.name}.{output}": path for output, path in self.given[step.name].items()}
                continue
            outputs = self._prepare(step)
            inputs = {name: folders[reference] for name, reference in step.inputs.items()}
            observed = self._execute(processes, replace(step, shards=1), inputs, outputs, f"{number}-{step.name}")
            found[step.name] = observed
            if observed.error or step.name == self.last:
                break
            folders |= {f"{step.name}.{output}": folder for output, folder in outputs.items()}
        self.place.rename(self.kept)
        return Trace(steps={name: self._moved(step) for name, step in found.items()})

    def _prepare(self, step: Step) -> dict[str, Path]:
        outputs = {output: self.place / "artifacts" / f"{step.name}.{output}" for output in step.all_outputs}
        for folder in outputs.values():
            folder.mkdir(parents=True)
        return outputs

    def _moved(self, step: ObservedStep) -> ObservedStep:
        outputs = {name: self.kept / path.relative_to(self.place) for name, path in step.outputs.items()}
        return replace(step, outputs=outputs)

    def _execute(
        self, processes: Caller, step: Step, inputs: Mapping[str, Path], outputs: Mapping[str, Path], name: str
    ) -> ObservedStep:
        folder = self.place / "steps" / name
        scratch = folder / "scratch"
        scratch.mkdir(parents=True)
        (folder / "request.json").write_text(
            json.dumps(step_request(self.request, step, inputs=inputs, outputs=outputs, folder=folder).to_json()),
            encoding="utf-8",
        )
        is_read_only = Surrounding.READ_ONLY_INPUTS in self.surroundings
        before = {local: tree(path) for local, path in inputs.items()}
        for path in inputs.values():
            set_writable(path, is_writable=not is_read_only)
        answer = processes.call(self._call(folder, writable=(*outputs.values(), folder)))
        for path in inputs.values():
            set_writable(path, is_writable=True)
        changed = [
            f"input '{local}': {phrase}"
            for local, path in inputs.items()
            for phrase in differences(before[local], tree(path))
        ]
        return self._observed(step, answer, inputs=inputs, outputs=outputs, folder=folder, changed=changed)

    def _call(self, folder: Path, *, writable: Iterable[Path]) -> Call:
        cwd = folder / "scratch"
        if Surrounding.WORKING_DIRECTORY in self.surroundings:
            cwd = folder / "elsewhere"
            cwd.mkdir()
        own = folder / "call"
        own.mkdir()
        return Call(
            function="mlops_core.testing.inside.steps:execute",
            arguments={
                "request": str(folder / "request.json"),
                "surroundings": sorted(self.surroundings),
                "writable": [str(path) for path in writable],
            },
            folder=own,
            cwd=cwd,
            startup=_merged(_STARTUP, self.surroundings),
            environ={"TMPDIR": str(folder / "scratch"), **_merged(_ENVIRON, self.surroundings)},
            timeout_s=self.timeout_s,
            packages=self.packages,
        )

    def _observed(
        self,
        step: Step,
        answer: Answer,
        *,
        inputs: Mapping[str, Path],
        outputs: Mapping[str, Path],
        folder: Path,
        changed: Iterable[str],
    ) -> ObservedStep:
        found = answer.result or dict.fromkeys(_OBSERVED, ())
        events = [(kind, subject) for kind, subject in found["events"]]
        looked = [subject for kind, subject in events if kind in ("read", "list")]
        configuration = {str(path) for path in self.configuration}
        own = [str(path) for path in (*outputs.values(), folder)]
        known = [*own, *(str(path) for path in inputs.values())]
        return ObservedStep(
            name=step.name,
            error=answer.error or (found["error"] if found.get("exit_code") else ""),
            outputs=outputs,
            reads=tuple(
                path
                for path in looked
                if path not in configuration and not is_below(path, known) and not self._is_code(path, found["code"])
            ),
            writes=tuple(
                path for kind, path in events if kind == "write" and not is_below(path, own) and not is_cache(path)
            ),
            configuration_reads=tuple(path for path in looked if path in configuration),
            connections=tuple(
                subject for kind, subject in events if kind == "connect" and not subject.startswith(_LOCAL_ADDRESSES)
            ),
            # Asking for the folder is enough: a decoder written in C opens files that no hook sees.
            opened=frozenset(found["inputs"])
            | {name for name, path in inputs.items() if any(is_below(subject, [str(path)]) for subject in looked)},
            sections=frozenset(found["sections"]),
            parameters=frozenset(found["parameters"]),
            changed_inputs=tuple(changed),
            packages=frozenset(found["packages"]),
            is_confined=bool(found.get("is_confined")),
            has_left_processes=answer.has_left_processes,
            progress=_progress(folder / "progress.jsonl"),
            duration_s=found.get("duration_s", 0.0),
            log=answer.log,
        )

    def _is_code(self, path: str, packages: Iterable[str]) -> bool:
        """Tell whether a file belongs to Python, to an installed distribution or to the system, not to the run."""
        if is_below(path, [str(self.root)]):
            return False
        return is_cache(path) or is_below(path, (*SYSTEM_FOLDERS, *code_folders(), *packages))


def step_request(
    request: RunRequest, step: Step, *, inputs: Mapping[str, Path], outputs: Mapping[str, Path], folder: Path
) -> StepRequest:
    """Return the request of a step of a run, for an execution in `folder`."""
    from mlops_core.steps.context import StepRequest
    from mlops_core.use_cases.searches import draws_values

    sections = request.config.sections()
    metrics = request.pipeline.metrics if step.computes_metrics or step.search else ()
    return StepRequest(
        use_case=request.use_case.name,
        step=step,
        config={name: sections[name] for name in step.config},
        whole_config=sections if draws_values(step) else None,
        parameters={name: request.parameters[name] for name in step.parameters},
        seed=request.seed,
        inputs=inputs,
        outputs=outputs,
        scratch=folder / "scratch",
        progress_file=folder / "progress.jsonl",
        metrics=tuple(metric.to_json() for metric in metrics),
    )


def _merged(table: Mapping[Surrounding, Mapping[str, str]], chosen: Iterable[Surrounding]) -> dict[str, str]:
    return {name: value for item in sorted(chosen) for name, value in table.get(item, {}).items()}


def _progress(path: Path) -> tuple[Mapping[str, Any], ...]:
    if not path.is_file():
        return ()
    return tuple(json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
