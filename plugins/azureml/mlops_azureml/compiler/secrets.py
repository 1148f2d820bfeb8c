"""Keeps secrets out of jobs, which everybody in the workspace can read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mlops_azureml.compiler.commands import decoded, request_text
from mlops_core.runners.remote.secrets import check_request_secrets, check_texts, scalars

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlops_core.runners import RunRequest

_REFUSED = (
    "but everybody in the workspace can read a job; remove it, and let the step fetch it with its identity, for "
    "example from a key vault"
)
_ENCODED = re.compile(r"--request64=[A-Za-z0-9+/=]*")
_ARGUMENT = re.compile(r'"([^"]*)"')


def check_request(request: RunRequest) -> None:
    """Refuse a run whose parameters, or whose configuration of a step, hold a secret.

    Raises:
        ConfigError: one does; the message has its key, never its value.
    """
    check_request_secrets(request, refused=_REFUSED)


def check_job_texts(data: Mapping[str, Any], environ: Mapping[str, str]) -> None:
    """Refuse a compiled job that holds a secret, as the last look before it is written.

    Raises:
        ConfigError: it holds one; the message has its place, never its value.
    """
    texts = [
        (place, _ENCODED.sub("", value) if isinstance(value, str) else value)
        for place, value in scalars(dict(data), "job")
    ]
    check_texts((*texts, *_requests(data)), environ, refused=_REFUSED)


def _requests(data: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Yield the configuration in the requests of containers, which are encoded."""
    for name, node in data["jobs"].items():
        component = node.get("component") or node.get("trial") or {}
        command = component.get("command", "") if isinstance(component, dict) else ""
        for argument in _ARGUMENT.findall(command):
            if text := request_text(argument):
                yield from scalars(decoded(text).get("config"), f"node '{name}': config")
