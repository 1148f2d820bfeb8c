"""Core as it was before a plugin was imported, to be compared with what it is now.

Plugins share an interpreter with core, so a plugin can replace what decides about its model: a method of the gate, the
code of a comparison, a name that shadows a builtin. `CoreWatch` notes what each function, class and constant of core
is, and names what was replaced. It compares identities, never values: an object can claim to be equal to any other.

It does not make a process trustworthy: a plugin that knows this module can deceive it. The verdict on which a model is
registered is therefore confirmed in a process that has imported no plugin (`mlops_core.gates.confirmation`).
"""

from __future__ import annotations

import builtins
import functools
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import TypeAlias

    Members = Mapping[str, object]
    _Table: TypeAlias = dict[Any, Any] | list[Any] | set[Any]

_CORE = "mlops_core"
_OTHERS = ("builtins", "csv", "hashlib", "json", "math", "operator", "shutil", "statistics", "subprocess")
"""Modules of Python on which verdicts and digests rest; only their functions and classes are compared."""
_INTERACTIVE = frozenset({"copyright", "credits", "exit", "help", "input", "license", "quit"})
"""Builtins that talk to a person and decide nothing; the kernel of a notebook replaces `input` for each cell."""
_MADE_LATER = frozenset({"__annotations__", "__doc__", "__abstractmethods__", "__signature__", "__warningregistry__"})
_OWN_STATE = frozenset({"mlops_core.processes.pool.ProcessPool._origin"})
"""Set by core itself, in the course of its work."""
_CORE_FOLDER = str(Path(__file__).parent)
REFUSAL = "a plugin must leave core as it is"
"""Part of the message of every refusal."""
_STANDARD_LIBRARY = sysconfig.get_path("stdlib")
_LIBRARIES = frozenset(
    {"annotated_types", "click", "numpy", "pluggy", "pydantic", "pydantic_core", "rich", "typing_extensions", "yaml"}
)
"""Packages whose functions modules of core may hold under names of their own."""
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class _Noted:
    """The members of a module or class at one moment; the objects are kept, so that no identity is used again.

    Attributes:
        owner: the module or class.
        members: name -> object.
        identities: of the objects, in the order of the names.
        code: of each function: code, defaults, and its name.
        tables: of a module of core: the name of each constant that is a dict, a list or a set, it, and what it held.
    """

    owner: Any
    members: Mapping[str, object]
    identities: tuple[int, ...]
    code: tuple[tuple[str, FunctionType, object, object, object], ...]
    tables: tuple[tuple[str, _Table, tuple[object, ...]], ...]


class CoreWatch:
    """What core is, from its creation on.

    Example:
        >>> watch = CoreWatch()
        >>> watch.changes()
        ()
    """

    def __init__(self) -> None:
        """Note every module of core that is imported now."""
        self._noted: dict[str, _Noted] = {}
        self._modules: dict[str, ModuleType] = {}
        self.extend()

    def extend(self) -> None:
        """Note the modules of core that were imported since; their functions must be core's own (see `changes`)."""
        for name, module in sys.modules.copy().items():
            if name in self._modules or not _is_watched(name) or not isinstance(module, ModuleType):
                continue
            if getattr(getattr(module, "__spec__", None), "_initializing", False):
                continue  # another thread imports it: noted when it is complete
            self._modules[name] = module
            self._noted[name] = _note(module, is_core=name not in _OTHERS)
            if name in _OTHERS:
                continue
            for attribute, value in list(vars(module).items()):
                if isinstance(value, type) and value.__module__ == name:
                    self._noted[f"{name}.{attribute}"] = _note(value, is_core=True)

    def changes(self) -> tuple[str, ...]:
        """Return the dotted names of what was replaced or added, and of foreign code in modules imported since."""
        found: list[str] = []
        for name, module in list(self._modules.items()):  # copied: runs of other threads extend it
            if sys.modules.get(name) is not module:
                found.append(name)
        for name, noted in list(self._noted.items()):
            if tuple(map(id, list(vars(noted.owner).values()))) != noted.identities:
                found += (change for change, _, _ in _changed(name, noted))
            found += (f"{name}.{member}" for member, *_ in _recoded(noted))
            found += (f"{name}.{member}" for member, *_ in _edited(noted))
        found += self._foreign()
        return tuple(dict.fromkeys(item for item in found if item not in _OWN_STATE))

    def restore(self) -> None:
        """Undo all changes of what was noted."""
        for name, module in list(self._modules.items()):
            sys.modules[name] = module
        for name, noted in list(self._noted.items()):
            for _, member, is_new in list(_changed(name, noted)):
                if is_new:
                    delattr(noted.owner, member)
                else:
                    setattr(noted.owner, member, noted.members[member])
            for _, function, code, defaults, named in _recoded(noted):
                function.__code__, function.__defaults__ = code, defaults
                function.__kwdefaults__ = named
            for _, table, content in _edited(noted):
                _refill(table, content)

    def _foreign(self) -> Iterator[str]:
        """Yield functions of modules imported since that do not come from core nor from its dependencies."""
        for name, module in sys.modules.copy().items():
            if name in self._modules or not _is_watched(name) or not isinstance(module, ModuleType):
                continue
            for attribute, value in list(vars(module).items()):
                if isinstance(value, type) and value.__module__ == name:
                    for member, item in list(vars(value).items()):
                        if _is_foreign(item):
                            yield f"{name}.{attribute}.{member}"
                elif _is_foreign(value):
                    yield f"{name}.{attribute}"


@functools.cache
def core_watch() -> CoreWatch:
    """Return the watch over core in this process; what it compares with is core at the first call."""
    return CoreWatch()


def described_changes(changes: tuple[str, ...]) -> str:
    """Return the first changes as one phrase."""
    more = f" and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
    return ", ".join(changes[:_SHOWN]) + more


def _is_watched(name: str) -> bool:
    if name in _OTHERS:
        return True
    return (name == _CORE or name.startswith(f"{_CORE}.")) and not name.startswith(f"{_CORE}.testing")


def _note(owner: Any, *, is_core: bool) -> _Noted:
    members = dict(vars(owner))
    functions = [(name, function) for name, item in members.items() if (function := _function_of(item)) is not None]
    constants = members.items() if is_core and isinstance(owner, ModuleType) else ()
    return _Noted(
        owner=owner,
        members=members,
        identities=tuple(map(id, members.values())),
        code=tuple(
            (name, function, function.__code__, function.__defaults__, function.__kwdefaults__)
            for name, function in functions
            if is_core and function.__code__.co_filename.startswith(_CORE_FOLDER)
        ),
        tables=tuple(
            (name, item, _content(item))
            for name, item in constants
            if name.isupper() and isinstance(item, dict | list | set)
        ),
    )


def _changed(name: str, noted: _Noted) -> Iterator[tuple[str, str, bool]]:
    """Yield (dotted name, member, whether it is new) of everything that is not what was noted."""
    now = vars(noted.owner)
    is_class = isinstance(noted.owner, type)
    is_other = name in _OTHERS
    for member, value in noted.members.items():
        if member in _MADE_LATER or now.get(member, noted) is value:
            continue
        if is_other and (member in _INTERACTIVE or not callable(value) or isinstance(value, ModuleType)):
            continue
        if not member.startswith(("__pydantic", "_abc_")):
            yield f"{name}.{member}", member, False
    for member in list(now):
        if member in noted.members or member in _MADE_LATER or isinstance(now[member], ModuleType):
            continue
        if (is_class and _is_behaviour(member, now[member])) or (not is_class and not is_other and _shadows(member)):
            yield f"{name}.{member}", member, True


def _recoded(noted: _Noted) -> Iterator[tuple[str, FunctionType, Any, Any, Any]]:
    for member, function, code, defaults, named in noted.code:
        if (
            function.__code__ is not code
            or function.__defaults__ is not defaults
            or function.__kwdefaults__ is not named
        ):
            yield member, function, code, defaults, named


def _edited(noted: _Noted) -> Iterator[tuple[str, _Table, tuple[object, ...]]]:
    """Yield the tables that hold other objects than what was noted; identities are compared, as everywhere here."""
    for name, table, content in noted.tables:
        if tuple(map(id, _content(table))) != tuple(map(id, content)):
            yield name, table, content


def _content(table: _Table) -> tuple[object, ...]:
    return (*table.keys(), *table.values()) if isinstance(table, dict) else tuple(table)


def _refill(table: _Table, content: tuple[object, ...]) -> None:
    table.clear()
    if isinstance(table, dict):
        half = len(content) // 2
        table.update(zip(content[:half], content[half:], strict=True))
    elif isinstance(table, list):
        table.extend(content)
    else:
        table.update(content)


def _is_behaviour(member: str, value: object) -> bool:
    if member.startswith(("__pydantic", "_abc_")):
        return False
    return callable(value) or hasattr(type(value), "__get__")


def _shadows(member: str) -> bool:
    return hasattr(builtins, member) and not member.startswith("__")


def _function_of(item: object) -> FunctionType | None:
    if isinstance(item, staticmethod | classmethod):
        item = item.__func__
    elif isinstance(item, property):
        item = item.fget
    return item if isinstance(item, FunctionType) else None


def _is_foreign(item: object) -> bool:
    """Tell whether a member is a function that neither core, nor Python, nor a library that core uses defines.

    Code that was compiled from a text (``<string>``), as `dataclasses` does, is accepted.
    """
    function = _function_of(item)
    if function is None:
        return False
    file = function.__code__.co_filename
    if file.startswith(("<", _CORE_FOLDER)):
        return False
    if file.startswith(_library_places()):
        return False
    return "/site-packages/" in file or not file.startswith(_STANDARD_LIBRARY)


@functools.cache
def _library_places() -> tuple[str, ...]:
    """Return the folder, or the file, of each library that core uses; any folder on `sys.path` may hold them."""
    from importlib.util import find_spec

    specs = (find_spec(name) for name in sorted(_LIBRARIES))
    origins = (spec.origin for spec in specs if spec is not None and spec.origin)
    return tuple(path.removesuffix("__init__.py") for path in origins)
