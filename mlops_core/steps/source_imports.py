"""What a module may import and read, found in its source; nothing is imported.

Imports inside functions count, and those by a name that is written out. Where a name is computed, or code is found in
another way, such as by a path or in a process of its own, every module of the package counts.
"""

from __future__ import annotations

import ast
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ALL = "*"
"""Stands for every module of a package, where the name of an imported module is computed."""
DATA = "/"
"""Stands for every other file of a package."""
_IMPORTERS = frozenset({"import_module", "__import__", "load_function"})
"""Functions that import the module that their first argument names."""
_FINDERS = frozenset(
    {
        "as_file",
        "contents",
        "files",
        "find_spec",
        "get_data",
        "open_binary",
        "open_text",
        "path",
        "read_binary",
        "read_text",
        "resource_filename",
        "resource_stream",
        "resource_string",
    }
)
"""Functions that find files of the package that their first argument names."""
_PLACES = re.compile(
    rb"__file__|__path__|__spec__|importlib[._]resources|pkg_resources|get_data|getfile|getsourcefile|find_spec"
    rb"|from\s+importlib\s+import\s+(\([^)]*\bresources\b|[^\n(]*\bresources\b)"
)
"""What a module mentions that finds files beside itself."""
_ABOVE = re.compile(
    rb"\.parent\.parent|\.parents\b|pardir|dirname\(\s*(os\.path\.)?dirname|[\"'/]\.\.[\"'/]|\.joinpath\(\"\.\."
)
"""What a module mentions that leads out of its folder."""
_HIDDEN_IMPORTS = re.compile(
    rb"\bsys\.(path|executable)\b|\b(spec_from_file_location|SourceFileLoader|run_path|run_module|resolve_name|entry_points"
    rb"|iter_modules|walk_packages|lazy_loader|LazyLoader)\b|\bpydoc\.locate\b|(?<![\w.])exec\(|[\"']-m[\"']"
)
"""What a module mentions that finds code in another way than by an import."""
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_LEADING = re.compile(r"[A-Za-z_]\w*(?=\.|\Z)")
_LONGEST = 200
"""A longer text names no file."""
_PARSING = threading.Lock()
"""CPython 3.11 keeps the depth of a syntax tree once for all threads: two that parse may raise SystemError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceImports:
    """What a module may import and read.

    Attributes:
        modules: names of modules, some of which are those of attributes, and ``PACKAGE.`` with `ALL` or `DATA`.
        texts: texts in the module that may name files; none where it reads no files.
        reads_files: the module finds files beside itself.
        reads_above: it leads out of its folder too.
    """

    modules: tuple[str, ...]
    texts: tuple[str, ...] = ()
    reads_files: bool = False
    reads_above: bool = False


def read_imports(source: bytes, module: str, *, is_package: bool) -> SourceImports:
    r"""Return what a module may import and read.

    Args:
        source: of the module; empty where there is none.
        module: its name.
        is_package: it is the ``__init__`` of a package.

    Example:
        >>> read_imports(b"import json\n", "package.steps", is_package=False).modules
        ('package', 'json')
    """
    parts = module.split(".")
    parents = tuple(".".join(parts[:count]) for count in range(1, len(parts)))
    try:
        with _PARSING:
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):  # the step that imports it will say so
        return SourceImports(modules=parents)
    reads = _PLACES.search(source) is not None
    hides = _HIDDEN_IMPORTS.search(source) is not None
    may_call = reads or any(name.encode() in source for name in _IMPORTERS)
    nodes = list(ast.walk(tree) if may_call or hides else _statements(tree))
    found = list(_Finder(parts, is_package=is_package).modules(nodes))
    texts = tuple(sorted(set(_texts(nodes)))) if may_call or hides else ()
    if hides:
        found += [f"{parts[0]}.{ALL}", *filter(_DOTTED.fullmatch, texts)]
    elif any(name.endswith(f".{ALL}") for name in found):
        found += [text.partition(":")[0] for text in texts if _DOTTED.fullmatch(text.partition(":")[0])]
    if reads:
        found += [f"{top}.{DATA}" for top in dict.fromkeys((parts[0], *(name.partition(".")[0] for name in found)))]
    return SourceImports(
        modules=(*parents, *found),
        texts=tuple(text for text in texts if 0 < len(text) < _LONGEST and text[0] != "/" and text.isprintable()),
        reads_files=reads,
        reads_above=reads and _ABOVE.search(source) is not None,
    )


class _Finder:
    """Finds imports in the syntax tree of one module."""

    def __init__(self, parts: list[str], *, is_package: bool) -> None:
        self._top = parts[0]
        self._name = ".".join(parts)
        self._is_package = is_package
        self._here = parts if is_package else parts[:-1]

    def modules(self, nodes: list[ast.AST]) -> Iterator[str]:
        """Yield the modules that a module may import; some names are those of attributes, which no file has."""
        for node in nodes:
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from self._from_import(node)
            elif isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign) and self._is_package:
                yield from self._offered(node)
        yield from self._calls(nodes)

    def _from_import(self, node: ast.ImportFrom) -> Iterator[str]:
        origin = self._absolute(node.module or "", node.level)
        yield from (origin, *(f"{origin}.{alias.name}" for alias in node.names if alias.name != ALL))

    def _offered(self, node: ast.Assign | ast.AugAssign | ast.AnnAssign) -> Iterator[str]:
        """Yield what ``import *`` of a package imports: the modules that its ``__all__`` names."""
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if node.value is not None and any(getattr(target, "id", "") == "__all__" for target in targets):
            yield from (f"{self._name}.{text}" for text in _texts(ast.walk(node.value)))

    def _calls(self, nodes: list[ast.AST]) -> Iterator[str]:
        """Yield what is imported by name; an importer that is used otherwise, such as renamed, may import anything."""
        called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
        for node in nodes:
            if isinstance(node, ast.Call) and _name_of(node.func) in _IMPORTERS:
                yield from self._imported_by(node)
            elif isinstance(node, ast.Call) and _name_of(node.func) in _FINDERS:
                yield from (text.partition(".")[0] for text in _texts(node.args[:1]) if _LEADING.match(text))
            elif isinstance(node, ast.Name | ast.Attribute) and id(node) not in called:
                if _name_of(node) in _IMPORTERS:
                    yield f"{self._top}.{ALL}"
            elif isinstance(node, ast.ImportFrom) and any(
                alias.name in _IMPORTERS and alias.asname not in (None, alias.name) for alias in node.names
            ):
                yield f"{self._top}.{ALL}"

    def _imported_by(self, call: ast.Call) -> Iterator[str]:
        given = [*call.args, *(item.value for item in call.keywords)]
        first, others = given[:1], given[1:]
        texts = list(_texts(inner for argument in others for inner in ast.walk(argument)))
        if first and isinstance(first[0], ast.Constant) and isinstance(first[0].value, str):
            text = first[0].value.partition(":")[0]
            relative = text.lstrip(".")
            name = self._absolute(relative, len(text) - len(relative))
            yield name
            yield from (f"{name}.{other}" for other in texts)  # fromlist
            yield from (f"{other}.{relative}" for other in texts if relative != text)  # package
            is_plain = all(_is_plain(argument) for argument in others)
        else:
            is_plain = _name_of(call.func) == "load_function"  # reads names of a configuration: these are in the key
        if not is_plain:
            yield f"{self._top}.{ALL}"
            for text in _texts(inner for argument in given for inner in ast.walk(argument)):
                if match := _LEADING.match(text):
                    yield f"{match[0]}.{ALL}"

    def _absolute(self, name: str, level: int) -> str:
        base = self._here[: len(self._here) - level + 1] if level else []
        return ".".join(part for part in (*base, name) if part)


def _is_plain(argument: ast.AST) -> bool:
    """Return whether a further argument of an importer is written out, or the package of the module itself."""
    if isinstance(argument, ast.Constant | ast.List | ast.Tuple):
        return not (isinstance(argument, ast.Constant) and isinstance(argument.value, int) and argument.value > 0)
    if isinstance(argument, ast.Call):
        return _name_of(argument.func) in ("globals", "locals")
    return _name_of(argument) in ("__package__", "__name__")


def _texts(nodes: Iterable[ast.AST]) -> Iterator[str]:
    return (node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield every statement: a tenth of the nodes, where nothing else can import."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            waiting += getattr(node, name, ())


def _name_of(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else str(getattr(node, "id", ""))
