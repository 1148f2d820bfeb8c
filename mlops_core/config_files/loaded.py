"""`LoadedConfig`: a validated configuration, as its model and as the data that runs, records and step keys read.

The data suffice for a run in which nothing has changed: pydantic and the plugin are imported only when somebody asks
for the model. How a configuration is read and validated is the subject of `mlops_core.config_files.loading`.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from mlops_core.config import UseCaseConfig

REDACTED = "<redacted>"
"""Stands for a secret that no reference to a variable gives again."""
_INDEX = re.compile(r"\[(\d+)\]")


class LoadedConfig:
    """A validated configuration.

    Attributes:
        path: the user's file; None when only defaults and overrides were used.
        secrets: dotted keys whose values are never written -> what is written instead, such as ``${TOKEN}``; empty
            where no text gives the value again.
        is_imported: the user's file has the layout of another program.
    """

    def __init__(
        self,
        *,
        model: UseCaseConfig,
        path: Path | None,
        secrets: Mapping[str, str] | None = None,
        is_imported: bool = False,
    ) -> None:
        """Hold a validated `model`."""
        self.path = path
        self.secrets = dict(secrets or {})
        self.is_imported = is_imported
        self._model: UseCaseConfig | None = model
        self._load: Callable[[], UseCaseConfig] | None = None
        self._sections: Mapping[str, Any] | None = None
        self._text = ""

    @classmethod
    def from_data(
        cls, sections: Mapping[str, Any], *, text: str, path: Path | None, load: Callable[[], UseCaseConfig]
    ) -> LoadedConfig:
        """Return a configuration whose model is loaded when it is first asked for.

        Args:
            sections: what `sections` returns.
            text: what `to_yaml` returns.
            path: the user's file.
            load: validates the configuration again.
        """
        config = cls.__new__(cls)
        config.path, config.secrets, config.is_imported = path, {}, False
        config._model, config._load, config._sections, config._text = None, load, sections, text  # noqa: SLF001  its own class
        return config

    @property
    def model(self) -> UseCaseConfig:
        """The use case's model."""
        if self._model is None:
            assert self._load is not None  # noqa: S101  for mypy: one of the two is always there
            self._model = self._load()
        return self._model

    def sections(self) -> dict[str, Any]:
        """Return section -> its values as JSON types."""
        if self._sections is None:
            self._sections = self.model.model_dump(mode="json")
        return copy.deepcopy(dict(self._sections))

    def comparable_sections(self) -> dict[str, Any]:
        """Return section -> its values, each secret replaced by its digest: comparable, but not readable."""
        data = self.sections()
        for key in self.secrets:
            place = _place(data, key)
            if place:
                place[0][place[1]] = f"secret {_digest(place[0][place[1]])}"
        return data

    def secret_digests(self, *, salt: str) -> dict[str, str]:
        """Return dotted key of each secret -> a digest of its value that only texts with the same salt share."""
        data = self.sections()
        return {key: _digest([salt, find_value(data, key)]) for key in self.secrets}

    def to_yaml(self) -> str:
        """Return the configuration as used, as YAML text that loads as the same one; secrets stay references."""
        if not self._text:
            import yaml

            from mlops_core.config_files.yaml_scalars import CoreDumper, Quoted

            data = _escaped(self.sections())
            for key, reference in self.secrets.items():
                place = _place(data, key)
                if place:
                    place[0][place[1]] = Quoted(reference or REDACTED)
            self._text = yaml.dump(data, Dumper=CoreDumper, sort_keys=False, allow_unicode=True)
        return self._text


def put_value(target: dict[str, Any], keys: Sequence[str], value: object) -> None:
    """Set the value at a path of keys, creating the mappings on the way."""
    for key in keys[:-1]:
        if not isinstance(target.get(key), dict):
            target[key] = {}
        target = target[key]
    target[keys[-1]] = value


def find_value(data: object, key: str) -> object:
    """Return the value at a dotted key such as ``a.b[0].c``; None where there is none."""
    place = _place(data, key)
    return place[0][place[1]] if place else None


def _place(data: Any, key: str) -> tuple[Any, Any] | None:
    """Return the mapping or list that holds the value at a dotted key, and the value's name or index in it."""
    if isinstance(data, dict):
        if key in data:
            return data, key
        for name in data:  # a name may hold a dot itself
            if isinstance(name, str) and key.startswith((f"{name}.", f"{name}[")):
                place = _place(data[name], key[len(name) :].removeprefix("."))
                if place:
                    return place
    elif isinstance(data, list | tuple) and (match := _INDEX.match(key)) and int(match[1]) < len(data):
        index, rest = int(match[1]), key[match.end() :].removeprefix(".")
        return _place(data[index], rest) if rest else (data, index)
    return None


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _escaped(value: Any) -> Any:
    """Return a value whose texts mean themselves when they are read again: ``${`` begins a variable."""
    if isinstance(value, dict):
        return {name: _escaped(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_escaped(inner) for inner in value]
    return value.replace("${", "$${") if isinstance(value, str) else value
