"""`UseCaseContract`: one test class an author writes, one test for each check.

The tests are made from the registry of checks, so a new check reaches every plugin with the next version of core.
This module does not import pytest; `mlops_core.testing.pytest_plugin` gives the tests their session.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mlops_core.errors import UsageError
from mlops_core.testing.declaration import ContractDeclaration, declared_by
from mlops_core.testing.registry import all_checks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mlops_core.testing.registry import Check
    from mlops_core.testing.session import ContractSession

_PREFIX = "test_"
_PLUGIN = "mlops_core.testing.pytest_plugin"
_FIXTURES = ("contract_session", "contract_processes")


class UseCaseContract:
    """Every promise of a use case as a test; derive from it, name the use case, add nothing else.

    Each attribute of `ContractDeclaration` may be set in the derived class::

        class TestMine(UseCaseContract):
            use_case = "MINE"
            config = "examples/tiny.yaml"

    A relative `config` is looked for in the folder of the test's file and in those above it. Tests of checks can
    neither be replaced nor removed; what is known to fail is listed in `expected_failures` with its reason, and has
    to fail.
    """

    use_case: ClassVar[str] = ""
    config: ClassVar[str | Path | None] = None
    expected_failures: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def setup_class(cls) -> None:
        """Say what is missing where pytest was told not to load the kit's plugin.

        Raises:
            UsageError: the plugin was not loaded.
        """
        if _PLUGIN not in sys.modules:
            raise UsageError(f"pytest has not loaded the contract kit; leave out -p no:mlops, or add -p {_PLUGIN}")

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Refuse a class that replaces a test.

        Raises:
            UsageError: the culprit is named.
        """
        super().__init_subclass__(**arguments)
        refuse_replaced_tests(cls)

    @classmethod
    def declaration(cls) -> ContractDeclaration:
        """Return what the class declares.

        Raises:
            UsageError: it names no use case, or a configuration that is not there.
        """
        if not cls.use_case:
            raise UsageError(f"{cls.__name__}: set use_case to the name of the use case")
        attributes = {name: getattr(cls, name) for name in dir(cls) if not name.startswith("__")}
        declared = declared_by(attributes)
        declared["config"] = _found_config(cls)
        for name in ("sample_file", "read_split"):
            if name in declared:
                declared[name] = _unbound(cls, name)
        return ContractDeclaration(**declared)


def refuse_replaced_tests(cls: type[UseCaseContract]) -> None:
    """Refuse a class in which the test of a check, or what it looks at, is not the kit's own.

    Raises:
        UsageError: the culprit is named.
    """
    for name in _FIXTURES:
        if hasattr(cls, name):
            raise UsageError(f"{cls.__name__}.{name} replaces what the checks look at; remove it")
    for name in all_checks():
        own = getattr(cls, f"{_PREFIX}{name}", None)
        if own is not getattr(UseCaseContract, f"{_PREFIX}{name}"):
            raise UsageError(
                f"{cls.__name__}.{_PREFIX}{name} replaces a check of the contract; remove it, and if the check is "
                f'known to fail say so: expected_failures = {{"{name}": "the reason"}}'
            )


def contract_classes(module: object) -> list[type[UseCaseContract]]:
    """Return the contracts that a module declares."""
    return [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, UseCaseContract) and value is not UseCaseContract
    ]


def _unbound(cls: type[UseCaseContract], name: str) -> Callable[..., Any]:
    """Return a method, or a static one, so that it can be called without an instance."""
    member = inspect.getattr_static(cls, name)
    if isinstance(member, staticmethod | classmethod):
        found: Callable[..., Any] = getattr(cls, name)
        return found
    return lambda *arguments, **named: member(cls(), *arguments, **named)


def _found_config(cls: type[UseCaseContract]) -> Path | None:
    if cls.config is None:
        return None
    path = Path(cls.config)
    file = Path(inspect.getfile(cls)).resolve()
    candidates = [path] if path.is_absolute() else [folder / path for folder in file.parents]
    found = next((candidate for candidate in candidates if candidate.is_file()), None)
    if found is None:
        raise UsageError(f"{cls.__name__}: no file {path} in {file.parent} or above it")
    return found


def _test_of(check: Check) -> Callable[..., None]:
    def test(self: UseCaseContract, contract_session: ContractSession) -> None:  # noqa: ARG001  a method
        from mlops_core.testing.pytest_plugin import report_outcome

        report_outcome(check, contract_session)

    test.__name__ = f"{_PREFIX}{check.name}"
    test.__qualname__ = f"UseCaseContract.{test.__name__}"
    test.__doc__ = check.documentation
    return test


for _check in all_checks().values():
    setattr(UseCaseContract, f"{_PREFIX}{_check.name}", _test_of(_check))
