"""Encodes the request of a container as command arguments: at most 100, of 256 characters each.

`mlops_core.runners.container.request` documents and parses the arguments.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from mlops_core.runners import PipelineError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_core.runners.container.request import ContainerRequest

ENTRYPOINT = ("python3", "-m", "mlops_sagemaker.container")
"""The command of every container; the image only has to contain core and the plugins."""
CONTAINER_ROOT = "/opt/ml"
ARGUMENT_LIMIT = 256
ARGUMENT_COUNT_LIMIT = 100
"""Limits of the service, from the shapes ContainerArgument(s) and TrainingContainerArgument(s)."""


@dataclass(frozen=True, slots=True)
class ArgumentLimits:
    """How many arguments there may be, and how long each."""

    count: int
    length: int


COMMAND = ArgumentLimits(ARGUMENT_COUNT_LIMIT, ARGUMENT_LIMIT)
HYPERPARAMETERS = ArgumentLimits(95, 2500)
"""Arguments that arrive as hyperparameters; from the shapes HyperParameters (100) and HyperParameterValue."""
ARGUMENT = "argument-"
"""Beginning of the names of the hyperparameters that hold the arguments of a trial's command, in their order."""
TRIAL, TURN = "trial", "turn"
"""Hyperparameters whose sum is the index of a trial."""
TRAIN = "train"
"""The only argument with which the service starts the image of a tuning job."""
INGEST = "ingest"
"""The first argument of the container of the step `ingest`."""
_REQUEST = "--request="

Text: TypeAlias = str | dict[str, Any]
"""A text, or an expression that evaluates to one."""


def to_arguments(
    request: ContainerRequest,
    *,
    code: str,
    seed: Text,
    values: Mapping[str, Text],
    dataset_digest: str = "",
    limits: ArgumentLimits = COMMAND,
) -> list[Text]:
    """Return the arguments of a container's command.

    Args:
        request: request that the container executes.
        code: digest of the code, from `code_digest`.
        seed: random seed, as text or expression.
        values: values of the step's and the gate's parameters, by name, as texts or expressions.
        dataset_digest: digest of the data set; with it, the service never reuses a result for changed data.
        limits: of the service.

    Raises:
        PipelineError: the request is larger than the arguments that the service allows.
    """
    arguments: list[Text] = [f"--root={CONTAINER_ROOT}", f"--code={code}", _joined("--seed=", seed)]
    if dataset_digest:
        arguments.append(f"--dataset-digest={dataset_digest}")
    gate_parameters = request.gate.parameters if request.gate else ()
    for flag, parameters in (("parameter", request.parameters), ("gate-parameter", gate_parameters)):
        arguments += [_joined(f"--{flag}={each.name}=", values[each.name]) for each in parameters]
    # Not sorted: the order of a mapping in the configuration may matter, and a local run keeps it.
    text = json.dumps(request.to_json(), separators=(",", ":"))
    size = limits.length - len(_REQUEST)
    pieces = [f"{_REQUEST}{text[start : start + size]}" for start in range(0, len(text), size)]
    if len(arguments) + len(pieces) > limits.count:
        room = (limits.count - len(arguments)) * size
        raise PipelineError(
            f"step '{request.step.name}': its configuration needs a request of {len(text)} characters, but a SageMaker "
            f"container takes at most {room}; declare only the configuration sections that the step reads, "
            "or move long lists to files"
        )
    return arguments + list[Text](pieces)


def _joined(prefix: str, value: Text) -> Text:
    if isinstance(value, str):
        return f"{prefix}{value}"
    return {"Std:Join": {"On": "", "Values": [prefix, value]}}
