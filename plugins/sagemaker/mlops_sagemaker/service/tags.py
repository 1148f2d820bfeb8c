"""The tags of a SageMaker project, from ``get_pipeline_custom_tags`` in the pipeline's module.

Two kinds of project templates exist: ``get_pipeline_custom_tags(new_tags, region, sagemaker_project_arn=None)`` and the
later one with ``sagemaker_project_name``. The name of the parameter decides what it gets.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from mlops_core.runners import RunnerError, read_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Json = Any


def custom_tags(function: Callable[..., Any], tags: Sequence[Json], kwargs: Mapping[str, Json]) -> list[Json]:
    """Return the tags that a module's function returns for the given ones; of equal keys the last one counts.

    Args:
        function: ``get_pipeline_custom_tags``.
        tags: tags of the command line.
        kwargs: keywords of ``get_pipeline``, with ``region`` and what identifies the project.

    Raises:
        RunnerError: the function returned something else, or the project has to be looked up and the service refuses.
    """
    positional, named = _arguments(function, tags, kwargs)
    returned = function(*positional, **named)
    if not isinstance(returned, list | tuple) or not all(map(is_tag, returned)):
        raise RunnerError(f"get_pipeline_custom_tags returned {type(returned).__name__}, not a list of tags")
    return list({tag["Key"]: tag for tag in returned}.values())


def is_tag(tag: Json) -> bool:
    """Return whether a value is a tag: an object with Key and Value."""
    return isinstance(tag, dict) and {"Key", "Value"} <= tag.keys()


def _arguments(
    function: Callable[..., Any], tags: Sequence[Json], kwargs: Mapping[str, Json]
) -> tuple[list[Json], dict[str, Json]]:
    """Return the arguments for a function's parameters; ``*args`` gets what the first templates passed."""
    region = kwargs.get("region") or _variable("AWS_REGION", "AWS_DEFAULT_REGION")
    positional: list[Json] = []
    named: dict[str, Json] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        first = (list(tags), region)
        if parameter.kind is parameter.VAR_POSITIONAL:
            positional += [*first, _project(kwargs, what="arn", region=region)][len(positional) :]
        elif parameter.kind is parameter.KEYWORD_ONLY:
            named[parameter.name] = _by_name(parameter.name, tags, kwargs, region=region)
        elif len(positional) < len(first):
            positional.append(first[len(positional)])
        else:
            positional.append(_by_name(parameter.name, tags, kwargs, region=region))
    return positional, named


def _by_name(name: str, tags: Sequence[Json], kwargs: Mapping[str, Json], *, region: str | None) -> Json:
    if name in ("new_tags", "tags"):
        return list(tags)
    if name == "region":
        return region
    what = next((word for word in ("arn", "id", "name") if word in name.lower().split("_")), "name")
    return _project(kwargs, what=what, region=region)


def _project(kwargs: Mapping[str, Json], *, what: str, region: str | None) -> str | None:
    """Return the ARN, name or ID of the SageMaker project: from the keywords, the environment, or the other ones.

    Raises:
        RunnerError: the ARN has to be looked up, and the service refuses.
    """
    value = kwargs.get(f"sagemaker_project_{what}") or _variable(f"SAGEMAKER_PROJECT_{what.upper()}")
    if value or what == "id":
        return value
    other = "name" if what == "arn" else "arn"
    known = kwargs.get(f"sagemaker_project_{other}") or _variable(f"SAGEMAKER_PROJECT_{other.upper()}")
    if not known:
        return None
    if what == "name":
        return str(known).rpartition("/")[2]
    from mlops_sagemaker.service.account import Account

    project = Account(region=region).call("sagemaker", "describe_project", ProjectName=known)
    return str(project["ProjectArn"])


def _variable(*names: str) -> str | None:
    environ = read_settings().environ
    return next((environ[name] for name in names if environ.get(name)), None)
