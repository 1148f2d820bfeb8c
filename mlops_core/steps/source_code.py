"""The source code that a step may execute: digests of its module and of all modules that it can import.

Imports are followed in the source, those inside functions too; nothing is imported. A module of an installed
distribution does not count by its content: a step declares such distributions, and their versions are part of its key.
What has no fixed version counts: the step's own top-level package and distribution, editable installations, packages
and modules in any other folder of ``sys.path``. Core counts by its step protocol.

A module that asks for its own place can read the other files of its package, such as a table of classes: all count,
except those that are for people, such as ``README.md``. Those of the packages that it imports count too. Of the folder
that holds a package or a single module, those files count that the module names.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.datasets.listing import is_hidden_or_tool
from mlops_core.errors import PluginError
from mlops_core.installed.distributions import distribution_at
from mlops_core.steps.source_imports import ALL, DATA, SourceImports, read_imports

if TYPE_CHECKING:
    from collections.abc import Iterator

_CORE = "mlops_core"
_LIBRARY = Path(os.__file__).parent
_CODE_SUFFIXES = frozenset({".py", ".pyc", ".pyi"})
_MODULE_SUFFIXES = (*EXTENSION_SUFFIXES, ".py", ".pyc")
"""In the order in which Python looks for a module."""
_FOR_PEOPLE = re.compile(r"(readme|licen[cs]e|changelog|contributing)([-.][\w.-]*)?", re.IGNORECASE)
_TEXT_SUFFIXES = frozenset({"", ".md", ".rst", ".txt"})
"""Of files that people read and steps do not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Module:
    """A module: digest of its file, what it may import, and path -> digest of the files outside of it that it names."""

    digest: str
    imports: tuple[str, ...]
    files: dict[str, str]


class CodeIndex:
    """Digests of source code, each file read and parsed once; make a new one for each run, since files change."""

    def __init__(self) -> None:
        """Begin with nothing read."""
        self._modules: dict[tuple[str, str], _Module | None] = {}
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
            if name.endswith(f".{ALL}"):
                waiting += self._all_modules(name.partition(".")[0], own=own)
                continue
            if name.endswith(f".{DATA}"):
                found |= self._other_files(name.partition(".")[0], own=own)
                continue
            read = self._read(name, own=own)
            if read is not None:
                found[name] = read.digest
                found |= read.files
                waiting += read.imports
        if module not in found:
            raise PluginError(
                f"module '{module}' of a step has no source that can be found; is its distribution installed?"
            )
        return dict(sorted(found.items()))

    def _read(self, name: str, *, own: str) -> _Module | None:
        """Return digest and imports of a module that counts for a step of the package `own`."""
        if (name, own) not in self._modules:
            path = self._find(name, own=own)
            self._modules[name, own] = None if path is None else _read_module(name, path)
        return self._modules[name, own]

    def _other_files(self, top: str, *, own: str) -> dict[str, str]:
        """Return path -> SHA-256 of the files of a package that are neither code, hidden, nor for people only."""
        if (top, own) not in self._data:
            self._data[top, own] = {
                f"{top}/{path.relative_to(root).as_posix()}": _sha256_of(path)
                for root in self._counted_roots(top, own=own)
                for path in _files_below(root)
                if path.suffix not in _CODE_SUFFIXES and not _is_for_people(path)
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

    def _all_modules(self, top: str, *, own: str) -> Iterator[str]:
        """Yield every module of a top-level package that counts."""
        for root in self._counted_roots(top, own=own):
            for path in _files_below(root):
                suffix = next((end for end in _MODULE_SUFFIXES if path.name.endswith(end)), "")
                if suffix:
                    parts = (*path.relative_to(root).parts[:-1], path.name.removesuffix(suffix))
                    yield ".".join((top, *(parts[:-1] if parts[-1] == "__init__" else parts)))


def _read_module(name: str, path: Path) -> _Module:
    """Read a module; one that was compiled imports what its source imports, where that is beside it."""
    content = path.read_bytes()
    source = content
    stem = path.name.partition(".")[0]
    if path.suffix != ".py":
        beside = path.with_name(f"{stem}.py")
        source = beside.read_bytes() if beside.is_file() else b""
    found = read_imports(source, name, is_package=stem == "__init__")
    return _Module(
        digest=hashlib.sha256(content).hexdigest(), imports=found.modules, files=_named_files(name, path, found)
    )


def _named_files(name: str, path: Path, found: SourceImports) -> dict[str, str]:
    """Return path -> SHA-256 of the files beside or above its package that a module names."""
    parts = name.split(".")
    is_package = path.name.partition(".")[0] == "__init__"
    if len(parts) == 1 and not is_package:
        places = [(path.parent, "")] if found.reads_files else []
    else:
        holder = path.parents[len(parts) - (0 if is_package else 1)]
        is_installed = holder.name in ("site-packages", "dist-packages")
        places = [(holder, "../"), (holder.parent, "../../")] if found.reads_above and not is_installed else []
    return {
        f"{parts[0]}/{above}{inner}": _sha256_of(place / inner)
        for place, above in places
        for inner in _existing(place, found.texts)
        if Path(inner).suffix not in _CODE_SUFFIXES and not _is_for_people(Path(inner))
    }


def _existing(place: Path, texts: tuple[str, ...]) -> Iterator[str]:
    """Yield those texts that are files below a place, or below a folder there that is another of the texts."""
    folders = [f"{text}/" for text in texts if (place / text).is_dir()]
    for text in texts:
        yield from (f"{folder}{text}" for folder in ("", *folders) if (place / folder / text).is_file())


def _files_below(root: Path, *, above: tuple[str, ...] = ()) -> Iterator[Path]:
    """Yield the files below a folder, those behind links too, but not what is hidden or of a tool."""
    real = os.path.realpath(root)
    if real in above or not root.is_dir():
        return
    for path in sorted(root.iterdir()):
        if is_hidden_or_tool(path.name):
            continue
        if path.is_dir():
            yield from _files_below(path, above=(*above, real))
        elif path.is_file():
            yield path


def _is_for_people(path: Path) -> bool:
    return path.suffix.casefold() in _TEXT_SUFFIXES and _FOR_PEOPLE.fullmatch(path.name) is not None


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:  # it may be large: never in memory as a whole
        return hashlib.file_digest(file, "sha256").hexdigest()


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
    """Return the file of a module below a root, in the order in which Python looks."""
    if not root.is_dir():
        return root if not parts and root.is_file() else None
    path = root.joinpath(*parts)
    names = [path / f"__init__{suffix}" for suffix in _MODULE_SUFFIXES]
    if parts:
        names += [path.with_name(f"{path.name}{suffix}") for suffix in _MODULE_SUFFIXES]
    return next((name for name in names if name.is_file()), None)
