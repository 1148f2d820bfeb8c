"""`UseCaseContract`: the test class that the author of a use case derives."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from mlops_core.errors import UsageError
from mlops_core.testing.contract import Contract, file_above, unbound
from mlops_core.testing.use_cases.declaration import ContractDeclaration, declared_by
from mlops_core.testing.use_cases.registry import all_checks
from mlops_core.testing.use_cases.session import ContractSession

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlops_core.testing.checks import Check
    from mlops_core.testing.observation.processes import Processes


class UseCaseContract(Contract):
    """Every promise of a use case as a test; derive from it and name the use case.

    Each attribute of `ContractDeclaration` may be set in the derived class::

        class TestMine(UseCaseContract):
            use_case = "MINE"
            config = "examples/tiny.yaml"

    A relative `config` is looked up in the folder of the test's file and in those above it. Tests of checks can
    neither be replaced nor removed; a known failure is listed in `expected_failures` with its reason, and has to fail.
    """

    use_case: ClassVar[str] = ""
    config: ClassVar[str | Path | None] = None

    @classmethod
    def checks(cls) -> Mapping[str, Check]:
        """Return the checks of the contract, by name."""
        return all_checks()

    @classmethod
    def declaration(cls) -> ContractDeclaration:
        """Return what the class declares.

        Raises:
            UsageError: it names no use case, or a configuration that does not exist.
        """
        if not cls.use_case:
            raise UsageError(f"{cls.__name__}: set use_case to the name of the use case")
        attributes = {name: getattr(cls, name) for name in dir(cls) if not name.startswith("__")}
        declared = declared_by(attributes)
        declared["config"] = None if cls.config is None else file_above(cls, cls.config)
        for name in ("sample_file", "read_split", "exchange_samples", "read_groups"):
            if name in declared:
                declared[name] = unbound(cls, name)
        return ContractDeclaration(**declared)

    @classmethod
    def open_session(cls, *, processes: Processes, folder: Path) -> ContractSession:
        """Return the session that all tests of the class share."""
        return ContractSession(cls.declaration(), processes=processes, folder=folder)
