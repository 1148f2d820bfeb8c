"""A pipeline as data: `Step`, `Parameter`, `Resources` and `Pipeline`, frozen, validated, with a JSON round trip.

Nothing in a pipeline is a callable: a step names its code as ``"package.module:function"`` and its inputs and
outputs by name, so a pipeline can be planned, printed, hashed, sent to a container and compiled. The order of
the steps follows from inputs and outputs alone. This module knows neither how a step is executed
(`mlops_core.steps.execution`) nor where (`mlops_core.runners`).
"""

from __future__ import annotations

import graphlib
import math
import re
from collections import Counter
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

from mlops_core.conditions import Gate
from mlops_core.errors import ConfigError, PipelineError, did_you_mean
from mlops_core.evaluation.metrics import Metric

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

FETCH = "fetch"
DATASET = f"{FETCH}.dataset"
"""The reference by which a step reads the data set that core fetched."""
RESERVED_STEPS = (FETCH, "gate", "register", "fail")
EVALUATION_OUTPUT = "evaluation"
"""The output that core itself adds to an evaluation step: ``evaluation.json``."""
PREDICTIONS_OUTPUT = "predictions"

_TYPE_NAMES = {"float": "a number", "integer": "a whole number", "string": "a text", "boolean": "true or false"}
_NAME = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*\Z")
_PARAMETER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_CODE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*\Z")
_NAME_LIMIT = 63

ParameterValue: TypeAlias = str | int | float | bool


class StepKind(StrEnum):
    """What a step is for; an engine chooses its job type by it."""

    PROCESSING = "processing"
    TRAINING = "training"
    EVALUATION = "evaluation"


class ParameterType(StrEnum):
    """The types that every engine's parameters have in common."""

    FLOAT = "float"
    INTEGER = "integer"
    STRING = "string"
    BOOLEAN = "boolean"


def _require_name(what: str, name: str, pattern: re.Pattern[str] = _NAME) -> None:
    if not pattern.match(name) or len(name) > _NAME_LIMIT:
        expected = "a letter first, then letters, digits and '_'"
        if pattern is _NAME:
            expected = "lower-case letters, digits, single '-' or '_' between them, a letter first"
        raise PipelineError(
            f"{what} {name!r} is not a portable name; expected {expected}, at most {_NAME_LIMIT} characters"
        )


def _require_unique(what: str, names: Iterable[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise PipelineError(f"{what} '{name}' is declared {count} times; each must have its own name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A value that can be set when a run is started, with ``--param name=value``.

    Attributes:
        name: unique in the pipeline.
        type: how a text given by a user is read.
        default: the value where none is given; must be of `type`.
        description: one sentence for ``mlops describe``.
        minimum: smallest legal number, inclusive; None for no limit.
        maximum: largest legal number, inclusive; None for no limit.

    Example:
        >>> Parameter(name="q_acc", type=ParameterType.FLOAT, default=0.7, minimum=0, maximum=1).parse("0.9")
        0.9
    """

    name: str
    type: ParameterType
    default: ParameterValue
    description: str = ""
    minimum: float | None = None
    maximum: float | None = None

    def __post_init__(self) -> None:
        """Refuse a name that is not portable and a default that is not of the declared type."""
        _require_name("parameter", self.name, _PARAMETER_NAME)
        try:
            checked = self.checked(self.default)
        except ConfigError as error:
            raise PipelineError(f"default of {error}") from error
        object.__setattr__(self, "default", checked)

    def parse(self, text: str) -> ParameterValue:
        """Parse a value.

        Raises:
            ConfigError: `text` is not of the parameter's type or is out of range.
        """
        value: ParameterValue = text
        try:
            if self.type is ParameterType.FLOAT:
                value = float(text)
            elif self.type is ParameterType.INTEGER:
                value = int(text)
            elif self.type is ParameterType.BOOLEAN:
                value = {"true": True, "false": False}[text.strip().lower()]
        except (ValueError, KeyError):
            raise self._problem(text) from None
        return self.checked(value)

    def checked(self, value: ParameterValue) -> ParameterValue:
        """Return `value` as the declared type (an integer is accepted as a float).

        Raises:
            ConfigError: wrong type, not finite, or out of range.
        """
        if self.type is ParameterType.FLOAT and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        expected = {"float": float, "integer": int, "string": str, "boolean": bool}[self.type]
        if type(value) is not expected:
            raise self._problem(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            low = -math.inf if self.minimum is None else self.minimum
            high = math.inf if self.maximum is None else self.maximum
            if not (math.isfinite(value) and low <= value <= high):
                raise self._problem(value)
        return value

    def _problem(self, value: object) -> ConfigError:
        limits = ""
        if self.minimum is not None or self.maximum is not None:
            limits = f" from {self.minimum if self.minimum is not None else '-inf'}"
            limits += f" to {self.maximum if self.maximum is not None else 'inf'}"
        return ConfigError(f"parameter {self.name}: {value!r} is not {_TYPE_NAMES[self.type]}{limits}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a step needs of a machine, and how its failures are handled.

    Each engine maps the needs to its own machines: the smallest one that fits. The local runner ignores the first four.

    Attributes:
        cpus: processor cores.
        memory_gb: main memory, in GB.
        gpus: accelerators.
        disk_gb: disk space, in GB.
        timeout_s: seconds after which the step's whole process tree is killed.
        retries: number of further attempts after a failed one.
        memory_limit_mb: resident memory of all its processes, in MiB, at which they are killed; None for no limit.

    Example:
        >>> Resources(cpus=4, memory_gb=16, gpus=1, timeout_s=3600).disk_gb
        30
    """

    cpus: float = 2
    memory_gb: float = 8
    gpus: int = 0
    disk_gb: int = 30
    timeout_s: float = 86_400.0
    retries: int = 0
    memory_limit_mb: int | None = None

    def __post_init__(self) -> None:
        """Refuse sizes that no machine can have.

        Raises:
            PipelineError: names the value.
        """
        sizes = {
            "cpus": self.cpus,
            "memory_gb": self.memory_gb,
            "disk_gb": self.disk_gb,
            "timeout_s": self.timeout_s,
            "memory_limit_mb": 1 if self.memory_limit_mb is None else self.memory_limit_mb,
        }
        for name, size in sizes.items():
            if not (math.isfinite(size) and size > 0):
                raise PipelineError(f"resources: {name}={size!r} is not a positive number")
        for name, count in (("gpus", self.gpus), ("retries", self.retries)):
            if count < 0:
                raise PipelineError(f"resources: {name}={count!r} is negative")

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Resources:
        """Return the resources of a stored step, in the present or an earlier format."""
        values = dict(data)
        values.pop("instance_type", None)
        for old, new in (("volume_gb", "disk_gb"), ("memory_mb", "memory_limit_mb")):
            if old in values:
                values[new] = values.pop(old)
        return cls(**values)


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

    def __post_init__(self) -> None:
        """Refuse whatever can be seen to be wrong without the other steps."""
        _require_name("step", self.name)
        if self.name in RESERVED_STEPS:
            raise PipelineError(f"step '{self.name}': the name is core's own; reserved: {', '.join(RESERVED_STEPS)}")
        if not _CODE.match(self.run):
            raise PipelineError(f"step '{self.name}': run={self.run!r} is not 'package.module:function'")
        if self.merge and not _CODE.match(self.merge):
            raise PipelineError(f"step '{self.name}': merge={self.merge!r} is not 'package.module:function'")
        for name in (*self.inputs, *self.outputs):
            _require_name(f"step '{self.name}': input or output", name)
        _require_unique(f"step '{self.name}': output", self.outputs)
        if not self.outputs:
            raise PipelineError(f"step '{self.name}' declares no output; nothing could use what it does")
        if self.shards < 1:
            raise PipelineError(f"step '{self.name}': shards={self.shards} is not positive")
        for name in self.results:
            if name not in self.outputs:
                raise PipelineError(f"step '{self.name}': result '{name}' is not among its outputs {self.outputs}")
        if self.kind is StepKind.EVALUATION:
            self._check_evaluation()

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

    @property
    def all_outputs(self) -> tuple[str, ...]:
        """Its outputs and, for an evaluation, the one that core adds."""
        return (*self.outputs, EVALUATION_OUTPUT) if self.kind is StepKind.EVALUATION else self.outputs

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the steps whose outputs it reads, without the fetch of the data set."""
        return tuple(dict.fromkeys(ref.partition(".")[0] for ref in self.inputs.values() if ref != DATASET))

    def to_json(self) -> dict[str, Any]:
        """Return the step as JSON types only."""
        values = {name: getattr(self, name) for name in self.__slots__}
        data = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
        return {**data, "inputs": dict(self.inputs), "resources": asdict(self.resources)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Step:
        """Return the step that `Pipeline.to_json` wrote."""
        fields = dict(data)
        fields["kind"] = StepKind(fields["kind"])
        fields["resources"] = Resources.from_json(fields["resources"])
        for name in ("outputs", "results", "config", "parameters", "packages"):
            fields[name] = tuple(fields[name])
        return cls(**fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """All steps of a use case, its parameters, metrics and gate.

    Construction checks the whole graph: duplicate names, unknown inputs, unread outputs, cycles, parameters and
    metrics that the gate needs.

    Attributes:
        name: the use case's name in lower case.
        dataset: the catalogue name of the data set that ``fetch.dataset`` stands for.
        steps: in any order; `ordered` gives the order of execution.
        parameters: values that can be set for a run.
        metrics: what the evaluation must contain.
        gate: what decides whether the model is registered.
        model: reference of the output that is registered, for example ``"train.model"``.

    Example:
        >>> train = Step(name="train", run="my_plugin.steps:train", inputs={"data": DATASET}, outputs=("model",))
        >>> evaluate = Step(
        ...     name="evaluate",
        ...     kind=StepKind.EVALUATION,
        ...     run="my_plugin.steps:evaluate",
        ...     inputs={"model": "train.model"},
        ...     outputs=("predictions",),
        ... )
        >>> acc = Metric(name="acc", section="m", unit=Unit.FRACTION, minimum=0, maximum=1, direction=Direction.HIGHER)
        >>> pipeline = Pipeline(
        ...     name="toy",
        ...     dataset="words",
        ...     steps=(evaluate, train),
        ...     metrics=(acc,),
        ...     gate=Gate(parse_condition("acc >= 0.7")),
        ...     model="train.model",
        ... )
        >>> [step.name for step in pipeline.ordered()]
        ['train', 'evaluate']
    """

    name: str
    dataset: str
    steps: tuple[Step, ...]
    parameters: tuple[Parameter, ...] = ()
    metrics: tuple[Metric, ...]
    gate: Gate
    model: str

    def __post_init__(self) -> None:
        """Refuse a graph that could not run, naming the culprit."""
        _require_name("pipeline", self.name)
        _require_unique("step", (step.name for step in self.steps))
        _require_unique("parameter", (parameter.name for parameter in self.parameters))
        _require_unique("metric", (metric.name for metric in self.metrics))
        self._check_references()
        self._check_unread()
        self._check_evaluation()
        tuple(self.ordered())
        numeric = {p.name for p in self.parameters if p.type in (ParameterType.FLOAT, ParameterType.INTEGER)}
        self.gate.check(metrics=self.metrics, parameters=numeric)

    def _check_references(self) -> None:
        written = {f"{step.name}.{output}" for step in self.steps for output in step.all_outputs} | {DATASET}
        known = {parameter.name for parameter in self.parameters}
        for step in self.steps:
            for name, reference in step.inputs.items():
                if reference not in written:
                    raise PipelineError(
                        f"step '{step.name}': input '{name}' reads '{reference}', which no step writes"
                        f"{did_you_mean(reference, written)}"
                    )
            for name in step.parameters:
                if name not in known:
                    raise PipelineError(f"step '{step.name}': unknown parameter '{name}'{did_you_mean(name, known)}")
        if self.model not in written - {DATASET}:
            raise PipelineError(f"model '{self.model}' is written by no step{did_you_mean(self.model, written)}")

    def _check_unread(self) -> None:
        read = {reference for step in self.steps for reference in step.inputs.values()} | {self.model}
        for step in self.steps:
            for output in step.outputs:
                is_result = output in step.results or (
                    step.kind is StepKind.EVALUATION and output == PREDICTIONS_OUTPUT
                )
                if f"{step.name}.{output}" not in read and not is_result:
                    raise PipelineError(
                        f"step '{step.name}': output '{output}' is read by no step; "
                        f"declare it in results=('{output}',) if it is meant to be kept"
                    )

    def _check_evaluation(self) -> None:
        names = [step.name for step in self.steps if step.kind is StepKind.EVALUATION]
        if len(names) != 1:
            raise PipelineError(f"pipeline '{self.name}' needs exactly one evaluation step, not {names or 'none'}")

    @property
    def is_trained(self) -> bool:
        """Whether a step trains a model, so that splits need training samples and test samples of each class."""
        return any(step.kind is StepKind.TRAINING for step in self.steps)

    @property
    def evaluation_step(self) -> Step:
        """The step whose predictions the gate judges."""
        return next(step for step in self.steps if step.kind is StepKind.EVALUATION)

    def step(self, name: str) -> Step:
        """Return the step called `name`.

        Raises:
            PipelineError: there is none.
        """
        for step in self.steps:
            if step.name == name:
                return step
        names = [step.name for step in self.steps]
        raise PipelineError(f"no step '{name}'{did_you_mean(name, names) or ';'} steps: {', '.join(names)}")

    def ancestors(self, name: str) -> frozenset[str]:
        """Return the steps whose outputs the step needs, directly or through others."""
        found: set[str] = set()
        waiting = list(self.step(name).needs)
        while waiting:
            current = waiting.pop()
            if current not in found:
                found.add(current)
                waiting += self.step(current).needs
        return frozenset(found)

    def followers(self, name: str) -> frozenset[str]:
        """Return the step and all steps that depend on it, directly or indirectly."""
        found = {name}
        for step in self.ordered():
            if found & set(step.needs):
                found.add(step.name)
        return frozenset(found)

    def ordered(self) -> Iterator[Step]:
        """Yield the steps in topological order; ties in the order of declaration.

        Raises:
            PipelineError: the steps form a cycle.
        """
        by_name = {step.name: step for step in self.steps}
        position = {name: index for index, name in enumerate(by_name)}
        sorter = graphlib.TopologicalSorter({step.name: step.needs for step in self.steps})
        try:
            sorter.prepare()
        except graphlib.CycleError as error:
            raise PipelineError(f"the steps form a cycle: {' -> '.join(reversed(error.args[1]))}") from error
        while sorter.is_active():
            ready = sorted(sorter.get_ready(), key=position.__getitem__)
            for name in ready:
                yield by_name[name]
            sorter.done(*ready)

    def resolve_parameters(self, given: Mapping[str, str]) -> dict[str, ParameterValue]:
        """Return a value for each parameter: that in `given`, parsed, else the default.

        Raises:
            ConfigError: unknown names and bad values, all at once.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        values = {name: parameter.default for name, parameter in known.items()}
        problems = []
        for name, text in given.items():
            if name not in known:
                problems.append(
                    f"no parameter '{name}'{did_you_mean(name, known) or ';'} parameters: {', '.join(known) or 'none'}"
                )
                continue
            try:
                values[name] = known[name].parse(text)
            except ConfigError as error:
                problems.append(str(error))
        if len(problems) == 1:
            raise ConfigError(f"--param: {problems[0]}")
        if problems:
            raise ConfigError(f"{len(problems)} parameters are wrong", problems=problems)
        return values

    def to_json(self) -> dict[str, Any]:
        """Return the pipeline as JSON types only."""
        return {
            "name": self.name,
            "dataset": self.dataset,
            "steps": [step.to_json() for step in self.steps],
            "parameters": [asdict(parameter) for parameter in self.parameters],
            "metrics": [metric.to_json() for metric in self.metrics],
            "gate": self.gate.to_json(),
            "model": self.model,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Pipeline:
        """Return the pipeline that `to_json` wrote, checked again."""
        return cls(
            name=data["name"],
            dataset=data["dataset"],
            steps=tuple(Step.from_json(step) for step in data["steps"]),
            parameters=tuple(
                Parameter(**{**parameter, "type": ParameterType(parameter["type"])}) for parameter in data["parameters"]
            ),
            metrics=tuple(Metric.from_json(metric) for metric in data["metrics"]),
            gate=Gate.from_json(data["gate"]),
            model=data["model"],
        )
