"""The plugin contract: every hook that core calls, in the order in which it calls them.

A use case is one module (or object) with functions of these names, each marked with ``@hookimpl``. Exactly one
plugin is loaded at a time, in a plugin manager of its own, so each hook has one answer; core's own defaults
stand behind the optional ones. Hooks that describe are pure: called twice with
equal arguments they return equal values, and they leave their arguments as they were. Nothing heavy may be
imported by them at module level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mlops_core.conditions import Gate
    from mlops_core.config import UseCaseConfig
    from mlops_core.config_import import ImportedConfig
    from mlops_core.datasets.catalogue import Dataset
    from mlops_core.datasets.inspections import Inspection
    from mlops_core.datasets.previews import Preview
    from mlops_core.metrics import Metric, MetricReport
    from mlops_core.pipeline import Parameter, Step
    from mlops_core.predictions import Predictions
    from mlops_core.predictors import PredictionOutput, Predictor
    from mlops_core.yaml_source import YamlSource

PROJECT = "mlops"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginContext:
    """The last argument of every hook.

    Attributes:
        use_case: the name that was asked for, as its entry point spells it (one plugin may serve several).
        distribution: the distribution that provides it.
        version: its version.
    """

    use_case: str
    distribution: str
    version: str


# --- Configuration and data -------------------------------------------------------------------------------


@hookspec(firstresult=True)
def mlops_get_config_model(context: PluginContext) -> type[UseCaseConfig]:  # type: ignore[empty-body]
    """Return the pydantic model of the use case's ``user_config.yaml``.

    Called first, in the driver, whenever the use case is loaded. Required. Since 0.1.

    :param context: which use case was asked for, and by which distribution it is provided.
    :returns: a subclass of `UseCaseConfig`; each of its fields is a section.
    """


@hookspec(firstresult=True)
def mlops_get_config_file(context: PluginContext) -> Path:  # type: ignore[empty-body]
    """Return the file that holds the default configuration.

    Called in the driver before a configuration is read. Optional: core's default is ``user_config.yaml`` beside
    the plugin's module. Since 0.1.

    :param context: which use case was asked for.
    :returns: an existing YAML file that the model accepts as it is.
    """


@hookspec(firstresult=True)
def mlops_import_config(source: YamlSource, layout: str | None, context: PluginContext) -> ImportedConfig | None:
    """Return what a configuration means that another program's users wrote.

    Called in the driver for ``import``, and before the user's ``--config`` file is validated: a file in a layout that
    the plugin recognises is taken as it is. Optional: core's default is that there is no other layout. Since 0.1.

    :param source: the file as data, with the line of each key; ``${NAME}`` is expanded, ``${now:...}`` is not.
    :param layout: which layout ``import`` was told that it is; None to recognise it.
    :param context: which use case was asked for.
    :returns: the use case's own configuration, and what became of each key; None when the layout is not known.
    """


@hookspec(firstresult=True)
def mlops_get_datasets(config: UseCaseConfig, context: PluginContext) -> Sequence[Dataset]:  # type: ignore[empty-body]
    """Return the catalogue: each data set that the use case can fetch.

    Called in the driver for ``describe``, ``fetch``, ``plan`` and ``run``. Required. Since 0.1.

    :param config: the validated configuration.
    :param context: which use case was asked for.
    :returns: catalogue entries with distinct names; empty when only ``dataset.path`` is supported.
    """


@hookspec(firstresult=True)
def mlops_get_dataset_source(config: UseCaseConfig, context: PluginContext) -> tuple[str, Path | None]:  # type: ignore[empty-body]
    """Return which data set the configuration asks for, and where it already is.

    Called in the driver for ``fetch``, ``plan`` and ``run``. Optional: core's default reads ``dataset.name`` and
    ``dataset.path``. Since 0.1.

    :param config: the validated configuration.
    :param context: which use case was asked for.
    :returns: the name, and the folder that holds it, or None for "fetch the catalogue entry of that name".
    """


@hookspec(firstresult=True)
def mlops_fetch_dataset(dataset: Dataset, destination: Path, context: PluginContext) -> bool | None:
    """Bring a data set to this machine.

    Called in the driver for ``fetch``, and by ``run`` where the data set is missing. Optional: core's default
    downloads, checks, unpacks or generates what the catalogue entry says. Since 0.1.

    :param dataset: the catalogue entry.
    :param destination: a new, empty folder; it becomes visible to others only after the hook has returned.
    :param context: which use case was asked for.
    :returns: True when the data set is complete; None to leave it to core.
    """


@hookspec(firstresult=True)
def mlops_inspect_dataset(dataset: Path, config: UseCaseConfig, context: PluginContext) -> Inspection:  # type: ignore[empty-body]
    """Look into a data set: how many samples of what, how long or large, and what is wrong with them.

    Called in the driver for ``mlops datasets check`` and ``mlops datasets stats``; it may read every sample. Optional:
    core's default counts the files. Since 0.1.

    :param dataset: the folder with the data, which is complete; read only.
    :param config: the validated configuration.
    :param context: which use case was asked for.
    :returns: facts, tables, distributions and findings; a fault of the data is a finding and no exception.
    """


# --- The pipeline -----------------------------------------------------------------------------------------


@hookspec(firstresult=True)
def mlops_get_parameters(config: UseCaseConfig, context: PluginContext) -> Sequence[Parameter]:  # type: ignore[empty-body]
    """Return the parameters that can be set for a run with ``--param``.

    Called in the driver when the pipeline is built. Optional: core's default is none. Since 0.1.

    :param config: the validated configuration.
    :param context: which use case was asked for.
    :returns: parameters with distinct names; may be empty.
    """


@hookspec(firstresult=True)
def mlops_get_steps(config: UseCaseConfig, context: PluginContext) -> Sequence[Step]:  # type: ignore[empty-body]
    """Return the steps between fetching the data and the gate.

    Called in the driver when the pipeline is built. Required. Since 0.1.

    :param config: the validated configuration.
    :param context: which use case was asked for.
    :returns: the steps in any order, one of them of kind ``evaluation``.
    """


@hookspec(firstresult=True)
def mlops_get_model(config: UseCaseConfig, context: PluginContext) -> str:  # type: ignore[empty-body]
    """Return the reference of the output that is registered.

    Called in the driver when the pipeline is built. Optional: core's default is ``"train.model"``. Since 0.1.

    :param config: the validated configuration.
    :param context: which use case was asked for.
    :returns: ``"step.output"``.
    """


# --- Metrics and the gate ---------------------------------------------------------------------------------


@hookspec(firstresult=True)
def mlops_get_metrics(config: UseCaseConfig, context: PluginContext) -> Sequence[Metric]:  # type: ignore[empty-body]
    """Declare the metrics: name, unit, range, direction.

    Called in the driver when the pipeline is built. Required. Since 0.1.

    :param config: the validated configuration.
    :param context: which use case was asked for.
    :returns: at least one metric; names are distinct.
    """


@hookspec(firstresult=True)
def mlops_compute_metrics(predictions: Predictions, context: PluginContext) -> MetricReport:  # type: ignore[empty-body]
    """Compute every declared metric from the stored predictions, and from nothing else.

    Called in the evaluation step (on this machine or in a container) after the step's own function has written its
    predictions, and again by whoever re-checks a run. Required. Since 0.1.

    :param predictions: what the evaluation step wrote: one row a sample, or a part of a sample.
    :param context: which use case was asked for.
    :returns: one value, with an interval, for each declared metric, and confusion matrices where they apply.
    """


@hookspec(firstresult=True)
def mlops_get_gate(config: UseCaseConfig, context: PluginContext) -> Gate:  # type: ignore[empty-body]
    """Return the condition that a model must meet to be registered.

    Called in the driver when the pipeline is built. Required. Since 0.1.

    :param config: the validated configuration.
    :param context: which use case was asked for.
    :returns: the gate; it may mention declared metrics and numeric parameters only.
    """


# --- Using a model ----------------------------------------------------------------------------------------


@hookspec(firstresult=True)
def mlops_load_predictor(model: Path, context: PluginContext) -> Predictor:  # type: ignore[empty-body]
    """Load a trained model for prediction, from the registered artifact alone.

    Called by `mlops_core.load_model`. Required. Since 0.1.

    :param model: the folder that the registered output holds; read only.
    :param context: which use case was asked for.
    :returns: an object with ``classes`` and ``predict(paths)``.
    """


@hookspec(firstresult=True)
def mlops_get_prediction_outputs(context: PluginContext) -> Sequence[PredictionOutput]:  # type: ignore[empty-body]
    """Return the kinds of output that the use case adds to ``mlops predict``, with their options.

    Called in the driver for ``predict`` and its ``--help``, before a model is loaded; import nothing heavy. Optional:
    core's default is none. Since 0.1.

    :param context: which use case was asked for.
    :returns: outputs as data; the names of outputs and of all their options are distinct. May be empty.
    """


@hookspec(firstresult=True)
def mlops_get_sample_preview(sample: str, dataset: Path, context: PluginContext) -> Preview | None:
    """Show a sample: a picture, a short sound or a text, for the report of a run.

    Called in the driver when a report is written, for the samples that the model gets most wrong; it should take some
    milliseconds and import nothing heavy. Optional: core's default shows none. Since 0.1.

    :param sample: its id, as the predictions name it; a file that it leads to must be inside `dataset`.
    :param dataset: the folder with the data that the run read.
    :param context: which use case was asked for.
    :returns: at most 256 KiB of a media type that every browser shows; None when there is nothing to show.
    """
