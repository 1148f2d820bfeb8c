"""`RunnerContract`: the test class that the author of a runner derives."""

from __future__ import annotations

import contextlib
from dataclasses import fields
from typing import TYPE_CHECKING, ClassVar

from mlops_core.errors import UsageError
from mlops_core.testing.contract import Contract
from mlops_core.testing.runners.declaration import RunnerDeclaration
from mlops_core.testing.runners.registry import runner_checks
from mlops_core.testing.runners.session import RunnerSession
from mlops_core.testing.runners.surroundings import Surroundings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from mlops_core.testing.checks import Check
    from mlops_core.testing.observation.processes import Processes


class RunnerContract(Contract):
    """Every promise of a runner as a test; derive from it and name the runner.

    Each attribute of `RunnerDeclaration` may be set in the derived class::

        class TestMyRunner(RunnerContract):
            runner = "mine"
            is_parallel = False  # one step at a time

    An engine that needs a service overrides `surroundings`. Tests of checks can neither be replaced nor removed; a
    known failure is listed in `expected_failures` with its reason, and has to fail.
    """

    runner: ClassVar[str] = ""

    @classmethod
    def checks(cls) -> Mapping[str, Check]:
        """Return the checks of the contract, by name."""
        return runner_checks()

    @classmethod
    def declaration(cls) -> RunnerDeclaration:
        """Return what the class declares.

        Raises:
            UsageError: it names no runner.
        """
        if not cls.runner:
            raise UsageError(f"{cls.__name__}: set runner to the name of the runner")
        names = [item.name for item in fields(RunnerDeclaration) if hasattr(cls, item.name)]
        return RunnerDeclaration(**{name: getattr(cls, name) for name in names})

    @classmethod
    def surroundings(cls, folder: Path) -> AbstractContextManager[Surroundings]:
        """Return a context manager for the engine's surroundings, such as a service on loopback.

        Args:
            folder: an empty folder for it.
        """
        del folder
        return contextlib.nullcontext(Surroundings())

    @classmethod
    def open_session(cls, *, processes: Processes, folder: Path) -> RunnerSession:
        """Return the session that all tests of the class share."""
        return RunnerSession(cls.declaration(), processes=processes, folder=folder, surroundings=cls.surroundings)
