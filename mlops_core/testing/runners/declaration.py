"""The declaration of a runner that is checked: its options and the abilities that its engine does not have."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from mlops_core.testing.checks import refuse_unknown_failures
from mlops_core.testing.runners.registry import runner_checks

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerDeclaration:
    """The runner that is checked and what it claims.

    Attributes:
        runner: name of the runner.
        options: values for its `RunnerPlugin.read_options`, for every run.
        timeout_s: seconds that one run may take.
        has_jobs: it limits the number of steps that run in parallel.
        is_parallel: independent steps run at the same time.
        has_shards: shards of a step are processes of their own.
        has_retries: a failed step is tried again as often as it declares.
        has_timeouts: a step that takes too long is ended.
        has_memory_limits: a step that uses too much memory is ended.
        has_progress: the observer receives the progress of steps.
        has_events: the observer receives the start and the end of each step.
        is_reusing: an unchanged step is not executed again.
        is_resumable: a run that failed or was killed can be resumed.
        stops_on_interrupt: Ctrl-C stops the steps; False for an engine where they continue elsewhere.
        ends_with_driver: steps end when the process that started the run is killed.
        has_force: single steps can be forced to run again.
        registers_in_workspace: accepted models are registered in the workspace; False for an engine with a registry of
            its own, whose name of the model is then in the record.
        keeps_outputs: outputs of every step are stored in the workspace, not only those of the evaluation.
        has_connection: a connection to a service can be lost (`RunnerContract.surroundings` provides it).
        expected_failures: check -> reason; it must fail.
    """

    runner: str
    options: Mapping[str, Any] = field(default_factory=dict)
    timeout_s: float = 120.0
    has_jobs: bool = True
    is_parallel: bool = True
    has_shards: bool = True
    has_retries: bool = True
    has_timeouts: bool = True
    has_memory_limits: bool = True
    has_progress: bool = True
    has_events: bool = True
    is_reusing: bool = True
    is_resumable: bool = True
    stops_on_interrupt: bool = True
    ends_with_driver: bool = True
    has_force: bool = True
    registers_in_workspace: bool = True
    keeps_outputs: bool = True
    has_connection: bool = False
    expected_failures: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse expected failures of unknown checks and without a reason.

        Raises:
            UsageError: the entry is named.
        """
        refuse_unknown_failures(self.expected_failures, runner_checks())

    def has(self, capability: str) -> bool:
        """Tell whether a capability flag is set."""
        return bool(getattr(self, capability))


def runner_capabilities() -> tuple[str, ...]:
    """Return the names of the flags that an author may set."""
    return tuple(item.name for item in fields(RunnerDeclaration) if item.type == "bool")
