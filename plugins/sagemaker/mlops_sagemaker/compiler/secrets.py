"""Keeps secrets out of definitions, which everybody in the account can read.

What a secret is, says `mlops_core.runners.remote.secrets`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mlops_core.runners.remote.secrets import check_request_secrets, check_texts, scalars

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlops_core.runners import RunRequest

_SERVICE_KEYS = ("ClientToken", "ClientRequestToken", "NextToken")
_REFUSED = (
    "but everybody in the account can read a definition; remove it, and let the step fetch it with its role, for "
    "example from AWS Secrets Manager"
)


def check_request(request: RunRequest) -> None:
    """Refuse a run whose parameters, or whose configuration of a step, hold a secret.

    Raises:
        ConfigError: one does; the message has its key, never its value.
    """
    check_request_secrets(request, refused=_REFUSED)


def check_definition_texts(data: Mapping[str, Any], environ: Mapping[str, str]) -> None:
    """Refuse a compiled definition that holds a secret, as the last look before it is written.

    Args:
        data: the definition.
        environ: the variables whose values must not occur in it, if their names are those of secrets.

    Raises:
        ConfigError: it holds one; the message has its place, never its value.
    """
    texts = (*scalars(data, "definition", ignored=_SERVICE_KEYS), *_pairs(data, "definition"), *_requests(data))
    check_texts(texts, environ, refused=_REFUSED)


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
                yield from scalars(json.loads("".join(pieces)).get("config"), f"step '{step['Name']}': config")
