"""Runners carry out pipelines: each takes a `RunRequest` and returns a `RunRecord`. A plugin provides a `RunnerPlugin`.

Every name here is public: a runner plugin imports from this package, from its subpackages `container` and `remote`, and
from `mlops_core`. `docs/runners.md` walks through a whole engine.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlops_core.config_files.loading import load_config
    from mlops_core.datasets.catalogue import DatasetChoice, Progress
    from mlops_core.datasets.tree_walk import walk_files
    from mlops_core.errors import DefinitionError, ExitCode, PipelineError, RunnerError, did_you_mean
    from mlops_core.gates.conditions import Condition
    from mlops_core.pipeline import EVALUATION_OUTPUT, FETCH, OBJECTIVE_OUTPUT, ParameterValue
    from mlops_core.runners.dataset_source import FetchedSource, fetch_source
    from mlops_core.runners.discovery import open_runner
    from mlops_core.runners.environment import usable_cores
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
        LoadedArchive,
        Runner,
        RunnerOptions,
        RunnerPlugin,
    )
    from mlops_core.runners.request import RunRequest
    from mlops_core.settings import read_settings
    from mlops_core.steps.histories import HISTORY_FILE
    from mlops_core.steps.source_code import CodeIndex
    from mlops_core.steps.tuned.trials import objective_mark
    from mlops_core.use_cases.searches import Search, find_searches, is_selection
    from mlops_core.workspace.files import write_atomically
    from mlops_core.workspace.maintenance.diagnosis import HealthCheck
    from mlops_core.workspace.records import DatasetRecord, RemoteRecord, StepRecord, StepStatus
    from mlops_core.workspace.searches.notes import search_failure
    from mlops_core.workspace.store import Store

_MODULES = {
    "mlops_core.gates.conditions": ("Condition",),
    "mlops_core.config_files.loading": ("load_config",),
    "mlops_core.datasets.catalogue": ("DatasetChoice", "Progress"),
    "mlops_core.datasets.digests": ("walk_files",),
    "mlops_core.errors": ("DefinitionError", "ExitCode", "PipelineError", "RunnerError", "did_you_mean"),
    "mlops_core.pipeline": ("EVALUATION_OUTPUT", "FETCH", "OBJECTIVE_OUTPUT", "ParameterValue"),
    "mlops_core.runners.dataset_source": ("FetchedSource", "fetch_source"),
    "mlops_core.runners.discovery": ("open_runner",),
    "mlops_core.runners.environment": ("usable_cores",),
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
        "LoadedArchive",
        "Runner",
        "RunnerOptions",
        "RunnerPlugin",
    ),
    "mlops_core.runners.request": ("RunRequest",),
    "mlops_core.use_cases.searches": ("Search", "find_searches", "is_selection"),
    "mlops_core.settings": ("read_settings",),
    "mlops_core.steps.histories": ("HISTORY_FILE",),
    "mlops_core.steps.source_code": ("CodeIndex",),
    "mlops_core.steps.tuned.trials": ("objective_mark",),
    "mlops_core.workspace.searches.notes": ("search_failure",),
    "mlops_core.workspace.maintenance.diagnosis": ("HealthCheck",),
    "mlops_core.workspace.files": ("write_atomically",),
    "mlops_core.workspace.records": ("DatasetRecord", "RemoteRecord", "StepRecord", "StepStatus"),
    "mlops_core.workspace.store": ("Store",),
}
_ORIGIN = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "EVALUATION_OUTPUT",
    "FETCH",
    "HISTORY_FILE",
    "LOG_LIMIT_BYTES",
    "OBJECTIVE_OUTPUT",
    "Ability",
    "CiFile",
    "CodeIndex",
    "CompiledPipeline",
    "Condition",
    "ContainerImage",
    "DatasetChoice",
    "DatasetRecord",
    "Decision",
    "DefinitionError",
    "ExecutedDefinition",
    "ExitCode",
    "FetchedSource",
    "HealthCheck",
    "LoadedArchive",
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
    "Search",
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
    "find_searches",
    "is_selection",
    "load_config",
    "objective_mark",
    "open_runner",
    "read_settings",
    "search_failure",
    "step_environment",
    "usable_cores",
    "walk_files",
    "write_atomically",
]


def __getattr__(name: str) -> object:
    if name not in _ORIGIN:
        raise AttributeError(f"module 'mlops_core.runners' has no attribute '{name}'")
    return getattr(importlib.import_module(_ORIGIN[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
