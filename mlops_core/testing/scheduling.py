"""Distribution of contract tests by pytest-xdist: those of one class go to one worker, all others one by one.

A contract's tests share a few executions; if they were distributed among workers, each worker would repeat all of them.
Only this module imports xdist, and only a run with workers (``-n``) imports it.
"""

from __future__ import annotations

import functools
import re

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # it has no annotations

from mlops_core.testing.runners.registry import runner_checks
from mlops_core.testing.use_cases.registry import all_checks

_CONTRACT_TEST = re.compile(r"(?P<contract>.+::\w+)::test_(?P<check>\w+)\Z")


class ContractScheduling(LoadScopeScheduling):  # type: ignore[misc]  # as above
    """Assigns each contract as a whole, the largest first, and every other test by itself."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)


def unit_of(nodeid: str) -> str:
    """Return the unit that is assigned together with a test: its contract, or the test alone."""
    found = _CONTRACT_TEST.match(nodeid)
    return found["contract"] if found and found["check"] in _checks() else nodeid


@functools.cache
def _checks() -> frozenset[str]:
    return frozenset({*all_checks(), *runner_checks()})
