"""The contract between a compiled pipeline and a container: the request, and how it is read from command arguments.

An engine writes a `ContainerRequest` into the command's arguments; `read_order` reads it in the container. Engines
limit the length of an argument, so the request is JSON in pieces. Every argument is ``--name=value``:

====================================  ================================================================================
``--root=FOLDER``                     the folder of the container's files, for the engine's own layout
``--code=SHA256``                     digest of the compiled code; other code in the image is an error
``--seed=N``                          random seed
``--dataset-digest=SHA256``           only for the engine's step cache: another data set means other arguments
``--parameter=NAME=VALUE``            each parameter that the step declares
``--gate-parameter=NAME=VALUE``       each parameter that the gate mentions, for the evaluation
``--trial=N``                         index of the trial to execute, for a step with a search
``--request=PIECE``                   repeated; the pieces in order are the JSON of a `ContainerRequest`
====================================  ================================================================================
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from mlops_core.datasets.licences import Licences
from mlops_core.errors import ConfigError, RunnerError
from mlops_core.evaluation.metrics import Metric
from mlops_core.gates.gate import Gate
from mlops_core.pipeline import Parameter, ParameterType, Step
from mlops_core.steps.execution import STEP_PROTOCOL_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlops_core.pipeline import ParameterValue
    from mlops_core.steps.source_code import CodeIndex
    from mlops_core.use_cases.manager import UseCase

GATE_OUTPUT = "gate"
"""The output of an evaluation's container that the engine's condition reads."""
CHAMPION_INPUT = "champion"
"""The input of an evaluation's container with the predictions of the best version, for a gate that compares with it."""
_FORMAT = "mlops-container/2"


class Part(StrEnum):
    """The part of a step that a container executes: all of it, one shard, or the merge of the shards."""

    WHOLE = "whole"
    SHARD = "shard"
    MERGE = "merge"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRequest:
    """Everything that the container of an evaluation needs to compute the verdict.

    Attributes:
        gate: the gate.
        parameters: the parameters that it mentions.
        licences: of the data and the base models, for a gate that asks for one.
    """

    gate: Gate
    parameters: tuple[Parameter, ...]
    licences: Licences | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerRequest:
    """The part of a step's request that is fixed at compile time; values that are set at the start are not in it.

    Attributes:
        use_case: name of the use case.
        layout: name of the engine's layout of the container's files.
        part: all of the step, one shard, or the merge.
        step: the step.
        config: the configuration sections that the step declares.
        parameters: the parameters that the step declares.
        model_output: the output that the engine stores as its model.
        packed: input -> folder within the ``tar.gz`` in which the input arrives; empty for its top.
        sharded_inputs: inputs of which each instance receives a share of the files; the step processes all files that
            it receives.
        is_trained: the pipeline trains a model, so that splits need training samples and test samples of each class.
        metrics: all declared metrics, for an evaluation.
        gate: for the part of an evaluation that computes the metrics; None otherwise.
    """

    use_case: str
    layout: str
    part: Part
    step: Step
    config: Mapping[str, Any] = field(default_factory=dict)
    parameters: tuple[Parameter, ...] = ()
    model_output: str = ""
    packed: Mapping[str, str] = field(default_factory=dict)
    sharded_inputs: tuple[str, ...] = ()
    is_trained: bool = False
    metrics: tuple[Metric, ...] = ()
    gate: GateRequest | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the request as JSON types only; the machine is left out, since a result does not depend on it."""
        resources = self.step.resources
        limits = {
            "timeout_s": resources.timeout_s,
            "retries": resources.retries,
            "memory_mb": resources.memory_limit_mb,
        }
        step = {**self.step.to_json(), "resources": limits}
        return {
            "format": _FORMAT,
            "use_case": self.use_case,
            "layout": self.layout,
            "part": str(self.part),
            "step": step,
            "config": dict(self.config),
            "parameters": [parameter_to_json(parameter) for parameter in self.parameters],
            "model_output": self.model_output,
            "packed": dict(self.packed),
            "sharded_inputs": list(self.sharded_inputs),
            "is_trained": self.is_trained,
            "metrics": [metric.to_json() for metric in self.metrics],
            "gate": _gate_to_json(self.gate),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ContainerRequest:
        """Return the request that `to_json` wrote.

        Raises:
            RunnerError: it is of another format.
        """
        if data.get("format") != _FORMAT:
            raise RunnerError(
                f"the definition's requests have the format {data.get('format')!r}, this image reads {_FORMAT!r}; "
                "compile the definition and build the image with one version of mlops-usecases"
            )
        return cls(
            use_case=data["use_case"],
            layout=data["layout"],
            part=Part(data["part"]),
            step=Step.from_json(data["step"]),
            config=data["config"],
            parameters=tuple(map(_parameter_from_json, data["parameters"])),
            model_output=data["model_output"],
            packed=data["packed"],
            sharded_inputs=tuple(data["sharded_inputs"]),
            is_trained=data["is_trained"],
            metrics=tuple(map(Metric.from_json, data["metrics"])),
            gate=_gate_from_json(data["gate"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerOrder:
    """The arguments of a container's command.

    Attributes:
        request: the part that was fixed at compile time.
        root: folder of the container's files; empty for the engine's default.
        code: digest of the code that was compiled; empty for "do not compare".
        seed: random seed.
        parameters: value of each parameter that the step declares.
        gate_parameters: value of each parameter that the gate mentions.
        dataset_digest: digest of the data set, where the step reads it and the digest was known.
        trial: index of the trial; None for a step without a search.
    """

    request: ContainerRequest
    root: str = ""
    code: str = ""
    seed: int = 0
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    gate_parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    dataset_digest: str = ""
    trial: int | None = None


def read_order(arguments: Sequence[str]) -> ContainerOrder:
    """Parse the arguments of a container's command.

    Raises:
        RunnerError: an argument is unknown, or the request is missing or damaged.
        ConfigError: the value of a parameter is not of its type, or out of its range.
    """
    found: dict[str, list[str]] = {}
    for argument in arguments:
        flag, separator, value = argument.partition("=")
        if flag not in _FLAGS or not separator:
            raise RunnerError(f"unknown argument {argument[:80]!r}; expected {', '.join(_FLAGS)}, each with '=VALUE'")
        found.setdefault(flag, []).append(value)
    try:
        request = ContainerRequest.from_json(json.loads("".join(found.get("--request", ()))))
        seed = int(found.get("--seed", ["0"])[-1])
        trial = int(found["--trial"][-1]) if "--trial" in found else None
    except (ValueError, KeyError, TypeError) as error:
        raise RunnerError(f"the request in the command's arguments is damaged: {error}") from error
    if (trial is None) != (request.step.tuning is None):
        raise RunnerError(f"step '{request.step.name}': --trial is for a step with a search, and needed for one")
    gate_parameters = tuple(map(_without_limits, request.gate.parameters)) if request.gate else ()
    return ContainerOrder(
        request=request,
        root=found.get("--root", [""])[-1],
        code=found.get("--code", [""])[-1],
        seed=seed,
        parameters=_values(request.parameters, found.get("--parameter", ())),
        gate_parameters=_values(gate_parameters, found.get("--gate-parameter", ())),
        dataset_digest=found.get("--dataset-digest", [""])[-1],
        trial=trial,
    )


def code_digest(use_case: UseCase, step: Step, *, code: CodeIndex) -> str:
    """Return the SHA-256 of all installed code that decides what a step writes.

    It is part of the compiled arguments, so an engine's step cache never answers for other code; the container compares
    it with the code in its image, so a definition is never executed by an image of another version.
    """
    modules = [reference.partition(":")[0] for reference in (step.run, step.merge) if reference]
    if step.computes_metrics:
        modules.append(use_case.implementation_module("mlops_compute_metrics"))
    if step.batch:
        modules.append(use_case.implementation_module("mlops_load_predictor"))
    digests = {"protocol": str(STEP_PROTOCOL_VERSION)}
    for module in modules:
        digests |= code.digests(module)
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def parameter_to_json(parameter: Parameter) -> dict[str, Any]:
    """Return the fields of a parameter that a container needs to read and check its value."""
    return {
        "name": parameter.name,
        "type": str(parameter.type),
        "default": parameter.default,
        "minimum": parameter.minimum,
        "maximum": parameter.maximum,
    }


_FLAGS = ("--root", "--code", "--seed", "--dataset-digest", "--parameter", "--gate-parameter", "--trial", "--request")


def _parameter_from_json(data: Mapping[str, Any]) -> Parameter:
    return Parameter(**{**data, "type": ParameterType(data["type"])})


def _gate_to_json(gate: GateRequest | None) -> dict[str, Any] | None:
    if gate is None:
        return None
    data = {"gate": gate.gate.to_json(), "parameters": [parameter_to_json(each) for each in gate.parameters]}
    if gate.licences is not None and gate.gate.needs_licences:  # nothing else depends on them, not even a step cache
        data["licences"] = gate.licences.to_json()
    return data


def _gate_from_json(data: Mapping[str, Any] | None) -> GateRequest | None:
    if data is None:
        return None
    parameters = tuple(map(_parameter_from_json, data["parameters"]))
    licences = Licences.from_json(data["licences"]) if data.get("licences") else None
    return GateRequest(gate=Gate.from_json(data["gate"]), parameters=parameters, licences=licences)


def _values(parameters: tuple[Parameter, ...], texts: Sequence[str]) -> dict[str, ParameterValue]:
    given = dict(text.split("=", 1) for text in texts)
    missing = [parameter.name for parameter in parameters if parameter.name not in given]
    if missing:
        raise RunnerError(f"the command's arguments give no value of the parameter {', '.join(missing)}")
    return {parameter.name: _value(parameter, given[parameter.name]) for parameter in parameters}


def _value(parameter: Parameter, text: str) -> ParameterValue:
    """Read a value as an engine writes it: a whole float may arrive as an integer, and the other way round."""
    if parameter.type is ParameterType.INTEGER and text.endswith(".0"):
        text = text.removesuffix(".0")
    try:
        return parameter.parse(text)
    except ConfigError as error:
        raise ConfigError(f"{error}; set it when the execution is started") from error


def _without_limits(parameter: Parameter) -> Parameter:
    """Return the parameter without limits: for the gate, a threshold out of range is a verdict, not a failed step."""
    return replace(parameter, minimum=None, maximum=None)
