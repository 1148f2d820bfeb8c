"""One framework, many use cases: machine-learning pipelines as small plugins.

What a plugin author or a notebook needs is here, imported on first use: ``import mlops_core`` itself imports
nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlops_core.api import load_model, open_run, prepare_run, run, runs_frame, workspace_path
    from mlops_core.code_references import load_function
    from mlops_core.config import (
        GateSection,
        KeyFaultError,
        ObserverSection,
        Section,
        TuningSection,
        UseCaseConfig,
        normalise_path,
    )
    from mlops_core.config_files.imported import ImportedConfig, ImportedKey, ImportFate
    from mlops_core.config_files.yaml_source import YamlSource
    from mlops_core.datasets.catalogue import Dataset, GeneratedSource, GitSource, Source, SplitSource
    from mlops_core.datasets.digests import file_digest
    from mlops_core.datasets.earlier_splits import EarlierSplit, earlier_part
    from mlops_core.datasets.fetching.archives import open_tar
    from mlops_core.datasets.fetching.http import download
    from mlops_core.datasets.group_splits import hold_out_groups, join_groups
    from mlops_core.datasets.inspections import (
        DatasetFinding,
        Distribution,
        FactTable,
        Inspection,
        Severity,
        findings_of_listing,
    )
    from mlops_core.datasets.leaks import NearDuplicate, WrittenSplit
    from mlops_core.datasets.licences import PretrainedModel
    from mlops_core.datasets.listing import (
        DataFiles,
        fold_of_folder,
        is_hidden_or_tool,
        list_data_files,
        part_of_folder,
        placeholder_of,
    )
    from mlops_core.datasets.previews import PREVIEW_LIMIT, MarkedSample, Preview
    from mlops_core.datasets.splits import SplitRow, SplitSample, check_no_leak, read_split, row_digest, write_split
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
    from mlops_core.evaluation.confusion import ConfusionMatrix
    from mlops_core.evaluation.coverage import write_left_out
    from mlops_core.evaluation.curves import MetricCurves
    from mlops_core.evaluation.metrics import Direction, Metric, MetricReport, MetricValue, Unit
    from mlops_core.evaluation.proportions import proportion, proportion_by_group
    from mlops_core.evaluation.reference_statistics import SampleDescription, write_descriptions
    from mlops_core.evaluation.resampling import bootstrap_by_group
    from mlops_core.gates.clauses import (
        Bound,
        Champion,
        Comparison,
        LicenceClause,
        LicenceSubject,
        NoRegression,
        Operator,
        Slice,
    )
    from mlops_core.gates.conditions import AllOf, AnyOf, Not
    from mlops_core.gates.gate import Gate
    from mlops_core.gates.parsing import parse_condition
    from mlops_core.gates.verdicts import ClauseVerdict, GateOutcome, Verdict
    from mlops_core.hookspecs import PluginContext, hookimpl
    from mlops_core.pipeline import (
        DATASET,
        BatchPrediction,
        Parameter,
        ParameterType,
        Pipeline,
        Resources,
        Step,
        StepKind,
        batch_prediction_step,
    )
    from mlops_core.predictions import (
        FoundBox,
        Prediction,
        Predictions,
        TrueBox,
        read_predictions,
        write_predictions,
    )
    from mlops_core.predictors import (
        ContentType,
        DescribingPredictor,
        Detection,
        Interval,
        OptionType,
        OutputEmitter,
        OutputOption,
        OutputRequest,
        Perturbation,
        PerturbingPredictor,
        PredictionInput,
        PredictionOutput,
        Predictor,
        SampleScores,
    )
    from mlops_core.runners.observers import RunObserver, SilentObserver
    from mlops_core.steps.context import Shard, StepContext
    from mlops_core.steps.histories import HistoryRow, read_history, write_history
    from mlops_core.tuning.declaration import Tuning
    from mlops_core.tuning.space import RangeKind, SearchRange, SearchSpace, TunedParameter
    from mlops_core.use_cases.discovery import discover_use_cases
    from mlops_core.use_cases.manager import UseCase, load_use_case
    from mlops_core.weights import require_plain_hdf5
    from mlops_core.workspace.records import RunRecord, RunStatus

_MODULES = {
    "api": ("load_model", "open_run", "prepare_run", "run", "runs_frame", "workspace_path"),
    "config": (
        "GateSection",
        "KeyFaultError",
        "ObserverSection",
        "Section",
        "TuningSection",
        "UseCaseConfig",
        "normalise_path",
    ),
    "datasets.catalogue": ("Dataset", "GeneratedSource", "GitSource", "Source", "SplitSource"),
    "datasets.splits": ("SplitRow", "SplitSample", "check_no_leak", "read_split", "row_digest", "write_split"),
    "datasets.digests": ("file_digest",),
    "datasets.earlier_splits": ("EarlierSplit", "earlier_part"),
    "datasets.leaks": ("NearDuplicate", "WrittenSplit"),
    "datasets.licences": ("PretrainedModel",),
    "datasets.group_splits": ("hold_out_groups", "join_groups"),
    "datasets.listing": (
        "DataFiles",
        "fold_of_folder",
        "is_hidden_or_tool",
        "list_data_files",
        "part_of_folder",
        "placeholder_of",
    ),
    "datasets.previews": ("PREVIEW_LIMIT", "MarkedSample", "Preview"),
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
    "gates.clauses": (
        "Bound",
        "Champion",
        "Comparison",
        "LicenceClause",
        "LicenceSubject",
        "NoRegression",
        "Operator",
        "Slice",
    ),
    "gates.conditions": ("AllOf", "AnyOf", "Not"),
    "gates.gate": ("Gate",),
    "gates.parsing": ("parse_condition",),
    "gates.verdicts": ("ClauseVerdict", "GateOutcome", "Verdict"),
    "runners.observers": ("RunObserver", "SilentObserver"),
    "hookspecs": ("PluginContext", "hookimpl"),
    "weights": ("require_plain_hdf5",),
    "use_cases.discovery": ("discover_use_cases",),
    "use_cases.manager": ("UseCase", "load_use_case"),
    "evaluation.confusion": ("ConfusionMatrix",),
    "evaluation.curves": ("MetricCurves",),
    "evaluation.coverage": ("write_left_out",),
    "evaluation.metrics": (
        "Direction",
        "Metric",
        "MetricReport",
        "MetricValue",
        "Unit",
    ),
    "evaluation.proportions": ("proportion", "proportion_by_group"),
    "evaluation.reference_statistics": ("SampleDescription", "write_descriptions"),
    "evaluation.resampling": ("bootstrap_by_group",),
    "pipeline": (
        "DATASET",
        "BatchPrediction",
        "Parameter",
        "ParameterType",
        "Pipeline",
        "Resources",
        "Step",
        "StepKind",
        "batch_prediction_step",
    ),
    "predictors": (
        "ContentType",
        "DescribingPredictor",
        "Detection",
        "Interval",
        "OptionType",
        "OutputEmitter",
        "OutputOption",
        "OutputRequest",
        "Perturbation",
        "PerturbingPredictor",
        "PredictionInput",
        "PredictionOutput",
        "Predictor",
        "SampleScores",
    ),
    "predictions": ("FoundBox", "Prediction", "Predictions", "TrueBox", "read_predictions", "write_predictions"),
    "tuning.declaration": ("Tuning",),
    "tuning.space": ("RangeKind", "SearchRange", "SearchSpace", "TunedParameter"),
    "workspace.records": ("RunRecord", "RunStatus"),
    "steps.context": ("Shard", "StepContext"),
    "steps.histories": ("HistoryRow", "read_history", "write_history"),
    "code_references": ("load_function",),
    "config_files.imported": ("ImportFate", "ImportedConfig", "ImportedKey"),
    "datasets.fetching.archives": ("open_tar",),
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
    "BatchPrediction",
    "Bound",
    "Champion",
    "ClauseVerdict",
    "Comparison",
    "ConfigError",
    "ConfusionMatrix",
    "ContentType",
    "DataFiles",
    "Dataset",
    "DatasetError",
    "DatasetFinding",
    "DescribingPredictor",
    "Detection",
    "Direction",
    "Distribution",
    "EarlierSplit",
    "FactTable",
    "FoundBox",
    "Gate",
    "GateOutcome",
    "GateSection",
    "GeneratedSource",
    "GitSource",
    "HistoryRow",
    "ImportFate",
    "ImportedConfig",
    "ImportedKey",
    "Inspection",
    "Interval",
    "KeyFaultError",
    "LicenceClause",
    "LicenceSubject",
    "MarkedSample",
    "Metric",
    "MetricCurves",
    "MetricReport",
    "MetricValue",
    "MlopsError",
    "NearDuplicate",
    "NoRegression",
    "Not",
    "ObserverSection",
    "Operator",
    "OptionType",
    "OutputEmitter",
    "OutputOption",
    "OutputRequest",
    "Parameter",
    "ParameterType",
    "Perturbation",
    "PerturbingPredictor",
    "Pipeline",
    "PipelineError",
    "PluginContext",
    "PluginError",
    "Prediction",
    "PredictionInput",
    "PredictionOutput",
    "Predictions",
    "Predictor",
    "PretrainedModel",
    "Preview",
    "RangeKind",
    "Resources",
    "RunObserver",
    "RunRecord",
    "RunStatus",
    "SampleDescription",
    "SampleScores",
    "SearchRange",
    "SearchSpace",
    "Section",
    "Severity",
    "Shard",
    "SilentObserver",
    "Slice",
    "Source",
    "SplitRow",
    "SplitSample",
    "SplitSource",
    "Step",
    "StepContext",
    "StepError",
    "StepKind",
    "StoreError",
    "TrueBox",
    "TunedParameter",
    "Tuning",
    "TuningSection",
    "Unit",
    "UsageError",
    "UseCase",
    "UseCaseConfig",
    "Verdict",
    "WrittenSplit",
    "YamlSource",
    "batch_prediction_step",
    "bootstrap_by_group",
    "check_no_leak",
    "did_you_mean",
    "discover_use_cases",
    "download",
    "earlier_part",
    "file_digest",
    "findings_of_listing",
    "fold_of_folder",
    "hold_out_groups",
    "hookimpl",
    "is_hidden_or_tool",
    "join_groups",
    "list_data_files",
    "load_function",
    "load_model",
    "load_use_case",
    "normalise_path",
    "open_run",
    "open_tar",
    "parse_condition",
    "part_of_folder",
    "placeholder_of",
    "prepare_run",
    "proportion",
    "proportion_by_group",
    "read_history",
    "read_predictions",
    "read_split",
    "require_plain_hdf5",
    "row_digest",
    "run",
    "runs_frame",
    "workspace_path",
    "write_descriptions",
    "write_history",
    "write_left_out",
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
