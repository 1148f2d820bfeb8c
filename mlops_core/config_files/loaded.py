"""`LoadedConfig`: a validated configuration, as its model and as the data that runs, records and step keys read.

The data suffice for a run in which nothing has changed: pydantic and the plugin are imported only when somebody asks
for the model. How a configuration is read and validated is the subject of `mlops_core.config_files.loading`.
"""

from __future__ import annotations

import copy
import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from mlops_core.config import UseCaseConfig

REDACTED = "<redacted>"


class LoadedConfig:
    """A validated configuration.

    Attributes:
        path: the user's file; None when only defaults and overrides were used.
        secrets: dotted keys whose values are never written.
        is_imported: the user's file has the layout of another program.
    """

    def __init__(
        self,
        *,
        model: UseCaseConfig,
        path: Path | None,
        secrets: frozenset[str] = frozenset(),
        is_imported: bool = False,
    ) -> None:
        """Hold a validated `model`."""
        self.path = path
        self.secrets = secrets
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
        config.path, config.secrets, config.is_imported = path, frozenset(), False
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
            text = json.dumps(_get(data, key.split(".")), sort_keys=True)
            put_value(data, key.split("."), f"secret {hashlib.sha256(text.encode()).hexdigest()[:16]}")
        return data

    def to_yaml(self) -> str:
        """Return the configuration as used, as YAML text without secrets."""
        if not self._text:
            import yaml

            data = self.sections()
            for key in self.secrets:
                put_value(data, key.split("."), REDACTED)
            self._text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
        return self._text


def put_value(target: dict[str, Any], keys: Sequence[str], value: object) -> None:
    """Set the value at a path of keys, creating the mappings on the way."""
    for key in keys[:-1]:
        if not isinstance(target.get(key), dict):
            target[key] = {}
        target = target[key]
    target[keys[-1]] = value


def _get(data: Mapping[str, Any], keys: Sequence[str]) -> object:
    value: Any = data
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value
