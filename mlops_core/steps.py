"""Executing one step: `StepContext`, which a step's function is given, and `execute`, which every engine calls.

A `StepRequest` says everything that a step may see; it crosses a process or a machine as JSON. A local worker
(``python -m mlops_core.steps request.json``) and a container (``entrypoints/run_step.py``) call the same
`execute`, so a step cannot tell where it runs. An engine only moves files and starts the process.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mlops_core.code_references import load_function
from mlops_core.errors import ExitCode, MlopsError, StepError, did_you_mean
from mlops_core.file_digests import find_foreign_entry
from mlops_core.pipeline import EVALUATION_OUTPUT, PREDICTIONS_OUTPUT, Step, StepKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pydantic

    from mlops_core.pipeline import ParameterValue

    M = TypeVar("M", bound=pydantic.BaseModel)

STEP_PROTOCOL_VERSION = 2
"""Raised when the way in which a step is executed changes what it may write; part of every step's key."""
TEST_SET_NOTE = "test_set"
"""The note of an evaluation that holds the digest of samples and labels: models are compared on equal ones only."""
_PROGRESS_INTERVAL_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Which share of the work this process has: items ``index``, ``index + count``, ``index + 2 * count``, ..."""

    index: int = 0
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRequest:
    """Everything that one execution of a step may see.

    Attributes:
        use_case: name of the use case, by which an evaluation loads the plugin's metric hook.
        step: the step.
        config: the declared configuration sections only, as JSON types.
        parameters: the declared parameters only.
        seed: of every random choice.
        shard: which share of the work.
        inputs: local name -> folder.
        outputs: output -> folder that exists and is empty.
        scratch: a private folder that is removed afterwards.
        progress_file: where progress is appended as JSON lines; None for nowhere.
        metrics: the declared metrics as JSON, for an evaluation.
        parts: output -> the folder of each shard, for the merge of a sharded step; empty otherwise.
        is_generation: `step.run` generates a data set (see `mlops_core.datasets.GeneratedSource`) into the only output.
    """

    use_case: str
    step: Step
    config: Mapping[str, Any]
    parameters: Mapping[str, ParameterValue]
    seed: int
    shard: Shard = field(default_factory=Shard)
    inputs: Mapping[str, Path]
    outputs: Mapping[str, Path]
    scratch: Path
    progress_file: Path | None = None
    metrics: tuple[Mapping[str, Any], ...] = ()
    parts: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    is_generation: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the request as JSON types only."""
        return {
            "use_case": self.use_case,
            "step": self.step.to_json(),
            "config": dict(self.config),
            "parameters": dict(self.parameters),
            "seed": self.seed,
            "shard": asdict(self.shard),
            "inputs": {name: str(path) for name, path in self.inputs.items()},
            "outputs": {name: str(path) for name, path in self.outputs.items()},
            "scratch": str(self.scratch),
            "progress_file": str(self.progress_file) if self.progress_file else None,
            "metrics": list(self.metrics),
            "parts": {name: [str(path) for path in paths] for name, paths in self.parts.items()},
            "is_generation": self.is_generation,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> StepRequest:
        """Return the request that `to_json` wrote."""
        fields = dict(data)
        return cls(
            **{
                **fields,
                "step": Step.from_json(fields["step"]),
                "shard": Shard(**fields["shard"]),
                "inputs": {name: Path(path) for name, path in fields["inputs"].items()},
                "outputs": {name: Path(path) for name, path in fields["outputs"].items()},
                "scratch": Path(fields["scratch"]),
                "progress_file": Path(fields["progress_file"]) if fields["progress_file"] else None,
                "metrics": tuple(fields["metrics"]),
                "parts": {name: tuple(map(Path, paths)) for name, paths in fields.get("parts", {}).items()},
            }
        )


class StepContext:
    """What a step's function is given, and all that it may use.

    Attributes:
        use_case: name of the use case.
        parameters: the parameters that the step declares, by name.
        seed: seed of every random choice that the step makes.
        shard: which share of the work this process has.
        scratch: a private folder, removed after the step.
        log: its lines go to the step's log.
    """

    def __init__(self, request: StepRequest) -> None:
        """Open the request's folders and log."""
        self._request = request
        self.use_case = request.use_case
        self.parameters = dict(request.parameters)
        self.seed = request.seed
        self.shard = request.shard
        self.scratch = request.scratch
        self.log = logging.getLogger(f"mlops.step.{request.step.name}")
        self._last_progress = 0.0

    def input(self, name: str) -> Path:
        """Return the folder of the input `name`; it is read only.

        Raises:
            StepError: the step does not declare it.
        """
        path: Path = self._declared(name, self._request.inputs, "input")
        return path

    def output(self, name: str) -> Path:
        """Return the folder of the output `name`; every file below it becomes part of the artifact.

        Raises:
            StepError: the step does not declare it.
        """
        path: Path = self._declared(name, self._request.outputs, "output")
        return path

    def parts(self, name: str) -> tuple[Path, ...]:
        """Return what each shard wrote to the output `name`, in the order of the shards; for a merge only.

        Raises:
            StepError: the step does not declare the output, or nothing is being merged.
        """
        paths: tuple[Path, ...] = self._declared(name, self._request.parts, "output to merge")
        return paths

    def section(self, name: str, model: type[M]) -> M:
        """Return the configuration section `name` as `model`.

        Raises:
            StepError: the step does not declare that it reads this section.
        """
        return model.model_validate(self._declared(name, self._request.config, "configuration section"))

    def progress(self, label: str, done: int, total: int) -> None:
        """Report that `done` of `total` are done; cheap enough to be called for each item.

        Args:
            label: what is counted, for example ``"epoch"``.
            done: from 0 to `total`.
            total: how many there are.
        """
        now = time.monotonic()
        if self._request.progress_file is None:
            return
        if done < total and now - self._last_progress < _PROGRESS_INTERVAL_S:
            return
        self._last_progress = now
        line = json.dumps({"label": label, "done": done, "total": total, "shard": self.shard.index})
        with self._request.progress_file.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")

    def _declared(self, name: str, known: Mapping[str, Any], what: str) -> Any:
        if name not in known:
            raise StepError(
                f"step '{self._request.step.name}': {what} '{name}' is not declared"
                f"{did_you_mean(name, known) or ';'} declared: {', '.join(known) or 'none'}"
            )
        return known[name]


def execute(request: StepRequest) -> None:
    """Run a step's function in this process; for an evaluation, compute the metrics from its predictions.

    One shard of several leaves its part; a request with `StepRequest.parts` merges them. A step that is not sharded
    does both at once.

    Raises:
        StepError: the code cannot be found, or it broke its declaration.
        Exception: whatever the step's own code raises.
    """
    step = request.step
    if request.is_generation:
        generate = load_function(step.run, what="data set")
        generate(*request.outputs.values(), seed=request.seed, progress=StepContext(request).progress)
        return
    if request.parts:
        _merge(request)
    elif request.shard.count == 1:
        _run_whole(request)
    else:
        _run_code(request)
    for name, folder in request.outputs.items():
        if name != EVALUATION_OUTPUT:
            _check_output(name, folder, step=step.name)
    if step.kind is StepKind.EVALUATION and (request.parts or request.shard.count == 1):
        _evaluate(request)


def _check_output(name: str, folder: Path, *, step: str) -> None:
    foreign = find_foreign_entry(folder)
    if foreign:
        raise StepError(
            f"step '{step}', output '{name}': {foreign}; outputs hold files of their own: copy what is meant"
        )
    if not any(folder.iterdir()):
        raise StepError(f"step '{step}' wrote nothing to its output '{name}'")


def _run_code(request: StepRequest) -> None:
    load_function(request.step.run, what=f"step '{request.step.name}'")(StepContext(request))


def _run_whole(request: StepRequest) -> None:
    """Run a step that is not sharded as if it were, so that its output is the same as with any number of shards."""
    if request.step.kind is StepKind.EVALUATION and not request.step.merge:
        from mlops_core.predictions import merge_predictions

        _run_code(request)
        folder = request.outputs[PREDICTIONS_OUTPUT]
        if any(folder.iterdir()):
            merge_predictions((folder,), folder)
        return
    if not request.step.merge:
        _run_code(request)
        return
    only = request.scratch / "part"
    parts = {output: only / output for output in request.step.outputs}
    for folder in parts.values():
        folder.mkdir(parents=True)
    _run_code(replace(request, outputs=parts))
    _merge(replace(request, parts={output: (folder,) for output, folder in parts.items()}))


def _merge(request: StepRequest) -> None:
    from mlops_core.predictions import merge_predictions

    step = request.step
    if step.merge:
        load_function(step.merge, what=f"merge of step '{step.name}'")(StepContext(request))
        return
    for output, parts in request.parts.items():
        if step.kind is StepKind.EVALUATION and output == PREDICTIONS_OUTPUT:
            merge_predictions(parts, request.outputs[output])
        else:
            _move_files(step, output, parts=parts, target=request.outputs[output])


def _move_files(step: Step, output: str, *, parts: tuple[Path, ...], target: Path) -> None:
    for part in parts:
        for path in sorted(part.rglob("*")):
            if path.is_dir():
                continue
            place = target / path.relative_to(part)
            if place.exists():
                raise StepError(
                    f"step '{step.name}': two shards wrote '{place.name}' to '{output}'; "
                    "declare merge=, or put what distinguishes them into the name"
                )
            place.parent.mkdir(parents=True, exist_ok=True)
            path.rename(place)


def _evaluate(request: StepRequest) -> None:
    from mlops_core.manager import load_use_case
    from mlops_core.metrics import Metric, write_evaluation
    from mlops_core.predictions import digest_test_set, read_predictions

    predictions = read_predictions(request.outputs[PREDICTIONS_OUTPUT])
    if not predictions.rows:
        raise StepError(f"step '{request.step.name}' wrote no predictions: the test set is empty")
    report = load_use_case(request.use_case).compute_metrics(predictions)
    report = replace(report, notes={**report.notes, TEST_SET_NOTE: digest_test_set(predictions)})
    metrics = [Metric.from_json(metric) for metric in request.metrics]
    write_evaluation(request.outputs[EVALUATION_OUTPUT], report, metrics)


def run_request_file(path: Path) -> ExitCode:
    """Execute the request in the JSON file `path`; leave the outcome in ``result.json`` beside it.

    Returns:
        OK, or the exit code of the error, whose one-line message is in ``result.json`` and whose traceback is on
        standard error.
    """
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    code, message = ExitCode.OK, ""
    try:
        execute(StepRequest.from_json(json.loads(path.read_text(encoding="utf-8"))))
    except MlopsError as error:
        traceback.print_exc()
        code, message = error.exit_code, str(error)
    except KeyboardInterrupt:
        code, message = ExitCode.INTERRUPTED, "interrupted"
    except BaseException as error:  # noqa: BLE001  a step may raise anything, SystemExit included; all is a failure
        traceback.print_exc()
        code, message = ExitCode.STEP, _one_line(error)
    path.with_name("result.json").write_text(json.dumps({"exit_code": code, "error": message}), encoding="utf-8")
    return code


def _one_line(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    if isinstance(error, SystemExit):
        return f"the step called sys.exit({error.code!r}){where}"
    text = " ".join(str(error).split())[:500]
    return f"{type(error).__name__}: {text}{where}" if text else f"{type(error).__name__}{where}"


if __name__ == "__main__":
    sys.exit(run_request_file(Path(sys.argv[1])))
