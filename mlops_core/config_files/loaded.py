"""`LoadedConfig`: a validated configuration, as its model and as the data that runs, records and step keys read.

The data suffice for a run in which nothing has changed: pydantic and the plugin are imported only when somebody asks
for the model. How a configuration is read and validated is the subject of `mlops_core.config_files.loading`.
"""

from __future__ import annotations

import copy
import hashlib
import json
from typing import TYPE_CHECKING, Any

from mlops_core.config_files.references import References
from mlops_core.config_files.values import find_value, place_of, replace_texts
from mlops_core.redaction import REDACTED, Redactor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mlops_core.config import UseCaseConfig


class LoadedConfig:
    """A validated configuration.

    Attributes:
        path: the user's file; None when only defaults and overrides were used.
        references: what is written instead of values that came from the environment, and instead of secrets.
        is_imported: the user's file has the layout of another program.
    """

    def __init__(
        self,
        *,
        model: UseCaseConfig,
        path: Path | None,
        references: References | None = None,
        is_imported: bool = False,
    ) -> None:
        """Hold a validated `model`."""
        self.path = path
        self.references = references or References()
        self.is_imported = is_imported
        self._model: UseCaseConfig | None = model
        self._load: Callable[[], UseCaseConfig] | None = None
        self._sections: Mapping[str, Any] | None = None
        self._text = ""

    @classmethod
    def from_data(
        cls,
        sections: Mapping[str, Any],
        *,
        text: str,
        path: Path | None,
        references: References,
        load: Callable[[], UseCaseConfig],
    ) -> LoadedConfig:
        """Return a configuration whose model is loaded when it is first asked for.

        Args:
            sections: what `sections` returns.
            text: what `to_yaml` returns.
            path: the user's file.
            references: what is written instead of values.
            load: validates the configuration again.
        """
        config = cls.__new__(cls)
        config.path, config.references, config.is_imported = path, references, False
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

    @property
    def secrets(self) -> Mapping[str, str]:
        """Dotted keys whose values nobody may see -> what is written instead, such as ``${TOKEN}``.

        The text is empty where none gives the value again.
        """
        return self.references.secrets(self.sections()) if self.references.texts else {}

    def redactor(self) -> Redactor:
        """Return what takes the values that are written as references, and secrets, out of any text."""
        return self.references.redactor(self.sections()) if self.references.texts else Redactor()

    def comparable_sections(self) -> dict[str, Any]:
        """Return section -> its values, each secret replaced by its digest: comparable, but not readable."""
        data = self.sections()
        secrets = self.secrets
        if secrets:  # a plugin may have made other values from a secret
            redactor = self.redactor()
            data = replace_texts(data, lambda text: text if redactor.without_values(text) == text else _secret(text))
        for key in secrets:
            place = place_of(data, key)
            if place:
                place[0][place[1]] = _secret(find_value(self._sections, key))
        return data

    def reference_digests(self, *, salt: str) -> dict[str, str]:
        """Return dotted key of each reference -> a digest of its value that only texts with the same salt share."""
        data = self.sections()
        return {key: _digest([salt, find_value(data, key)]) for key in self.references.texts}

    def to_yaml(self) -> str:
        """Return the configuration as used, as YAML text that loads as the same one; references stay references."""
        if not self._text:
            import yaml

            from mlops_core.config_files.yaml_scalars import CoreDumper, Quoted

            redactor = self.redactor()
            # A text that is read again means itself: ``${`` begins a variable.
            data = replace_texts(self.sections(), lambda text: redactor.without_values(text.replace("${", "$${")))
            for key, reference in self.references.texts.items():
                place = place_of(data, key)
                if place:
                    place[0][place[1]] = Quoted(reference or REDACTED)
            self._text = yaml.dump(data, Dumper=CoreDumper, sort_keys=False, allow_unicode=True)
        return self._text


def _secret(value: object) -> str:
    return f"secret {_digest(value)}"


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
