"""The contract kit: named checks of what every use case and every runner promises, for plugin authors and CI.

The checks themselves do not depend on pytest; `UseCaseContract` and `RunnerContract` turn each into one test, and
`mlops_core.testing.pytest_plugin`, the only module that imports pytest, gives those tests their session.
Importing this package imports nothing else.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlops_core.testing.checks import Check
    from mlops_core.testing.parity.proof import prove_runner_parity
    from mlops_core.testing.parity.scenarios import Scenario, scenario_request
    from mlops_core.testing.runners.contract import RunnerContract
    from mlops_core.testing.runners.declaration import RunnerDeclaration
    from mlops_core.testing.runners.registry import runner_checks
    from mlops_core.testing.runners.surroundings import Surroundings
    from mlops_core.testing.use_cases.contract import UseCaseContract
    from mlops_core.testing.use_cases.declaration import ContractDeclaration
    from mlops_core.testing.use_cases.registry import all_checks
    from mlops_core.testing.use_cases.session import ContractSession

_ORIGIN = {
    "Check": "checks",
    "ContractDeclaration": "use_cases.declaration",
    "ContractSession": "use_cases.session",
    "RunnerContract": "runners.contract",
    "RunnerDeclaration": "runners.declaration",
    "Scenario": "parity.scenarios",
    "Surroundings": "runners.surroundings",
    "UseCaseContract": "use_cases.contract",
    "all_checks": "use_cases.registry",
    "prove_runner_parity": "parity.proof",
    "runner_checks": "runners.registry",
    "scenario_request": "parity.scenarios",
}
__all__ = [
    "Check",
    "ContractDeclaration",
    "ContractSession",
    "RunnerContract",
    "RunnerDeclaration",
    "Scenario",
    "Surroundings",
    "UseCaseContract",
    "all_checks",
    "prove_runner_parity",
    "runner_checks",
    "scenario_request",
]


def __getattr__(name: str) -> object:
    if name not in _ORIGIN:
        raise AttributeError(f"module 'mlops_core.testing' has no attribute '{name}'")
    return getattr(importlib.import_module(f"mlops_core.testing.{_ORIGIN[name]}"), name)
