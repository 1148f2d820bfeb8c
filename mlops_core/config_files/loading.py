"""Reading the configuration of a use case: defaults, then ``user_config.yaml``, then ``--set``, as one validated model.

All faults are reported together, before anything runs; each is one line with file, line, dotted key, the value and
what was expected. Environment variables are read by `mlops_core.settings` only.
"""

from __future__ import annotations

import copy
import logging
import re
from typing import TYPE_CHECKING, Any

import pydantic

from mlops_core.config_files.loaded import LoadedConfig, put_value
from mlops_core.config_files.yaml_source import YamlSource, read_yaml_file, read_yaml_scalar
from mlops_core.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from mlops_core.config import UseCaseConfig
    from mlops_core.config_files.imported import ImportedConfig

_LOG = logging.getLogger(__name__)
_OVERRIDE_KEY = re.compile(r"[A-Za-z_][\w-]*(\.[A-Za-z_][\w-]*)*\Z")


def load_config(
    model: type[UseCaseConfig],
    *,
    default: Path | None,
    path: Path | None,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str],
    convert: Callable[[YamlSource], ImportedConfig | None] | None = None,
) -> LoadedConfig:
    """Return the validated configuration.

    Args:
        model: what it must be.
        default: the plugin's own file; None for the model's defaults.
        path: the user's file, merged over the default section by section and key by key.
        overrides: texts ``a.b=value``; the value is read as YAML.
        environ: for ``${NAME}``.
        convert: asked whether the user's file has another program's layout; it returns what the file means then.

    Raises:
        ConfigError: every fault at once.
    """
    sources = [read_yaml_file(default, environ=environ)] if default is not None else []
    imported = _import_user_file(path, environ=environ, convert=convert) if path and convert else None
    if imported is not None:
        sources.append(imported)
    elif path is not None:
        sources.append(read_yaml_file(path, environ=environ))
    loaded = validate_sources(model, sources, overrides=overrides, path=path)
    loaded.is_imported = imported is not None
    return loaded


def validate_sources(
    model: type[UseCaseConfig],
    sources: Sequence[YamlSource],
    *,
    overrides: Sequence[str] = (),
    path: Path | None = None,
) -> LoadedConfig:
    """Return the validated configuration of documents that were read, a later one over an earlier one.

    Args:
        model: what it must be.
        sources: the documents.
        overrides: texts ``a.b=value``.
        path: the user's file, for messages.

    Raises:
        ConfigError: every fault at once.
    """
    merged: dict[str, Any] = {}
    for source in sources:
        _merge(merged, source.data)
    override_keys = {}
    for text in overrides:
        key, value = _parse_override(text)
        put_value(merged, key.split("."), value)
        override_keys[key] = text
    try:
        validated = model.model_validate(merged)
    except pydantic.ValidationError as error:
        problems = [_problem(fault, model, sources, override_keys) for fault in error.errors(include_url=False)]
        if len(problems) == 1:
            raise ConfigError(problems[0]) from None
        name = path.name if path else "the configuration"
        raise ConfigError(f"{name} has {len(problems)} faults", problems=problems) from None
    secrets = frozenset().union(*(source.secrets for source in sources))
    return LoadedConfig(model=validated, path=path, secrets=secrets)


def _import_user_file(
    path: Path, *, environ: Mapping[str, str], convert: Callable[[YamlSource], ImportedConfig | None]
) -> YamlSource | None:
    """Return what the user's file means when it has the layout of another program, else None."""
    imported = convert(read_yaml_file(path, environ=environ, is_foreign=True))
    if imported is None:
        return None
    imported.require_accepted()
    _LOG.warning("%s", imported.summary())
    return imported.source


def _parse_override(text: str) -> tuple[str, Any]:
    key, separator, value = text.partition("=")
    key = key.strip()
    if not separator or not _OVERRIDE_KEY.match(key):
        raise ConfigError(f"--set {text!r} is not KEY=VALUE, for example training.epochs=3")
    return key, read_yaml_scalar(value, name=f"--set {text}")


def _merge(target: dict[str, Any], data: Mapping[str, Any]) -> None:
    for key, value in data.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        else:
            target[key] = copy.deepcopy(value)


def _problem(
    fault: Any, model: type[UseCaseConfig], sources: Sequence[YamlSource], overrides: Mapping[str, str]
) -> str:
    location = tuple(fault["loc"])
    blamed = getattr(fault.get("ctx", {}).get("error"), "key", "")
    key = _dotted((*location, blamed) if blamed else location)
    where, line = _origin(key, sources, overrides)
    return f"{where}: {key}: {_explained(fault, location, model)}{line}"


def _dotted(location: Sequence[str | int]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.lstrip(".") or "the document"


def _origin(key: str, sources: Sequence[YamlSource], overrides: Mapping[str, str]) -> tuple[str, str]:
    """Return where the key was set last, or where its section was."""
    while True:
        for override, text in overrides.items():
            if key == override or key.startswith(f"{override}.") or override.startswith(f"{key}."):
                return f"--set {text}", ""
        for source in reversed(sources):
            if key in source.lines:
                return source.name, f" (line {source.lines[key]})"
        if "." not in key:
            return (sources[-1].name if sources else "configuration"), ""
        key = key.rpartition(".")[0]


def _explained(fault: Any, location: Sequence[str | int], model: type[pydantic.BaseModel]) -> str:
    kind, found = fault["type"], fault["input"]
    if kind == "extra_forbidden":
        known = _fields(location[:-1], model)
        return f"unknown key{did_you_mean(str(location[-1]), known) or ';'} known: {', '.join(known)}"
    if kind == "missing":
        return "is required and not set"
    message = str(fault["msg"]).removeprefix("Value error, ")
    if kind not in {"value_error", "assertion_error"}:  # a validator's own words may begin with a name
        message = f"{message[:1].lower()}{message[1:]}"
    if isinstance(found, dict):
        return message
    return f"{found!r}: {message}"


def _fields(location: Sequence[str | int], model: type[pydantic.BaseModel]) -> list[str]:
    """Return the legal keys of the section at `location`."""
    current: Any = model
    for part in location:
        field = current.model_fields.get(part) if hasattr(current, "model_fields") else None
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())] if field else []
        current = next((item for item in candidates if hasattr(item, "model_fields")), None)
        if current is None:
            return []
    return list(current.model_fields)
