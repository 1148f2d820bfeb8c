"""The commands of nodes: shell texts with ``${{...}}`` expressions, and the request of a container in them.

`mlops_core.runners.container.request` documents the arguments. The service puts the values of inputs into the text
before a shell reads it, so every argument is in double quotes, and the request is base64: nothing in it is special
to the shell or to the service.
"""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any

from mlops_core import ConfigError
from mlops_core.runners import PipelineError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mlops_core.runners import ParameterValue
    from mlops_core.runners.container.request import ContainerRequest

ENTRYPOINT = "python3 -m mlops_azureml.container"
"""The command of every container; the image only has to contain core and the plugins."""
COMMAND_LIMIT = 100_000
"""Characters; Linux passes a text of at most 131,072 bytes to a shell."""
_REQUEST = "--request64="
_SPECIAL = re.compile(r"[\"$`\\\x00-\x1f]")


def input_expression(port: str) -> str:
    """Return the expression for an input of the node itself."""
    return f"${{{{inputs.{port}}}}}"


def output_expression(port: str) -> str:
    """Return the expression for the folder of an output of the node itself."""
    return f"${{{{outputs.{port}}}}}"


def job_input(name: str) -> str:
    """Return the binding of a node's input to an input of the job."""
    return f"${{{{parent.inputs.{name}}}}}"


def node_output(node: str, port: str) -> str:
    """Return the binding of a node's input to an output of another node."""
    return f"${{{{parent.jobs.{node}.outputs.{port}}}}}"


def encoded(data: Mapping[str, Any]) -> str:
    """Return JSON as base64."""
    # Not sorted: the order of a mapping in the configuration may matter, and a local run keeps it.
    return base64.b64encode(json.dumps(data, separators=(",", ":")).encode()).decode()


def decoded(text: str) -> Any:
    """Return the JSON that `encoded` wrote.

    Raises:
        ValueError: it is damaged.
    """
    return json.loads(base64.b64decode(text, validate=True))


def request_argument(request: ContainerRequest) -> str:
    """Return the argument that holds a request."""
    return f"{_REQUEST}{encoded(request.to_json())}"


def request_text(argument: str) -> str:
    """Return the base64 of the argument that `request_argument` wrote; empty for any other argument."""
    return argument.removeprefix(_REQUEST) if argument.startswith(_REQUEST) else ""


def command_text(what: str, arguments: Iterable[str], *, step: str) -> str:
    """Return the command of a node.

    Args:
        what: the part of the entry point to start; empty for a step.
        arguments: arguments with expressions.
        step: the step's name, for the message.

    Raises:
        PipelineError: it is too long for a shell.
    """
    command = " ".join([ENTRYPOINT, *([what] if what else []), *(f'"{each}"' for each in arguments)])
    if len(command) > COMMAND_LIMIT:
        raise PipelineError(
            f"step '{step}': its configuration makes a command of {len(command)} characters, and a shell takes at most "
            f"{COMMAND_LIMIT}; declare only the configuration sections that the step reads, or move long lists to files"
        )
    return command


def checked_literal(name: str, value: ParameterValue) -> ParameterValue:
    """Return the value of a parameter that a command may have.

    Raises:
        ConfigError: the shell or the service would read it as something else.
    """
    if isinstance(value, str) and (match := _SPECIAL.search(value)):
        raise ConfigError(
            f"parameter {name}: {value!r} contains {match[0]!r}, which a shell reads as something else; leave it out"
        )
    return value
