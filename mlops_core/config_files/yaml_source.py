"""Reading YAML as data with the line of every key; what is dangerous or huge is refused, what is ambiguous noted.

Plain YAML only: no tags, no duplicate keys, no unbounded aliases. Nothing is ever evaluated. Values have the meaning of
YAML 1.2 (`mlops_core.config_files.yaml_scalars`); merge keys (``<<``) work as in YAML 1.1.
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from mlops_core.config_files.values import visible_line
from mlops_core.config_files.yaml_scalars import (
    CORE_TAGS,
    FLOAT,
    INT,
    MERGE,
    NODE_LIMIT,
    TEXT,
    CoreLoader,
    ambiguity_of,
    core_value,
)
from mlops_core.errors import ConfigError
from mlops_core.reading import is_descriptor, read_bytes
from mlops_core.redaction import REDACTED, is_secret_key, redact_urls

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mlops_core.config_files.yaml_scalars import Ambiguity

SIZE_LIMIT_BYTES = 1 << 20
_DEPTH_LIMIT = 50
_VARIABLE = re.compile(r"\$\$\{|\$\{([^}]*)\}")
_HOLDS_ANCHORS = ("x-", ".")
"""How a top-level key begins that is not a section: a place for anchors, as in other tools."""


@dataclass(slots=True, kw_only=True)
class YamlSource:
    """One document.

    Attributes:
        name: how messages call it: the file's name.
        data: the top-level mapping.
        lines: dotted key -> line, counted from 1.
        references: dotted keys whose value came from the environment, or is secret by its name or as an address ->
            what is written instead: the text with its ``${NAME}``, or the address without its secret parts; empty where
            there is no such text.
        variables: names of the variables that were expanded -> their values.
        ambiguities: dotted keys whose value YAML 1.1 and YAML 1.2 read differently.
        spellings: dotted keys of numbers that are written in another way than they are printed.

    Example:
        >>> YamlSource(name="user_config.yaml", data={"training": {"epochs": 3}}, lines={"training.epochs": 2}).lines
        {'training.epochs': 2}
    """

    name: str
    data: dict[str, Any]
    lines: dict[str, int] = field(default_factory=dict)
    references: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    ambiguities: dict[str, Ambiguity] = field(default_factory=dict)
    spellings: dict[str, str] = field(default_factory=dict)


def read_yaml_file(path: Path, *, environ: Mapping[str, str], is_foreign: bool = False) -> YamlSource:
    """Read a file, expanding ``${NAME}`` from `environ`.

    In a foreign file, one that another program reads too, ``${now:%Y}`` and the like stay as they are, and ``yes``
    is a truth value, as it is to most programs.

    Raises:
        ConfigError: missing, not a regular file, larger than 1 MiB, not UTF-8, not YAML, not a mapping.
    """
    return read_yaml_text(read_configuration_text(path), name=path.name, environ=environ, is_foreign=is_foreign)


def read_configuration_text(path: Path) -> str:
    """Return the text of a configuration file; a pipe such as ``/dev/stdin`` has it only once.

    Raises:
        ConfigError: missing, not a regular file, larger than 1 MiB, not UTF-8; or a pipe without any text.
    """
    try:
        content = read_bytes(path, limit_bytes=SIZE_LIMIT_BYTES, accepts_descriptors=True)
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"no file {path}; expected a YAML configuration") from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a folder; expected a YAML file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        if error.errno == errno.EFBIG:
            what = str(error.strerror).partition(";")[0].removeprefix("it ")
            raise ConfigError(f"{path} {what}; a configuration has at most {SIZE_LIMIT_BYTES:,}") from None
        raise ConfigError(f"{path} cannot be read: {error.strerror}; expected a YAML configuration") from error
    except ValueError as error:
        raise ConfigError(f"{str(path)!r} is not the name of a file: {error}") from None
    if not text and is_descriptor(path):  # such as that of a command that failed
        raise ConfigError(f"{path} is empty; expected a YAML configuration, which a pipe holds only once")
    return text


def read_yaml_text(text: str, *, name: str, environ: Mapping[str, str], is_foreign: bool = False) -> YamlSource:
    """Read `text`; errors are those of `read_yaml_file`."""
    node = _compose(text, name)
    source = YamlSource(name=name, data={})
    if node is None:
        return source
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{name}: expected a mapping of sections at the top level (line {node.start_mark.line + 1})")
    reader = _Reader(source, environ, is_foreign=is_foreign)
    source.data = reader.value(node, "", depth=0)
    if len(reader.problems) == 1:
        raise ConfigError(reader.problems[0])
    if reader.problems:
        raise ConfigError(f"{name} has {len(reader.problems)} faults", problems=reader.problems)
    return source


def read_yaml_value(text: str, *, key: str, name: str) -> YamlSource:
    """Parse the value in ``--set key=text``; the document's only value is that of `key`.

    Raises:
        ConfigError: it is not YAML.
    """
    node = _compose(text, name)
    source = YamlSource(name=name, data={})
    reader = _Reader(source, {}, expands=False)
    source.data = {key: None if node is None else reader.value(node, key, depth=0)}
    if reader.problems:
        raise ConfigError(reader.problems[0])
    return source


def _compose(text: str, name: str) -> yaml.Node | None:
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=CoreLoader)
    except yaml.MarkedYAMLError as error:
        line = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        raise ConfigError(visible_line(f"{name}: not YAML: {error.problem or error.context}{line}")) from None
    except RecursionError:
        raise ConfigError(f"{name}: not YAML: nested too deeply; expected at most {_DEPTH_LIMIT} levels") from None
    except (yaml.YAMLError, ValueError, ArithmeticError) as error:
        raise ConfigError(visible_line(f"{name}: not YAML: {' '.join(str(error).split())}")) from None
    return node


class _Reader:
    """Turns nodes into values, noting lines and problems."""

    def __init__(
        self, source: YamlSource, environ: Mapping[str, str], *, expands: bool = True, is_foreign: bool = False
    ) -> None:
        self.problems: list[str] = []
        self._source = source
        self._environ = environ
        self._expands = expands
        self._is_foreign = is_foreign
        self._nodes = 0

    def value(self, node: yaml.Node, key: str, *, depth: int) -> Any:
        """Return the value of a node; the limits hold for aliases too, which are walked each time they are used."""
        self._count(node, depth)
        if key:
            self._source.lines.setdefault(key, node.start_mark.line + 1)
        if not node.tag.startswith("tag:yaml.org,2002:") or "python" in node.tag:
            self._problem(key, f"has the tag {node.tag}; only plain YAML values are read", node.start_mark.line + 1)
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, key, depth=depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, f"{key}[{i}]", depth=depth + 1) for i, item in enumerate(node.value)]
        return self._scalar(node, key)

    def _count(self, node: yaml.Node, depth: int) -> None:
        self._nodes += 1
        if self._nodes > NODE_LIMIT or depth > _DEPTH_LIMIT:
            raise ConfigError(
                f"{self._source.name}: more than {NODE_LIMIT:,} values or {_DEPTH_LIMIT} levels, aliases expanded "
                f"(line {node.start_mark.line + 1})"
            )

    def _mapping(self, node: yaml.MappingNode, key: str, *, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, name_node, value_node in self._entries(node, key, depth=depth):
            path = f"{key}.{name}" if key else name
            self._source.lines[path] = name_node.start_mark.line + 1
            found[name] = self.value(value_node, path, depth=depth + 1)
        return found

    def _entries(self, node: yaml.MappingNode, key: str, *, depth: int) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
        """Yield name, its node and the value's node of each key: the mapping's own, then those that it merges."""
        self._count(node, depth)
        lines: dict[str, int] = {}
        merged: list[yaml.Node] = []
        for name_node, value_node in node.value:
            line = name_node.start_mark.line + 1
            if not isinstance(name_node, yaml.ScalarNode):
                self._problem(key or "the document", "has a mapping or a list as a key; expected a name", line)
                continue
            name = name_node.value
            if not key and not self._is_foreign and name.startswith(_HOLDS_ANCHORS):
                continue
            if name in lines:
                self._problem(f"{key}.{name}" if key else name, f"is set twice, first on line {lines[name]}", line)
            lines[name] = line
            if name_node.tag == MERGE:
                merged += value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
            else:
                yield name, name_node, value_node
        for item in merged:
            if not isinstance(item, yaml.MappingNode):
                self._problem(key, "merges something other than a mapping or a list of mappings", lines["<<"])
                continue
            for entry in self._entries(item, key or "<<", depth=depth + 1):
                self._count(entry[1], depth)
                if entry[0] not in lines:
                    lines[entry[0]] = lines["<<"]
                    yield entry

    def _scalar(self, node: Any, key: str) -> Any:
        line = node.start_mark.line + 1
        is_tagged = getattr(node, "is_tagged", False)
        is_plain = node.style is None and not is_tagged
        try:
            if (is_plain and node.tag != TEXT) or (is_tagged and node.tag in (INT, FLOAT)):
                self._note_ambiguity(node.value, key)
            value = _constructed(node)
        except (yaml.YAMLError, ValueError, ArithmeticError, AttributeError, TypeError) as error:
            reason = getattr(error, "problem", None) or error
            self._problem(key, f"is not a valid value: {reason}", line)  # PyYAML raises the last two for a wrong date
            return None
        if not isinstance(value, str):
            if isinstance(value, int | float) and not isinstance(value, bool):
                if str(value) != node.value:
                    self._source.spellings[key] = node.value
                self._note_literal(node.value, key)
            return value
        if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
            self._problem(key, "holds a NUL character, or half of a letter", line)
            return None
        text = self._expanded(value, key, line) if self._expands else value
        if key not in self._source.references:
            self._note_literal(text, key)
        if is_plain and node.tag == TEXT:
            ambiguity = self._note_ambiguity(text, key, shown="" if text == value else value)
            if ambiguity and self._is_foreign and isinstance(ambiguity.old, bool):
                return ambiguity.old
        return text

    def _note_literal(self, text: str, key: str) -> None:
        """Note a value that is a secret, or an address that holds one, and that is written out."""
        if text and is_secret_key(key):
            self._source.references[key] = ""
        elif (public := redact_urls(text)) != text:
            self._source.references[key] = public

    def _note_ambiguity(self, text: str, key: str, *, shown: str = "") -> Ambiguity | None:
        ambiguity = ambiguity_of(text, shown=REDACTED if is_secret_key(key) and not shown else shown)
        if ambiguity is not None:
            self._source.ambiguities[key] = ambiguity
        return ambiguity

    def _expanded(self, text: str, key: str, line: int) -> str:
        def variable(match: re.Match[str]) -> str:
            name, is_optional, default = (match[1] or "").partition(":-")
            if match[1] is None:
                return "${"
            if ":" in match[1] and self._is_foreign:
                return match[0]
            if not name.isidentifier():
                self._problem(key, f"holds ${{{match[1]}}}; only environment variables are expanded", line)
                return ""
            if is_optional and not self._environ.get(name):
                return default
            if name not in self._environ:
                self._problem(key, f"needs the environment variable {name}, which is not set", line)
                return ""
            self._source.references[key] = redact_urls(self._required(text))
            self._source.variables[name] = self._environ[name]
            return self._environ[name]

        return _VARIABLE.sub(variable, text)

    def _required(self, text: str) -> str:
        """Return a text with its defaults where they are used: what is saved does not depend on variables unset now."""

        def reference(match: re.Match[str]) -> str:
            name, is_optional, default = (match[1] or "").partition(":-")
            if not is_optional:
                return match[0]
            return f"${{{name}}}" if self._environ.get(name) else default

        return _VARIABLE.sub(reference, text)

    def _problem(self, key: str, what: str, line: int) -> None:
        self.problems.append(visible_line(f"{self._source.name}: {key or 'the document'} {what} (line {line})"))


def _constructed(node: Any) -> Any:
    """Return the value of a scalar; a tag that was written but is none of the core schema has PyYAML's meaning.

    Raises:
        yaml.YAMLError: the tag and the text do not fit.
        ValueError: the same.
    """
    is_core = node.tag in {MERGE, *CORE_TAGS}
    return core_value(node.value, node.tag) if is_core else yaml.SafeLoader("").construct_object(node)
