"""The settings of a workspace: ``workspace.yaml`` in its folder. Everything in it is optional, as is the file."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from mlops_core.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

WORKSPACE_FILE = "workspace.yaml"
_EXPECTED = {bool: "true or false", str: "a text", dict: "a section per name"}


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceSettings:
    """What a workspace asks for.

    Attributes:
        require_bundle: a model version is approved only with an evidence bundle that is verified.
        require_staging_test: a model version is approved, and deployed to production, only after it has passed its test
            in staging.
        record_requests: a few test samples are kept with each model version, to test its deployments.
        trust: trust file with the keys that sign bundles; empty for none. A relative path begins at the workspace.
        observers: name of an observer -> its settings, which are passed to it as they are.
    """

    require_bundle: bool = False
    require_staging_test: bool = False
    record_requests: bool = True
    trust: str = ""
    observers: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


def read_workspace_settings(home: Path) -> WorkspaceSettings:
    """Return the settings of the workspace in a folder.

    Raises:
        ConfigError: the file cannot be read, has an unknown key, or a value of the wrong type.
    """
    path = home / WORKSPACE_FILE
    if not path.exists() and not path.is_symlink():
        return WorkspaceSettings()
    from mlops_core.config_files.yaml_source import read_yaml_file  # not above: a run that changes nothing has no YAML

    source = read_yaml_file(path, environ={})
    for key, ambiguity in source.ambiguities.items():  # a truth value of YAML 1.1 is no setting, as is said below
        if key not in source.data:
            raise ConfigError(f"{path} (line {source.lines.get(key, 1)}): {key}: {ambiguity}")
    known = {field.name: type(getattr(WorkspaceSettings(), field.name)) for field in fields(WorkspaceSettings)}
    for key, value in source.data.items():
        where = f"{path} (line {source.lines.get(key, 1)}): {key}"
        if key not in known:
            raise ConfigError(f"{where} is not a setting{did_you_mean(key, known) or ';'} settings: {', '.join(known)}")
        if type(value) is not known[key]:
            raise ConfigError(f"{where} is {value!r}; expected {_EXPECTED[known[key]]}")
        if isinstance(value, dict):
            _check_sections(value, where)
    return WorkspaceSettings(**source.data)


def _check_sections(value: Mapping[object, object], where: str) -> None:
    """Refuse settings of observers that are not one section per name."""
    for name, section in value.items():
        if (
            not isinstance(name, str)
            or not isinstance(section, dict)
            or not all(isinstance(key, str) for key in section)
        ):
            raise ConfigError(f"{where}.{name} is {section!r}; expected a section of settings, for example 'uri: ...'")
