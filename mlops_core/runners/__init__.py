"""Runners carry out pipelines: each takes a `RunRequest` and returns a `RunRecord`. A plugin provides a `RunnerPlugin`.

Every name here is public: a runner plugin imports from this package, from its subpackages `container` and `remote`, and
from `mlops_core`. `docs/runners.md` walks through a whole engine.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlops_core.conditions import Condition
<<<<<<< HEAD
    from mlops_core.config import load_config
    from mlops_core.datasets.catalogue import Progress
=======
    from mlops_core.config_loading import load_config
    from mlops_core.datasets.catalogue import DatasetChoice, Progress
>>>>>>> core
    from mlops_core.errors import DefinitionError, ExitCode, PipelineError, RunnerError, did_you_mean
    from mlops_core.pipeline import EVALUATION_OUTPUT, FETCH, ParameterValue
    from mlops_core.runners.dataset_source import FetchedSource, fetch_source
    from mlops_core.runners.discovery import open_runner
    from mlops_core.runners.lifecycle import Decision, Result, Run, copy_evaluation
    from mlops_core.runners.local.execution import StepExecution, StepInput
    from mlops_core.runners.local.processes import LOG_LIMIT_BYTES, StepProcesses, step_environment
    from mlops_core.runners.observers import RunObserver, SilentObserver
    from mlops_core.runners.plugin import (
        Ability,
        CiFile,
        CompiledPipeline,
        ContainerImage,
        ExecutedDefinition,
        Runner,
        RunnerOptions,
        RunnerPlugin,
    )
    from mlops_core.runners.request import RunRequest
    from mlops_core.settings import read_settings
    from mlops_core.steps.keys import CodeIndex
    from mlops_core.workspace.diagnosis import HealthCheck
    from mlops_core.workspace.files import write_atomically
    from mlops_core.workspace.records import RemoteRecord, StepRecord, StepStatus
    from mlops_core.workspace.store import Store

<<<<<<< HEAD
_MODULES = {
    "mlops_core.conditions": ("Condition",),
    "mlops_core.config": ("load_config",),
    "mlops_core.datasets.catalogue": ("Progress",),
    "mlops_core.errors": ("DefinitionError", "ExitCode", "PipelineError", "RunnerError", "did_you_mean"),
    "mlops_core.pipeline": ("EVALUATION_OUTPUT", "FETCH", "ParameterValue"),
    "mlops_core.runners.dataset_source": ("FetchedSource", "fetch_source"),
    "mlops_core.runners.discovery": ("open_runner",),
    "mlops_core.runners.lifecycle": ("Decision", "Result", "Run", "copy_evaluation"),
    "mlops_core.runners.local.execution": ("StepExecution", "StepInput"),
    "mlops_core.runners.local.processes": ("LOG_LIMIT_BYTES", "StepProcesses", "step_environment"),
    "mlops_core.runners.observers": ("RunObserver", "SilentObserver"),
    "mlops_core.runners.plugin": (
        "Ability",
        "CiFile",
        "CompiledPipeline",
        "ContainerImage",
        "ExecutedDefinition",
        "Runner",
        "RunnerOptions",
        "RunnerPlugin",
    ),
    "mlops_core.runners.request": ("RunRequest",),
    "mlops_core.settings": ("read_settings",),
    "mlops_core.steps.keys": ("CodeIndex",),
    "mlops_core.workspace.diagnosis": ("HealthCheck",),
    "mlops_core.workspace.files": ("write_atomically",),
    "mlops_core.workspace.records": ("RemoteRecord", "StepRecord", "StepStatus"),
    "mlops_core.workspace.store": ("Store",),
=======

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
        dataset: the data set that the configuration asks for; None to ask the use case.
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
    dataset: DatasetChoice | None = None

    def dataset_choice(self) -> DatasetChoice:
        """Return the data set that the configuration asks for.

        Raises:
            ConfigError: the catalogue has no data set of the configured name.
        """
        return self.dataset or self.use_case.dataset_choice(self.config.model)


class RunObserver(Protocol):
    """Receives run events, from any thread; the CLI renders them.

    Example:
        >>> class Printer:
        ...     def run_started(self, record):
        ...         print("run", record.use_case)
        ...
        ...     def step_started(self, name):
        ...         pass
        ...
        ...     def step_progress(self, name, label, done, total):
        ...         pass
        ...
        ...     def step_ended(self, record):
        ...         pass
        ...
        ...     def note(self, text):
        ...         pass
        >>> record = run("TOY", workspace="workspace", observer=Printer())
        run TOY
    """

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


_LAZY = {
    "Condition": "mlops_core.conditions",
    "load_config": "mlops_core.config_loading",
    "Progress": "mlops_core.datasets.catalogue",
    "DefinitionError": "mlops_core.errors",
    "ExitCode": "mlops_core.errors",
    "PipelineError": "mlops_core.errors",
    "RunnerError": "mlops_core.errors",
    "did_you_mean": "mlops_core.errors",
    "EVALUATION_OUTPUT": "mlops_core.pipeline",
    "FETCH": "mlops_core.pipeline",
    "ParameterValue": "mlops_core.pipeline",
    "FetchedSource": "mlops_core.runners.dataset_source",
    "fetch_source": "mlops_core.runners.dataset_source",
    "Decision": "mlops_core.runners.lifecycle",
    "Result": "mlops_core.runners.lifecycle",
    "Run": "mlops_core.runners.lifecycle",
    "copy_evaluation": "mlops_core.runners.lifecycle",
    "StepExecution": "mlops_core.runners.local.execution",
    "StepInput": "mlops_core.runners.local.execution",
    "LOG_LIMIT_BYTES": "mlops_core.runners.local.processes",
    "StepProcesses": "mlops_core.runners.local.processes",
    "step_environment": "mlops_core.runners.local.processes",
    "ExecutedDefinition": "mlops_core.runners.parity",
    "read_settings": "mlops_core.settings",
    "CodeIndex": "mlops_core.steps.keys",
    "HealthCheck": "mlops_core.workspace.diagnosis",
    "write_atomically": "mlops_core.workspace.files",
    "RemoteRecord": "mlops_core.workspace.records",
    "StepRecord": "mlops_core.workspace.records",
    "StepStatus": "mlops_core.workspace.records",
    "Store": "mlops_core.workspace.store",
>>>>>>> core
}
_ORIGIN = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "EVALUATION_OUTPUT",
    "FETCH",
    "LOG_LIMIT_BYTES",
    "Ability",
    "CiFile",
    "CodeIndex",
    "CompiledPipeline",
    "Condition",
    "ContainerImage",
    "Decision",
    "DefinitionError",
    "ExecutedDefinition",
    "ExitCode",
    "FetchedSource",
    "HealthCheck",
    "ParameterValue",
    "PipelineError",
    "Progress",
    "RemoteRecord",
    "Result",
    "Run",
    "RunObserver",
    "RunRequest",
    "Runner",
    "RunnerError",
    "RunnerOptions",
    "RunnerPlugin",
    "SilentObserver",
    "StepExecution",
    "StepInput",
    "StepProcesses",
    "StepRecord",
    "StepStatus",
    "Store",
    "copy_evaluation",
    "did_you_mean",
    "fetch_source",
    "load_config",
    "open_runner",
    "read_settings",
    "step_environment",
    "write_atomically",
]


def __getattr__(name: str) -> object:
    if name not in _ORIGIN:
        raise AttributeError(f"module 'mlops_core.runners' has no attribute '{name}'")
    return getattr(importlib.import_module(_ORIGIN[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
