"""What one execution of a step may see: `StepRequest`, and `StepContext`, which the step's function receives.

A `StepRequest` crosses a process or a machine as JSON. Who executes it is in `mlops_core.steps.execution`.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mlops_core.errors import StepError, did_you_mean
from mlops_core.pipeline import Step

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pydantic

    from mlops_core.pipeline import ParameterValue

    M = TypeVar("M", bound=pydantic.BaseModel)

STEP_LOGGER = "mlops.step"
"""Parent of the loggers of all steps."""
_PROGRESS_INTERVAL_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Which share of the work this process has: items ``index``, ``index + count``, ``index + 2 * count``, ...

    Example:
        >>> files = ["a", "b", "c", "d", "e"]
        >>> shard = Shard(index=1, count=2)
        >>> files[shard.index :: shard.count]
        ['b', 'd']
    """

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
        is_generation: `step.run` generates a data set (`mlops_core.datasets.catalogue.GeneratedSource`) into
            the only output.
        is_trained: the pipeline trains a model, so that splits need training samples, and each class both training
            and test samples; None to check no splits, as the contract tests do, which have checks of their own.
        whole_config: all configuration sections, for a trial whose values are drawn when it is executed: they are
            held against the configuration's own checks. The step's code does not see it. None for any other step.
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
    is_trained: bool | None = None
    whole_config: Mapping[str, Any] | None = None

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
            "is_trained": self.is_trained,
            "whole_config": None if self.whole_config is None else dict(self.whole_config),
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
    """The argument of a step's function: everything that the step may use.

    Attributes:
        use_case: name of the use case.
        parameters: the parameters that the step declares, by name.
        seed: seed of every random choice that the step makes.
        shard: which share of the work this process has.
        scratch: a private folder, removed after the step.
        batch: how a batch-prediction step predicts; None for all others.
        log: its lines go to the step's log, and the first warnings also to the record of the run, which shows them.

    Example:
        >>> def train(context: StepContext) -> None:
        ...     for path in context.input("data").iterdir():
        ...         context.log.info("training on %s with seed %d", path, context.seed)
        ...     (context.output("model") / "weights.txt").write_text("0.5")
    """

    def __init__(self, request: StepRequest) -> None:
        """Open the request's folders and log."""
        self._request = request
        self.use_case = request.use_case
        self.parameters = dict(request.parameters)
        self.seed = request.seed
        self.shard = request.shard
        self.scratch = request.scratch
        self.batch = request.step.batch
        self.log = logging.getLogger(f"{STEP_LOGGER}.{request.step.name}")
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

    def has_output(self, name: str) -> bool:
        """Return whether the step declares the output `name`, where that depends on the configuration."""
        return name in self._request.outputs

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
