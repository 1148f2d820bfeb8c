"""`Contract`: the base of the classes that an author derives, with one test for each check.

The tests are made from the registry of checks, so a new check reaches every plugin with the next version of core.
This module does not import pytest; `mlops_core.testing.pytest_plugin` gives the tests their session.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from mlops_core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mlops_core.testing.checks import Check
    from mlops_core.testing.examination import Session
    from mlops_core.testing.observation.processes import Processes

_PREFIX = "test_"
_PLUGIN = "mlops_core.testing.pytest_plugin"
C = TypeVar("C", bound="Contract")
_FIXTURES = ("contract_session", "contract_processes")


class Contract:
    """Every promise of a plugin as a test."""

    expected_failures: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def setup_class(cls) -> None:
        """Refuse to run where pytest was started without the kit's plugin.

        Raises:
            UsageError: the plugin was not loaded.
        """
        if _PLUGIN not in sys.modules:
            raise UsageError(f"pytest has not loaded the contract kit; leave out -p no:mlops, or add -p {_PLUGIN}")

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Give a contract of the kit its tests; refuse an author's class that replaces one.

        Raises:
            UsageError: the member is named.
        """
        super().__init_subclass__(**arguments)
        if Contract in cls.__bases__:
            _add_tests(cls)
        cls.refuse_replaced_tests()

    @classmethod
    def checks(cls) -> Mapping[str, Check]:
        """Return the checks of the contract, by name."""
        return {}

    @classmethod
    def declaration(cls) -> object:
        """Return what the class declares.

        Raises:
            UsageError: it is not complete, or names something that does not exist.
        """
        raise NotImplementedError

    @classmethod
    def open_session(cls, *, processes: Processes, folder: Path) -> Session:
        """Return the session that all tests of the class share.

        Args:
            processes: where the plugin's code is executed.
            folder: an empty folder for everything that is made.
        """
        raise NotImplementedError

    @classmethod
    def refuse_replaced_tests(cls) -> None:
        """Refuse a class in which the test of a check, or a fixture of the tests, is not the kit's own.

        Raises:
            UsageError: the member is named.
        """
        for name in _FIXTURES:
            if hasattr(cls, name):
                raise UsageError(f"{cls.__name__}.{name} replaces a fixture of the kit; remove it")
        kit = next(base for base in cls.__mro__ if Contract in base.__bases__)
        for name in cls.checks():
            if getattr(cls, f"{_PREFIX}{name}", None) is not getattr(kit, f"{_PREFIX}{name}"):
                raise UsageError(
                    f"{cls.__name__}.{_PREFIX}{name} replaces a check of the contract; remove it, and if the check is "
                    f'known to fail say so: expected_failures = {{"{name}": "the reason"}}'
                )


def contracts_in(module: object, kind: type[C]) -> list[type[C]]:
    """Return the contracts of a kind that a module declares."""
    return [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, kind) and value is not kind
    ]


def unbound(cls: type[Contract], name: str) -> Callable[..., Any]:
    """Return a method, or a static one, so that it can be called without an instance."""
    member = inspect.getattr_static(cls, name)
    if isinstance(member, staticmethod | classmethod):
        function: Callable[..., Any] = getattr(cls, name)
        return function
    return lambda *arguments, **named: member(cls(), *arguments, **named)


def file_above(cls: type[Contract], name: str | Path) -> Path:
    """Return the file `name`: absolute, or relative to the folder of the class's file or to one above it.

    Raises:
        UsageError: there is no such file.
    """
    path = Path(name)
    file = Path(inspect.getfile(cls)).resolve()
    candidates = [path] if path.is_absolute() else [folder / path for folder in file.parents]
    existing = next((candidate for candidate in candidates if candidate.is_file()), None)
    if existing is None:
        raise UsageError(f"{cls.__name__}: no file {path} in {file.parent} or above it")
    return existing


def _add_tests(cls: type[Contract]) -> None:
    for check in cls.checks().values():
        setattr(cls, f"{_PREFIX}{check.name}", _test_of(check, cls))


def _test_of(check: Check, cls: type[Contract]) -> Callable[..., None]:
    def test(self: Contract, contract_session: Session) -> None:  # noqa: ARG001  a method
        from mlops_core.testing.pytest_plugin import report_outcome

        report_outcome(check, contract_session)

    test.__name__ = f"{_PREFIX}{check.name}"
    test.__qualname__ = f"{cls.__name__}.{test.__name__}"
    test.__doc__ = check.documentation
    return test
