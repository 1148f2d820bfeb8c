"""All steps of a use case, checked as a graph: `Pipeline`."""

from __future__ import annotations

import graphlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mlops_core.datasets.licences import Licences
from mlops_core.errors import ConfigError, PipelineError, did_you_mean
from mlops_core.evaluation.metrics import Metric
from mlops_core.gates.configured import check_thresholds
from mlops_core.gates.gate import Gate
from mlops_core.pipeline.naming import DATASET, PREDICTIONS_OUTPUT, require_portable_name, require_unique
from mlops_core.pipeline.parameters import Parameter, ParameterType, ParameterValue
from mlops_core.pipeline.steps import Step, StepKind
from mlops_core.redaction import names_secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


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
        licences: of the data and the base models; None if they are not known.

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
    licences: Licences | None = None

    def __post_init__(self) -> None:
        """Refuse a graph that could not run, naming the culprit."""
        require_portable_name("pipeline", self.name)
        require_unique("step", (step.name for step in self.steps))
        require_unique("parameter", (parameter.name for parameter in self.parameters))
        require_unique("metric", (metric.name for metric in self.metrics))
        self._check_references()
        self._check_unread()
        self._check_evaluation()
        self._check_objectives()
        tuple(self.ordered())
        numeric = {parameter.name for parameter in self.parameters if parameter.is_numeric}
        self.gate.check(metrics=self.metrics, parameters=numeric, licences=self.licences)

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

    def _check_objectives(self) -> None:
        known = [metric.name for metric in self.metrics]
        for step in self.steps:
            if step.tuning is not None and step.tuning.objective not in known:
                objective = step.tuning.objective
                raise PipelineError(
                    f"step '{step.name}': the objective '{objective}' of its search is no declared metric"
                    f"{did_you_mean(objective, known) or ';'} metrics: {', '.join(known)}"
                )

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
            ConfigError: unknown names and bad values, all at once; or thresholds that no model can meet.
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
            if names_secret(name) and known[name].type is ParameterType.STRING and text != known[name].default:
                problems.append(
                    f"{name} names a secret, but a run's parameters are recorded; let the step read it from its "
                    "environment, or from a configuration key whose value is ${NAME}"
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
        check_thresholds(self.gate, metrics=self.metrics, values=values, licences=self.licences)
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
            **({"licences": self.licences.to_json()} if self.licences else {}),
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
            licences=Licences.from_json(data["licences"]) if data.get("licences") else None,
        )
