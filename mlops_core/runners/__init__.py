"""Runners carry out pipelines: each takes a `RunRequest` and returns a `RunRecord`. A plugin provides a `RunnerPlugin`.

Every name here is public: runner plugins import from this package.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from mlops_core.runners.plugin import (
    Ability,
    CiFile,
    CompiledPipeline,
    ContainerImage,
    RunnerOptions,
    RunnerPlugin,
)
from mlops_core.runners.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlops_core.config import LoadedConfig
    from mlops_core.pipeline import ParameterValue, Pipeline
    from mlops_core.use_cases.manager import UseCase
    from mlops_core.workspace.records import RunRecord, StepRecord
    from mlops_core.workspace.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """One run, checked before anything is executed.

    Attributes:
        use_case: the loaded use case.
        config: its validated configuration.
        pipeline: built from that configuration.
        parameters: a value for each of the pipeline's parameters.
        seed: random seed.
        is_offline: refuse to fetch from the network.
        selection: which steps are run even where they could be reused, or not at all.
        resumed: the record of the run that is resumed; None for a new run.
        artifacts_dir: folder to which the evaluation is copied; None for no copy.
    """

    use_case: UseCase
    config: LoadedConfig
    pipeline: Pipeline
    parameters: Mapping[str, ParameterValue]
    seed: int = 0
    is_offline: bool = False
    selection: Selection = field(default_factory=Selection)
    resumed: RunRecord | None = None
    artifacts_dir: Path | None = None


class RunObserver(Protocol):
    """Receives run events, from any thread; the CLI renders them."""

    def run_started(self, record: RunRecord) -> None:
        """Handle the start of a run: its record exists from now on."""

    def step_started(self, name: str) -> None:
        """Handle the start of a step; ``fetch`` is one too."""

    def step_progress(self, name: str, label: str, done: int, total: int) -> None:
        """Handle the progress of a step: `done` of `total`, counted in `label`."""

    def step_ended(self, record: StepRecord) -> None:
        """Handle the end of a step: done, reused, failed, skipped or stopped."""

    def note(self, text: str) -> None:
        """Handle a message that changes nothing about the run."""


class SilentObserver:
    """Ignores all events."""

    def run_started(self, record: RunRecord) -> None:
        """Ignore the event."""

    def step_started(self, name: str) -> None:
        """Ignore the event."""

    def step_progress(self, name: str, label: str, done: int, total: int) -> None:
        """Ignore the event."""

    def step_ended(self, record: StepRecord) -> None:
        """Ignore the event."""

    def note(self, text: str) -> None:
        """Ignore the event."""


class Runner(Protocol):
    """Carries out pipelines."""

    def run(self, request: RunRequest) -> RunRecord:
        """Carry out a run and return its finished record.

        Raises:
            MlopsError: the run could not begin; later errors are in the record.
        """


def open_runner(
    name: str,
    store: Store,
    *,
    observer: RunObserver,
    jobs: int | None = None,
    options: RunnerOptions | None = None,
) -> Runner:
    """Return the runner called `name`.

    Raises:
        UsageError: it is not installed, or an option does not fit.
        PluginError: its plugin cannot be loaded.
        ConfigError: the settings that the options name are wrong.
    """
    from mlops_core.runners.discovery import load_runner

    return load_runner(name).create_runner(store, observer=observer, jobs=jobs, options=options)


__all__ = [
    "Ability",
    "CiFile",
    "CompiledPipeline",
    "ContainerImage",
    "RunObserver",
    "RunRequest",
    "Runner",
    "RunnerOptions",
    "RunnerPlugin",
    "SilentObserver",
    "open_runner",
]
