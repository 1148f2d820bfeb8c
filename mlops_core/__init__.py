"""One framework, many use cases: machine-learning pipelines as small plugins.

What a plugin author or a notebook needs is here, imported on first use: ``import mlops_core`` itself imports
nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlops_core.api import load_model, open_run, prepare_run, run, workspace_path
    from mlops_core.code_references import load_function
    from mlops_core.conditions import AllOf, AnyOf, Comparison, Gate, Not, Operator, Verdict, parse_condition
    from mlops_core.config import KeyFaultError, Section, UseCaseConfig, normalise_path
    from mlops_core.config_files.imported import ImportedConfig, ImportedKey, ImportFate
    from mlops_core.config_files.yaml_source import YamlSource
    from mlops_core.datasets.catalogue import Dataset, GeneratedSource, GitSource, Source, SplitSource
    from mlops_core.datasets.fetching.http import download
    from mlops_core.datasets.group_splits import hold_out_groups
    from mlops_core.datasets.inspections import (
        DatasetFinding,
        Distribution,
        FactTable,
        Inspection,
        Severity,
        findings_of_listing,
    )
    from mlops_core.datasets.listing import DataFiles, is_hidden_or_tool, list_data_files
    from mlops_core.datasets.previews import PREVIEW_LIMIT, Preview
    from mlops_core.datasets.splits import SplitRow, SplitSample, check_no_leak, read_split, write_split
    from mlops_core.errors import (
        ConfigError,
        DatasetError,
        MlopsError,
        PipelineError,
        PluginError,
        StepError,
        StoreError,
        UsageError,
        did_you_mean,
    )
    from mlops_core.evaluation.metrics import (
        ConfusionMatrix,
        Direction,
        Metric,
        MetricReport,
        MetricValue,
        Unit,
        bootstrap_by_group,
        proportion,
        proportion_by_group,
    )
    from mlops_core.hookspecs import PluginContext, hookimpl
    from mlops_core.pipeline import DATASET, Parameter, ParameterType, Pipeline, Resources, Step, StepKind
    from mlops_core.predictions import Prediction, Predictions, read_predictions, write_predictions
    from mlops_core.predictors import (
        Interval,
        OptionType,
        OutputEmitter,
        OutputOption,
        OutputRequest,
        PredictionInput,
        PredictionOutput,
        Predictor,
        SampleScores,
    )
    from mlops_core.runners.observers import RunObserver, SilentObserver
    from mlops_core.steps.context import Shard, StepContext
    from mlops_core.steps.histories import HistoryRow, read_history, write_history
    from mlops_core.use_cases.discovery import discover_use_cases
    from mlops_core.use_cases.manager import UseCase, load_use_case
    from mlops_core.workspace.records import RunRecord, RunStatus

_MODULES = {
    "api": ("load_model", "open_run", "prepare_run", "run", "workspace_path"),
    "conditions": ("AllOf", "AnyOf", "Comparison", "Gate", "Not", "Operator", "Verdict", "parse_condition"),
    "config": ("KeyFaultError", "Section", "UseCaseConfig", "normalise_path"),
    "datasets.catalogue": ("Dataset", "GeneratedSource", "GitSource", "Source", "SplitSource"),
    "datasets.splits": ("SplitRow", "SplitSample", "check_no_leak", "read_split", "write_split"),
    "datasets.group_splits": ("hold_out_groups",),
    "datasets.listing": ("DataFiles", "is_hidden_or_tool", "list_data_files"),
    "datasets.previews": ("PREVIEW_LIMIT", "Preview"),
    "errors": (
        "ConfigError",
        "DatasetError",
        "MlopsError",
        "PipelineError",
        "PluginError",
        "StepError",
        "StoreError",
        "UsageError",
        "did_you_mean",
    ),
    "runners.observers": ("RunObserver", "SilentObserver"),
    "hookspecs": ("PluginContext", "hookimpl"),
    "use_cases.discovery": ("discover_use_cases",),
    "use_cases.manager": ("UseCase", "load_use_case"),
    "evaluation.metrics": (
        "ConfusionMatrix",
        "Direction",
        "Metric",
        "MetricReport",
        "MetricValue",
        "Unit",
        "bootstrap_by_group",
        "proportion",
        "proportion_by_group",
    ),
    "pipeline": ("DATASET", "Parameter", "ParameterType", "Pipeline", "Resources", "Step", "StepKind"),
    "predictors": (
        "Interval",
        "OptionType",
        "OutputEmitter",
        "OutputOption",
        "OutputRequest",
        "PredictionInput",
        "PredictionOutput",
        "Predictor",
        "SampleScores",
    ),
    "predictions": ("Prediction", "Predictions", "read_predictions", "write_predictions"),
    "workspace.records": ("RunRecord", "RunStatus"),
    "steps.context": ("Shard", "StepContext"),
    "steps.histories": ("HistoryRow", "read_history", "write_history"),
    "code_references": ("load_function",),
    "config_files.imported": ("ImportFate", "ImportedConfig", "ImportedKey"),
    "datasets.fetching.http": ("download",),
    "datasets.inspections": (
        "DatasetFinding",
        "Distribution",
        "FactTable",
        "Inspection",
        "Severity",
        "findings_of_listing",
    ),
    "config_files.yaml_source": ("YamlSource",),
}
_ORIGIN = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "DATASET",
    "PREVIEW_LIMIT",
    "AllOf",
    "AnyOf",
    "Comparison",
    "ConfigError",
    "ConfusionMatrix",
    "DataFiles",
    "Dataset",
    "DatasetError",
    "DatasetFinding",
    "Direction",
    "Distribution",
    "FactTable",
    "Gate",
    "GeneratedSource",
    "GitSource",
    "HistoryRow",
    "ImportFate",
    "ImportedConfig",
    "ImportedKey",
    "Inspection",
    "Interval",
    "KeyFaultError",
    "Metric",
    "MetricReport",
    "MetricValue",
    "MlopsError",
    "Not",
    "Operator",
    "OptionType",
    "OutputEmitter",
    "OutputOption",
    "OutputRequest",
    "Parameter",
    "ParameterType",
    "Pipeline",
    "PipelineError",
    "PluginContext",
    "PluginError",
    "Prediction",
    "PredictionInput",
    "PredictionOutput",
    "Predictions",
    "Predictor",
    "Preview",
    "Resources",
    "RunObserver",
    "RunRecord",
    "RunStatus",
    "SampleScores",
    "Section",
    "Severity",
    "Shard",
    "SilentObserver",
    "Source",
    "SplitRow",
    "SplitSample",
    "SplitSource",
    "Step",
    "StepContext",
    "StepError",
    "StepKind",
    "StoreError",
    "Unit",
    "UsageError",
    "UseCase",
    "UseCaseConfig",
    "Verdict",
    "YamlSource",
    "bootstrap_by_group",
    "check_no_leak",
    "did_you_mean",
    "discover_use_cases",
    "download",
    "findings_of_listing",
    "hold_out_groups",
    "hookimpl",
    "is_hidden_or_tool",
    "list_data_files",
    "load_function",
    "load_model",
    "load_use_case",
    "normalise_path",
    "open_run",
    "parse_condition",
    "prepare_run",
    "proportion",
    "proportion_by_group",
    "read_history",
    "read_predictions",
    "read_split",
    "run",
    "workspace_path",
    "write_history",
    "write_predictions",
    "write_split",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name not in _ORIGIN:
        raise AttributeError(f"module 'mlops_core' has no attribute '{name}'")
    return getattr(importlib.import_module(f"mlops_core.{_ORIGIN[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
