"""One step of a pipeline as data: `Step`."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from mlops_core.errors import PipelineError, did_you_mean
from mlops_core.pipeline.batches import BatchPrediction
from mlops_core.pipeline.naming import (
    BATCH_CODE,
    BATCH_INPUTS,
    DATASET,
    EVALUATION_OUTPUT,
    OBJECTIVE_OUTPUT,
    PREDICTIONS_OUTPUT,
    RESERVED_STEPS,
    TRIAL_MARK,
    TRIALS_OUTPUT,
    require_portable_name,
    require_unique,
)
from mlops_core.pipeline.resources import Resources
from mlops_core.tuning.declaration import Tuning

if TYPE_CHECKING:
    from collections.abc import Mapping

_DISTRIBUTION_START = re.compile(r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?", re.ASCII)
_DISTRIBUTION = re.compile(rf"(?:{_DISTRIBUTION_START.pattern})\Z", re.ASCII)
_CODE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*\Z")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*\Z")


class StepKind(StrEnum):
    """What a step is for; an engine chooses its job type by it."""

    PROCESSING = "processing"
    TRAINING = "training"
    EVALUATION = "evaluation"
    BATCH = "batch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a pipeline.

    Attributes:
        name: unique in the pipeline; also the job's and the log's name.
        kind: what it is for.
        run: its function, ``"package.module:function"``; the function takes one `mlops_core.StepContext`.
        inputs: local name -> ``"step.output"``, or ``"fetch.dataset"`` for the data set.
        outputs: names of the folders that it writes.
        results: the outputs that no other step reads.
        config: the configuration sections that it may read: its share of the cache key.
        parameters: the parameters that it may read.
        packages: distributions that it needs; their installed versions belong to the cache key. A run on this machine
            is refused where one is not installed. Of alternatives with the same beginning, such as ``tensorflow`` and
            ``tensorflow-cpu``, one suffices.
        resources: what it needs of a machine.
        shards: how many processes share its work; the merged output must not depend on it.
        merge: code that puts the shards' outputs together, ``"package.module:function"``, called with a
            `mlops_core.StepContext` whose ``parts`` are those outputs, also for one shard. Without it the files of all
            shards are put into one folder, and no two may have the same name; predictions are merged by core.
        version: raise it when the step's meaning changes and its code does not show it.
        environment: environment variables of the step's process, by name, set after its module is imported and before
            its function is called: the settings by which a library gives the same results on every machine, such as a
            fixed number of threads. A variable that the user has set keeps the user's value.
        batch: how a step of the kind ``batch`` predicts; None for all others. Made by `batch_prediction_step`.
        tuning: a search for the best values of the configuration, for a training step; None for none. Core replaces
            the step by one for each trial and one of the same name that selects the best
            (`mlops_core.use_cases.searches`).
        trial: set by core: the index of the trial that this step executes; None for any other step.

    Example:
        >>> train = Step(
        ...     name="train", run="my_plugin.training:train", inputs={"data": DATASET}, outputs=("model",), shards=4
        ... )
        >>> train.all_outputs
        ('model',)
    """

    name: str
    kind: StepKind = StepKind.PROCESSING
    run: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    config: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    resources: Resources = field(default_factory=Resources)
    shards: int = 1
    merge: str = ""
    version: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    batch: BatchPrediction | None = None
    tuning: Tuning | None = None
    trial: int | None = None

    def __post_init__(self) -> None:
        """Refuse whatever can be seen to be wrong without the other steps."""
        self._check_lists()
        require_portable_name(
            "step", self.name if self.trial is None else self.name.replace(f"{TRIAL_MARK}{self.trial}", "")
        )
        if self.name in RESERVED_STEPS:
            raise PipelineError(f"step '{self.name}': the name is core's own; reserved: {', '.join(RESERVED_STEPS)}")
        if not _CODE.match(self.run):
            raise PipelineError(f"step '{self.name}': run={self.run!r} is not 'package.module:function'")
        if self.merge and not _CODE.match(self.merge):
            raise PipelineError(f"step '{self.name}': merge={self.merge!r} is not 'package.module:function'")
        for name in (*self.inputs, *self.outputs):
            require_portable_name(f"step '{self.name}': input or output", name)
        require_unique(f"step '{self.name}': output", self.outputs)
        if not self.outputs:
            raise PipelineError(f"step '{self.name}' declares no output; nothing could use what it does")
        if self.shards < 1:
            raise PipelineError(f"step '{self.name}': shards={self.shards} is not positive")
        self._check_results()
        self._check_environment()
        if self.kind is StepKind.EVALUATION:
            self._check_evaluation()
        self._check_batch()
        if self.tuning is not None:
            self._check_tuning(self.tuning)

    def _check_lists(self) -> None:
        for name in ("outputs", "results", "config", "parameters", "packages"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise PipelineError(f"step '{self.name}': {name}={value!r} is a text; expected a tuple, ({value!r},)")
        for package in self.packages:
            if not _DISTRIBUTION.match(package):
                found = _DISTRIBUTION_START.match(package.strip())
                hint = f", {found[0]!r}" if found else ""
                raise PipelineError(
                    f"step '{self.name}': packages has {package!r}; expected the name of a distribution{hint}; "
                    "versions, extras and markers belong in the dependencies of the plugin's pyproject.toml"
                )

    def _check_results(self) -> None:
        for name in self.results:
            if name not in self.outputs:
                raise PipelineError(f"step '{self.name}': result '{name}' is not among its outputs {self.outputs}")

    def _check_tuning(self, tuning: Tuning) -> None:
        if self.kind is not StepKind.TRAINING and TRIALS_OUTPUT not in self.outputs:
            raise PipelineError(f"step '{self.name}': a search needs a training step; its kind is {self.kind}")
        if self.shards > 1:
            raise PipelineError(f"step '{self.name}': shards={self.shards} and a search exclude each other")
        if OBJECTIVE_OUTPUT in self.outputs:
            raise PipelineError(f"step '{self.name}': the output '{OBJECTIVE_OUTPUT}' of a search is core's own")
        if tuning.predictions not in self.outputs:
            raise PipelineError(
                f"step '{self.name}': a search compares trials by the output '{tuning.predictions}', with the "
                "predictions for the validation part; declare it in outputs"
                f"{did_you_mean(tuning.predictions, self.outputs)}"
            )
        for parameter in tuning.space.used():
            section = parameter.key.partition(".")[0]
            if self.kind is StepKind.TRAINING and section not in self.config:
                raise PipelineError(
                    f"step '{self.name}': the search varies {parameter.key}, and the step does not declare the "
                    f"configuration section '{section}'{did_you_mean(section, self.config)}"
                )

    def _check_environment(self) -> None:
        for name, value in self.environment.items():
            if not _VARIABLE.match(name) or type(value) is not str or "\0" in value:
                raise PipelineError(
                    f"step '{self.name}': environment {name!r}: {value!r} is not valid; expected a name of capital "
                    "letters, digits and '_', and a text"
                )

    def _check_evaluation(self) -> None:
        if PREDICTIONS_OUTPUT not in self.outputs:
            raise PipelineError(
                f"step '{self.name}' is an evaluation and must declare the output '{PREDICTIONS_OUTPUT}', "
                "from which the metrics are computed"
            )
        if EVALUATION_OUTPUT in self.outputs:
            raise PipelineError(
                f"step '{self.name}' must not declare '{EVALUATION_OUTPUT}': core writes it from the predictions"
            )

    def _check_batch(self) -> None:
        if (self.kind is StepKind.BATCH) is not (self.batch is not None):
            raise PipelineError(
                f"step '{self.name}': kind=StepKind.BATCH and batch=BatchPrediction(...) need each other"
            )
        if self.batch is None:
            return
        if self.run != BATCH_CODE or self.merge or self.shards != 1 or self.config or self.parameters:
            raise PipelineError(
                f"step '{self.name}' is a batch prediction, which core carries out: make it with "
                "batch_prediction_step(...), without code, shards, configuration and parameters of its own"
            )
        if tuple(sorted(self.inputs)) != tuple(sorted(BATCH_INPUTS)) or self.outputs != (PREDICTIONS_OUTPUT,):
            raise PipelineError(
                f"step '{self.name}' is a batch prediction: it has the inputs {' and '.join(BATCH_INPUTS)} and the "
                f"output {PREDICTIONS_OUTPUT}"
            )
        if DATASET in self.inputs.values():
            raise PipelineError(
                f"step '{self.name}' is a batch prediction and cannot read {DATASET}, whose folder also holds what is "
                "not data; let a step write the files to predict"
            )

    @property
    def all_outputs(self) -> tuple[str, ...]:
        """Its outputs and, for an evaluation or a trial, the one that core adds."""
        if self.trial is not None:
            return (*self.outputs, OBJECTIVE_OUTPUT)
        return (*self.outputs, EVALUATION_OUTPUT) if self.kind is StepKind.EVALUATION else self.outputs

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the steps whose outputs it reads, without the fetch of the data set."""
        return tuple(dict.fromkeys(ref.rpartition(".")[0] for ref in self.inputs.values() if ref != DATASET))

    @property
    def search(self) -> str:
        """Name of the tuned step of which this is a trial or the selection; empty for any other step."""
        if self.tuning is None:
            return ""
        return self.name if self.trial is None else self.name.rpartition(TRIAL_MARK)[0]

    @property
    def computes_metrics(self) -> bool:
        """Whether core computes metrics from its predictions: those of an evaluation, or of a trial."""
        return self.kind is StepKind.EVALUATION or self.trial is not None

    def may_lack(self, name: str) -> bool:
        """Tell whether the step is executed without the input `name`: the results of a trial that failed."""
        return self.tuning is not None and TRIAL_MARK in self.inputs[name]

    def to_json(self) -> dict[str, Any]:
        """Return the step as JSON types only."""
        values = {name: getattr(self, name) for name in self.__slots__}
        data = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
        data |= {"inputs": dict(self.inputs), "resources": asdict(self.resources)}
        for name in ("environment", "batch", "tuning", "trial"):
            del data[name]
        if self.environment:  # an older version reads the rest
            data["environment"] = dict(self.environment)
        if self.batch is not None:
            data["batch"] = asdict(self.batch)
        if self.tuning is not None:
            data["tuning"] = self.tuning.to_json()
        return data if self.trial is None else {**data, "trial": self.trial}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Step:
        """Return the step that `Pipeline.to_json` wrote."""
        fields = dict(data)
        fields["kind"] = StepKind(fields["kind"])
        fields["resources"] = Resources.from_json(fields["resources"])
        for name in ("outputs", "results", "config", "parameters", "packages"):
            fields[name] = tuple(fields[name])
        if fields.get("batch"):
            fields["batch"] = BatchPrediction(**fields["batch"])
        if fields.get("tuning") is not None:
            fields["tuning"] = Tuning.from_json(fields["tuning"])
        return cls(**fields)


def batch_prediction_step(
    name: str,
    *,
    model: str,
    data: str,
    batch: BatchPrediction,
    is_result: bool = True,
    resources: Resources | None = None,
) -> Step:
    """Return a step that predicts each file of an output with a model: ``<file>.out`` holds the answers.

    A file that cannot be predicted fails the step. Where an engine has batch jobs for models, the step is one of them.

    Args:
        name: unique in the pipeline.
        model: reference of the model's output, such as ``"train.model"``.
        data: reference of the output with the files to predict.
        batch: how they are predicted.
        is_result: no other step reads the output ``predictions``.
        resources: what the step needs of a machine.

    Raises:
        PipelineError: the step could not run.

    Example:
        >>> csv = BatchPrediction(content_type="text/csv", accept="text/csv")
        >>> batch_prediction_step("score", model="train.model", data="split.rows", batch=csv).all_outputs
        ('predictions',)
    """
    return Step(
        name=name,
        kind=StepKind.BATCH,
        run=BATCH_CODE,
        inputs={"model": model, "data": data},
        outputs=(PREDICTIONS_OUTPUT,),
        results=(PREDICTIONS_OUTPUT,) if is_result else (),
        resources=resources or Resources(),
        batch=batch,
    )
