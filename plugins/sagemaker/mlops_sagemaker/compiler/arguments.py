"""A container's request as command arguments: the service allows 100 of 256 characters each.

What the arguments mean is in `mlops_core.runners.container.request`, which reads them again.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

from mlops_core.runners import PipelineError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_core.runners.container.request import ContainerRequest

ENTRYPOINT = ("python3", "-m", "mlops_sagemaker.container")
"""The command of every step's container; an image that holds core and the plugins needs nothing else."""
CONTAINER_ROOT = "/opt/ml"
ARGUMENT_LIMIT = 256
ARGUMENT_COUNT_LIMIT = 100
"""Both limits are the service's: shapes ContainerArgument(s) and TrainingContainerArgument(s)."""
_REQUEST = "--request="

Text: TypeAlias = str | dict[str, Any]
"""A text, or the expression of a definition that becomes one."""


def to_arguments(
    request: ContainerRequest,
    *,
    code: str,
    seed: Text,
    values: Mapping[str, Text],
    dataset_digest: str = "",
) -> list[Text]:
    """Return the arguments of a container's command.

    Args:
        request: what the container shall do.
        code: digest of the code, `code_digest`.
        seed: number or expression.
        values: parameter -> expression of its value, for the step's and the gate's parameters.
        dataset_digest: of the data set, so that a changed one is never answered from the service's step cache.

    Raises:
        PipelineError: the request does not fit into the arguments that the service allows.
    """
    arguments: list[Text] = [f"--root={CONTAINER_ROOT}", f"--code={code}", _joined("--seed=", seed)]
    if dataset_digest:
        arguments.append(f"--dataset-digest={dataset_digest}")
    gate_parameters = request.gate.parameters if request.gate else ()
    for flag, parameters in (("parameter", request.parameters), ("gate-parameter", gate_parameters)):
        arguments += [_joined(f"--{flag}={each.name}=", values[each.name]) for each in parameters]
    # Not sorted: the order of a mapping in the configuration may count, and a local run keeps it.
    text = json.dumps(request.to_json(), separators=(",", ":"))
    size = ARGUMENT_LIMIT - len(_REQUEST)
    pieces = [f"{_REQUEST}{text[start : start + size]}" for start in range(0, len(text), size)]
    if len(arguments) + len(pieces) > ARGUMENT_COUNT_LIMIT:
        room = (ARGUMENT_COUNT_LIMIT - len(arguments)) * size
        raise PipelineError(
            f"step '{request.step.name}': its configuration makes a request of {len(text)} characters; a SageMaker "
            f"container takes {room}; let the step declare only the configuration sections that it reads, "
            "or move long lists into files"
        )
    return arguments + list[Text](pieces)


def _joined(prefix: str, value: Text) -> Text:
    if isinstance(value, str):
        return f"{prefix}{value}"
    return {"Std:Join": {"On": "", "Values": [prefix, value]}}
