"""Keeps secrets out of definitions, which everybody in the account can read.

Refused are values of keys that name a secret, URLs with a password or a signature, and values of environment variables
that name a secret, wherever they come from: configuration, settings, parameters. A reference is no secret: an
expression, the ARN of a stored secret, the name of a file.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mlops_core import ConfigError
from mlops_sagemaker.values.secrets import names_secret, reason_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlops_core.runners import RunRequest

_SERVICE_KEYS = ("ClientToken", "ClientRequestToken", "NextToken")
_SHORTEST = 8
"""Length of the shortest value of a variable that is searched for; a shorter one is likely to occur by chance."""
_FIX = "remove it, and let the step fetch it with its role, for example from AWS Secrets Manager"


def check_request(request: RunRequest) -> None:
    """Refuse a run whose parameters, or whose configuration of a step, hold a secret.

    Raises:
        ConfigError: one does; the message has its key, never its value.
    """
    sections = request.config.sections()
    for step in request.pipeline.steps:
        for section in step.config:
            for key in sorted(request.config.secrets):
                if key == section or key.startswith((f"{section}.", f"{section}[")):
                    raise _refused(f"{key} is a secret that step '{step.name}' reads")
            for key, value in _scalars(sections.get(section), section):
                if reason := reason_for(key, value):
                    raise _refused(f"{key} {reason} that step '{step.name}' reads")
    for name, value in request.parameters.items():
        if reason := reason_for(name, value):
            raise _refused(f"parameter '{name}' {reason}")


def check_definition_texts(data: Mapping[str, Any], environ: Mapping[str, str]) -> None:
    """Refuse a compiled definition that holds a secret, as the last look before it is written.

    Args:
        data: the definition.
        environ: the variables whose values must not occur in it, if their names are those of secrets.

    Raises:
        ConfigError: it holds one; the message has its place, never its value.
    """
    values = {
        value: name
        for name, value in environ.items()
        if len(value) >= _SHORTEST and names_secret(name) and value.strip()
    }
    for place, value in (*_scalars(data, "definition"), *_pairs(data, "definition"), *_requests(data)):
        if reason := reason_for(place, value):
            raise _refused(f"{place} {reason}")
        name = next((name for text, name in values.items() if isinstance(value, str) and text in value), "")
        if name:
            raise _refused(f"{place} contains the value of the environment variable {name}")


def _refused(what: str) -> ConfigError:
    return ConfigError(f"{what}, but everybody in the account can read a definition; {_FIX}")


def _scalars(value: object, key: str) -> Iterator[tuple[str, object]]:
    """Yield the dotted key and the value of each scalar; the items of a list have the key of the list."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in _SERVICE_KEYS:
                yield from _scalars(inner, f"{key}.{name}")
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _scalars(inner, f"{key}[{index}]")
    else:
        yield key, value


def _pairs(value: object, key: str) -> Iterator[tuple[str, object]]:
    """Yield name and value of the tags and parameters in a definition, whose names are values themselves."""
    if isinstance(value, dict):
        name = value.get("Key", value.get("Name"))
        if isinstance(name, str):
            yield f"{key}.{name}", value.get("Value", value.get("DefaultValue"))
        for inner_name, inner in value.items():
            yield from _pairs(inner, f"{key}.{inner_name}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _pairs(inner, f"{key}[{index}]")


def _requests(data: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Yield the configuration in the requests of containers, which are cut into arguments of limited length."""
    for step in data.get("Steps", ()):
        arguments = step.get("Arguments") or {}
        constant = (arguments.get("TrainingJobDefinition") or {}).get("StaticHyperParameters") or {}
        commands = [
            (arguments.get(section) or {}).get("ContainerArguments") or ()
            for section in ("AppSpecification", "AlgorithmSpecification")
        ]
        for texts in (*commands, [constant[name] for name in sorted(constant)]):
            pieces = [
                text.partition("=")[2] for text in texts if isinstance(text, str) and text.startswith("--request=")
            ]
            if pieces:
                yield from _scalars(json.loads("".join(pieces)).get("config"), f"step '{step['Name']}': config")
