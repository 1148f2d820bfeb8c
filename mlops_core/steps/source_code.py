"""The source code that a step may execute: digests of its module and of all modules that it can import.

Imports are followed in the source, those inside functions too; nothing is imported. A module of an installed
distribution does not count by its content: a step declares such distributions, and their versions are part of its key.
What has no fixed version counts: the step's own top-level package and distribution, editable installations, packages
and modules in any other folder of ``sys.path``. Core counts by its step protocol.

A module that asks for its own place can read the other files of its package, such as a table of classes: all count,
except those that are for people, such as ``README.md``.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import threading
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.datasets.listing import is_hidden_or_tool
from mlops_core.errors import PluginError
from mlops_core.installed.distributions import distribution_at

if TYPE_CHECKING:
    from collections.abc import Iterator

_CORE = "mlops_core"
_LIBRARY = Path(os.__file__).parent
_CODE_SUFFIXES = frozenset({".py", ".pyc", ".pyi"})
_FOR_PEOPLE = ("readme", "license", "licence", "changelog", "contributing")
"""Begins the names of files that people read and steps do not."""
_IMPORTERS = frozenset({"import_module", "__import__", "load_function"})
"""Functions that import the module that their first argument names."""
_ALL = "*"
"""Stands for every module of a package, where the name of an imported module is computed."""

_DATA = "/"
"""Stands for every other file of a package."""
_PLACES = (
    b"__file__",
    b"__path__",
    b"importlib.resources",
    b"importlib import resources",
    b"importlib_resources",
    b"get_data",
)
"""What a module mentions that finds files beside itself."""


class CodeIndex:
    """Digests of source code, each file read and parsed once; make a new one for each run, since files change."""

    def __init__(self) -> None:
        """Begin with nothing read."""
        self._modules: dict[tuple[str, str], tuple[str, tuple[str, ...]] | None] = {}
        self._data: dict[tuple[str, str], dict[str, str]] = {}
        self._digests: dict[str, dict[str, str]] = {}
        self._roots: dict[str, tuple[Path, ...]] = {}
        self._owners: dict[Path, str] = {}

    def digests(self, module: str) -> dict[str, str]:
        """Return module -> SHA-256 of its file, for `module` and all that it can import, as described above.

        Other files are named by their path, such as ``package/classes.json``. It is empty for a module of core.

        Raises:
            PluginError: the module has no source that can be found.
        """
        if module.partition(".")[0] == _CORE:
            return {}
        if module not in self._digests:
            self._digests[module] = self._follow(module)
        return self._digests[module]

    def digests_if_found(self, module: str, *, own: str) -> dict[str, str]:
        """Return `digests` of a module that a configuration names; empty where there is none that counts.

        Args:
            module: its name.
            own: the module of the step.
        """
        is_counted = self._find(module, own=own.partition(".")[0]) is not None
        return self.digests(module) if is_counted else {}

    def _follow(self, module: str) -> dict[str, str]:
        own = module.partition(".")[0]
        found: dict[str, str] = {}
        seen: set[str] = set()
        waiting = [module]
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            if name.endswith(f".{_ALL}"):
                waiting += self._all_modules(name.partition(".")[0])
                continue
            if name.endswith(f".{_DATA}"):
                found |= self._other_files(name.partition(".")[0], own=own)
                continue
            read = self._read(name, own=own)
            if read is not None:
                found[name] = read[0]
                waiting += read[1]
        if module not in found:
            raise PluginError(
                f"module '{module}' of a step has no source that can be found; is its distribution installed?"
            )
        return dict(sorted(found.items()))

    def _read(self, name: str, *, own: str) -> tuple[str, tuple[str, ...]] | None:
        """Return digest and imports of a module that counts for a step of the package `own`."""
        if (name, own) not in self._modules:
            path = self._find(name, own=own)
            self._modules[name, own] = None
            if path is not None:
                content = path.read_bytes()
                imports = _imports(content, name, is_package=path.name == "__init__.py") if path.suffix == ".py" else ()
                self._modules[name, own] = (hashlib.sha256(content).hexdigest(), tuple(imports))
        return self._modules[name, own]

    def _other_files(self, top: str, *, own: str) -> dict[str, str]:
        """Return path -> SHA-256 of the files of a package that are neither code, hidden, nor for people only."""
        if (top, own) not in self._data:
            self._data[top, own] = {
                f"{top}/{path.relative_to(root).as_posix()}": _sha256_of(path)
                for root in self._counted_roots(top, own=own)
                for path in (root.rglob("*") if root.is_dir() else ())
                if path.suffix not in _CODE_SUFFIXES
                and not path.name.casefold().startswith(_FOR_PEOPLE)
                and not any(map(is_hidden_or_tool, path.relative_to(root).parts))
                and path.is_file()
            }
        return self._data[top, own]

    def _counted_roots(self, top: str, *, own: str) -> Iterator[Path]:
        yield from (root for root in self._roots_of(top) if top == own or self._counts(root, own=own))

    def _find(self, name: str, *, own: str) -> Path | None:
        top, *rest = name.split(".")
        for root in self._counted_roots(top, own=own):
            path = _file_of(root, rest)
            if path is not None:
                return path
        return None

    def _counts(self, root: Path, *, own: str) -> bool:
        """Return whether a package that is not the step's own has no version of its own that a step could declare."""
        owner = self._owner(root)
        return not owner or any(self._owner(place) == owner for place in self._roots_of(own))

    def _owner(self, root: Path) -> str:
        if root not in self._owners:
            self._owners[root] = distribution_at(root) or ""
        return self._owners[root]

    def _roots_of(self, top: str) -> tuple[Path, ...]:
        if top not in self._roots:
            self._roots[top] = tuple(_package_roots(top)) if top != _CORE else ()
        return self._roots[top]

    def _all_modules(self, top: str) -> Iterator[str]:
        """Yield every module of a top-level package."""
        for root in self._roots_of(top):
            for path in root.rglob("*.py") if root.is_dir() else ():
                parts = path.relative_to(root).with_suffix("").parts
                yield ".".join((top, *(parts[:-1] if parts[-1] == "__init__" else parts)))


_PARSING = threading.Lock()
"""CPython 3.11 keeps the depth of a syntax tree once for all threads: two that parse may raise SystemError."""


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:  # it may be large: never in memory as a whole
        return hashlib.file_digest(file, "sha256").hexdigest()


def _imports(source: bytes, module: str, *, is_package: bool) -> Iterator[str]:
    """Yield the modules that a module may import; some names are those of attributes, which no file has."""
    parents = module.split(".")
    yield from (".".join(parents[:count]) for count in range(1, len(parents)))
    here = parents if is_package else parents[:-1]
    try:
        with _PARSING:
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):  # the step that imports it will say so
        return
    if any(place in source for place in _PLACES):
        yield f"{parents[0]}.{_DATA}"
    may_call = any(name.encode() in source for name in _IMPORTERS)
    for node in ast.walk(tree) if may_call else _statements(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = _absolute(node.module or "", node.level, here)
            yield from (origin, *(f"{origin}.{alias.name}" for alias in node.names if alias.name != _ALL))
        elif isinstance(node, ast.Call) and _called_name(node) in _IMPORTERS:
            yield from _computed_import(node, here, top=parents[0])


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield every statement: a tenth of the nodes, where nothing else can import."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            waiting += getattr(node, name, ())


def _computed_import(call: ast.Call, here: list[str], *, top: str) -> Iterator[str]:
    name = call.args[0] if call.args else next((item.value for item in call.keywords), None)
    if isinstance(name, ast.Constant) and isinstance(name.value, str):
        text = name.value.partition(":")[0]
        relative = text.lstrip(".")
        yield _absolute(relative, len(text) - len(relative), here)
    elif _called_name(call) != "load_function":  # which reads names of a configuration: these are in the key
        yield f"{top}.{_ALL}"


def _absolute(name: str, level: int, here: list[str]) -> str:
    base = here[: len(here) - level + 1] if level else []
    return ".".join(part for part in (*base, name) if part)


def _called_name(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _package_roots(top: str) -> Iterator[Path]:
    """Yield the folders of a top-level package (a namespace package has several), or the file of a module."""
    try:
        # Not the spec of a loaded package: some packages add folders to theirs, and a digest would depend on that.
        spec = (PathFinder.find_spec(top) or importlib.util.find_spec(top)) if top else None
    except (ImportError, ValueError, AttributeError):
        return
    if spec is None:
        return
    places = [Path(place) for place in spec.submodule_search_locations or ()]
    if not places and spec.has_location and spec.origin:
        places = [Path(spec.origin)]
    yield from (place for place in places if not _is_of_library(place))


def _is_of_library(place: Path) -> bool:
    try:
        inner = place.relative_to(_LIBRARY)
    except ValueError:
        return False
    return inner.parts[0] not in ("site-packages", "dist-packages")


def _file_of(root: Path, parts: list[str]) -> Path | None:
    """Return the file of a module below a root: source, else compiled code."""
    if not root.is_dir():
        return root if not parts and root.is_file() else None
    path = root.joinpath(*parts)
    names = [path / "__init__.py"]
    if parts:
        names += [path.with_name(f"{path.name}{suffix}") for suffix in (".py", *EXTENSION_SUFFIXES, ".pyc")]
    return next((name for name in names if name.is_file()), None)
