"""Reading the configuration of a use case: defaults, then ``user_config.yaml``, then ``--set``, as one validated model.

All faults are reported together, before anything runs; each is one line with file, line, dotted key, the value and
what was expected. Environment variables are read by `mlops_core.settings` only.
"""

from __future__ import annotations

import copy
import logging
import re
from typing import TYPE_CHECKING, Any, TypeVar

import pydantic

from mlops_core.config_files.loaded import LoadedConfig
from mlops_core.config_files.references import References
from mlops_core.config_files.values import find_value, put_value, visible_line
from mlops_core.config_files.yaml_scalars import is_plain_number
from mlops_core.config_files.yaml_source import (
    YamlSource,
    read_configuration_text,
    read_yaml_file,
    read_yaml_text,
    read_yaml_value,
)
from mlops_core.errors import ConfigError, UsageError, did_you_mean
from mlops_core.redaction import REDACTED, is_secret_key
from mlops_core.settings import expand_home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from mlops_core.config import UseCaseConfig
    from mlops_core.config_files.imported import ImportedConfig
    from mlops_core.config_files.yaml_scalars import Ambiguity

_LOG = logging.getLogger(__name__)
N = TypeVar("N")
_DATASET, _PATH, _SOURCE = "dataset", "path", "source"
_DATASET_PATH = f"{_DATASET}.{_PATH}"
_ASSET_VERSION = re.compile(r"(asset:)?(?P<asset>[a-z0-9][a-z0-9._-]*:[0-9a-f]+)\Z")
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
    sources = [_public(read_yaml_file(default, environ=environ))] if default is not None else []
    text = read_configuration_text(path) if path is not None else ""
    imported = _import_user_file(path, text, environ=environ, convert=convert) if path and convert else None
    if imported is not None:
        sources.append(imported)
    elif path is not None:
        sources.append(read_yaml_text(text, name=path.name, environ=environ))
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
    section = getattr(model.model_fields.get(_DATASET), "annotation", None)
    has_path = isinstance(section, type) and issubclass(section, pydantic.BaseModel) and _PATH in section.model_fields
    document = _Document(sources, has_dataset_path=has_path)
    for text in overrides:
        document.override(text)
    if has_path and isinstance(document.data.get(_DATASET), dict) and _SOURCE in document.data[_DATASET]:
        model = _with_source(model, section)
    redactor = document.references.redactor(document.data)
    with redactor.errors():
        validated, problems = document.validated(model)
    problems = [visible_line(redactor.text(problem)) for problem in problems]
    if len(problems) == 1:
        raise ConfigError(problems[0])
    if problems:
        name = path.name if path else "the configuration"
        raise ConfigError(f"{name} has {len(problems)} faults", problems=problems)
    assert validated is not None  # noqa: S101  for mypy: without a problem there is a model
    return LoadedConfig(model=validated, path=path, references=document.references)


def _with_source(model: type[UseCaseConfig], section: Any) -> type[UseCaseConfig]:
    """Return a plugin's model with ``dataset.source`` in it, for a configuration that has one."""
    from mlops_core.config import DatasetSourceSection

    if _SOURCE in section.model_fields:  # the plugin's own
        return model
    optional: Any = (DatasetSourceSection | None, None)
    extended = pydantic.create_model(section.__name__, __base__=section, **{_SOURCE: optional})
    field = copy.copy(model.model_fields[_DATASET])
    dataset: Any = (extended, field.default if field.is_required() else extended())
    return pydantic.create_model(model.__name__, __base__=model, **{_DATASET: dataset})


def _public(source: YamlSource) -> YamlSource:
    """Return a plugin's own file: what is written there is no secret, since everybody can read it in the package."""
    source.references = {key: text for key, text in source.references.items() if "${" in text}
    return source


def _import_user_file(
    path: Path, text: str, *, environ: Mapping[str, str], convert: Callable[[YamlSource], ImportedConfig | None]
) -> YamlSource | None:
    """Return what the user's file means when it has the layout of another program, else None."""
    imported = convert(read_yaml_text(text, name=path.name, environ=environ, is_foreign=True))
    if imported is None:
        return None
    imported.require_accepted()
    _LOG.warning("%s", imported.summary())
    return imported.source


class _Document:
    """Several documents as one, a later one over an earlier one, with what is noted about the values that remain."""

    def __init__(self, sources: Sequence[YamlSource], *, has_dataset_path: bool = False) -> None:
        self._has_dataset_path = has_dataset_path
        self.data: dict[str, Any] = {}
        self._texts: dict[str, str] = {}
        self._variables: dict[str, str] = {}
        self._ambiguities: dict[str, Ambiguity] = {}
        self._spellings: dict[str, str] = {}
        self._sources = sources
        self._overrides: dict[str, str] = {}
        for source in sources:
            self._merge(self.data, source.data, source, "")

    @property
    def references(self) -> References:
        """What is written instead of values."""
        return References(texts=self._texts, variables=self._variables)

    def validated(self, model: type[UseCaseConfig]) -> tuple[UseCaseConfig | None, list[str]]:
        """Return the validated model, None where it is wrong, and what is wrong."""
        try:
            validated = model.model_validate(self.data)
        except pydantic.ValidationError as error:
            return None, [self.problem(fault, model) for fault in error.errors(include_url=False)]
        except RuntimeError:  # what a plugin's validator gets from Path.expanduser
            problems = list(self.unknown_homes())
            if not problems:
                raise
            return None, problems
        return validated, list(self.changed_values(validated))

    def override(self, text: str) -> None:
        """Apply ``a.b=value``.

        Raises:
            ConfigError: it is malformed.
        """
        key, separator, value = text.partition("=")
        key = key.strip()
        if not separator or not _OVERRIDE_KEY.match(key):
            shown = repr(f"{key}={REDACTED}" if is_secret_key(key) else text)
            raise ConfigError(f"--set {shown} is not KEY=VALUE, for example training.epochs=3")
        shown = f"--set {key}={REDACTED}" if is_secret_key(key) else f"--set {text}"
        if self._has_dataset_path and key == _DATASET_PATH and not value.strip():  # such as an unset $DATA of a shell
            raise ConfigError(f"--set {key}= is empty; expected a folder or archive, or null for the catalogue's data")
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise ConfigError(
                f"{shown} is not UTF-8 text, in which a configuration is kept; for the path of a file, set {key} to "
                "${NAME} in a configuration file, and the variable NAME to the path"
            )
        source = read_yaml_value(value, key=key, name=shown)
        is_same = find_value(self.data, key) == source.data[key]
        asset = self._asset_path(key, source.data[key], source)
        if asset is None:
            put_value(self.data, key.split("."), source.data[key])
        else:
            put_value(self.data, [_DATASET, _PATH], asset)
        self._take_notes(key, source, is_same=is_same)
        self._overrides[key] = f"--set {key}={REDACTED}" if source.references else shown

    def problem(self, fault: Any, model: type[UseCaseConfig]) -> str:
        """Return a fault that pydantic found as one line."""
        location = tuple(fault["loc"])
        blamed = getattr(fault.get("ctx", {}).get("error"), "key", "")
        key = _dotted((*location, blamed) if blamed else location)
        if key in self._ambiguities:
            return self._line(key, str(self._ambiguities[key]))
        return self._line(key, _explained(fault, location, model, shown=self._shown(key)))

    def _shown(self, key: str) -> str:
        """Return what messages show instead of the value of a key; empty where they show the value."""
        if key in self._texts:
            return self._texts[key] or REDACTED
        return REDACTED if is_secret_key(key) or any(_is_within(name, key) for name in self._texts) else ""

    def changed_values(self, validated: UseCaseConfig) -> Iterator[str]:
        """Yield a problem for each value that does not mean what its author sees.

        Its meaning depends on its reader, a truth value or an unusual text was read as a number, or the path of the
        data is empty, which is no reason to use other data.
        """
        result = validated.model_dump()
        yield from self._changed_keys(self.data, result, "")
        result = _with_text_keys(result)
        for key, ambiguity in self._ambiguities.items():
            if not ambiguity.allows(find_value(result, key)):
                yield self._line(key, str(ambiguity))
        for key, spelling in self._spellings.items():
            if _holds_text(find_value(result, key)):
                yield self._line(
                    key, f"{self._shown(key) or spelling} is a number, which has other spellings; quote it"
                )
        for key, value in _leaves(self.data, ""):
            outcome = find_value(result, key) if isinstance(value, bool | str) else None
            if isinstance(outcome, int | float) and not isinstance(outcome, bool):
                if isinstance(value, bool):
                    yield self._line(key, f"{str(value).lower()} is a truth value; expected a number")
                elif not is_plain_number(str(value)):
                    shown = self._shown(key) or repr(value)
                    yield self._line(key, f"{shown}: expected a number in plain digits, without leading zeros and '_'")
        if (
            self._has_dataset_path
            and isinstance(path := find_value(self.data, _DATASET_PATH), str)
            and not path.strip()
        ):
            yield self._line(
                _DATASET_PATH, "is empty; expected a folder or an archive, or null for the catalogue's data"
            )

    def _changed_keys(self, data: object, result: object, key: str) -> Iterator[str]:
        """Yield a problem for each key that became a number of another spelling, such as ``010`` or ``1_0``."""
        if not isinstance(data, dict) or not isinstance(result, dict):
            return
        has_numbers = bool(result) and all(isinstance(each, int | float) for each in result)
        for name, value in data.items():
            place = f"{key}.{name}" if key else str(name)
            if has_numbers and (name != name.strip() or not is_plain_number(name)):
                yield self._line(place, f"{name!r} is a key; expected a number in plain digits, without leading zeros")
            yield from self._changed_keys(value, result.get(name), place)

    def unknown_homes(self) -> Iterator[str]:
        """Yield a problem for each path that begins with the name of a user who does not exist."""
        for key, value in _leaves(self.data, ""):
            try:
                if isinstance(value, str) and value.startswith("~"):
                    expand_home(value, what=key)
            except UsageError as error:
                yield self._line(key, str(error).removeprefix(f"{key}: "))

    def _merge(self, target: dict[str, Any], data: Mapping[str, Any], source: YamlSource, above: str) -> None:
        for name, value in data.items():
            key = f"{above}.{name}" if above else name
            if (asset := self._asset_path(key, value, source)) is not None:
                value = {_PATH: asset}  # noqa: PLW2901
            if isinstance(value, dict) and isinstance(target.get(name), dict):
                self._merge(target[name], value, source, key)
            else:
                is_same = target.get(name) == value
                target[name] = copy.deepcopy(value)
                self._take_notes(key, source, is_same=is_same)

    def _asset_path(self, key: str, value: object, source: YamlSource) -> str | None:
        """Return the path of the data set that ``dataset: NAME:VERSION`` is short for; None for any other value."""
        if key != _DATASET or not self._has_dataset_path or not isinstance(value, str) or key in source.references:
            return None
        named = _ASSET_VERSION.match(value)
        return f"asset:{named['asset']}" if named else None

    def _take_notes(self, key: str, source: YamlSource, *, is_same: bool) -> None:
        """Replace what is noted about the value of `key`, and those inside it, by what is noted in `source`.

        A literal that is the same as in an earlier document, such as the default, is as secret as it was there.
        """
        texts = {name: text for name, text in source.references.items() if not is_same or "${" in text}
        self._texts = self._texts | texts if is_same else _replaced(self._texts, texts, key)
        self._variables |= source.variables
        self._ambiguities = _replaced(self._ambiguities, source.ambiguities, key)
        self._spellings = _replaced(self._spellings, source.spellings, key)

    def _line(self, key: str, what: str) -> str:
        where, line = self._origin(key)
        return f"{where}: {key}: {what}{line}"

    def _origin(self, key: str) -> tuple[str, str]:
        """Return where the key was set last, or where its section was."""
        while True:
            for override, text in self._overrides.items():
                if _is_within(key, override) or _is_within(override, key):
                    return text, ""
            for source in reversed(self._sources):
                if key in source.lines:
                    return source.name, f" (line {source.lines[key]})"
            if "." not in key:
                return (self._sources[-1].name if self._sources else "configuration"), ""
            key = key.rpartition(".")[0]


def _replaced(notes: Mapping[str, N], news: Mapping[str, N], key: str) -> dict[str, N]:
    kept = {name: note for name, note in notes.items() if not _is_within(name, key)}
    return kept | {name: note for name, note in news.items() if _is_within(name, key)}


def _is_within(key: str, section: str) -> bool:
    return key == section or key.startswith((f"{section}.", f"{section}["))


def _with_text_keys(value: Any) -> Any:
    """Return nested mappings with the keys that they have in a file."""
    return {str(name): _with_text_keys(each) for name, each in value.items()} if isinstance(value, dict) else value


def _holds_text(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, list | tuple) and any(map(_holds_text, value)))


def _leaves(value: object, key: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{key}[{index}]")
    else:
        yield key, value


def _dotted(location: Sequence[str | int]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.lstrip(".") or "the document"


def _explained(fault: Any, location: Sequence[str | int], model: type[pydantic.BaseModel], *, shown: str) -> str:
    """Return what is wrong; `shown` is what to show instead of a secret value."""
    kind, found = fault["type"], fault["input"]
    if kind == "extra_forbidden":
        known = _fields(location[:-1], model)
        if not known:
            return "unknown key; none is known here"
        return f"unknown key{did_you_mean(str(location[-1]), known) or ';'} known: {', '.join(known)}"
    if kind == "missing":
        return "is required and not set"
    message = str(fault["msg"]).removeprefix("Value error, ")
    if kind not in {"value_error", "assertion_error"}:  # a validator's own words may begin with a name
        message = f"{message[:1].lower()}{message[1:]}"
    if isinstance(found, dict):
        return message
    hint = "; quote it" if kind == "string_type" and isinstance(found, int | float) else ""
    return f"{shown or repr(found)}: {message}{hint}"


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
