"""The plugin contract: every hook that core calls, grouped by phase, in call order.

A use case is one module (or object) with functions of these names, each marked with ``@hookimpl``. Core loads exactly
one plugin at a time, in a plugin manager of its own, so each hook has one implementation; for optional hooks, core has
a default. Hooks that describe a use case (named ``mlops_get_...``) are pure: called twice with equal arguments they
return equal values, they do not change their arguments, and they read nothing but their arguments and the files of
their own package. A plugin must not import heavy packages at module level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from mlops_core.config import UseCaseConfig
    from mlops_core.config_files.imported import ImportedConfig
    from mlops_core.config_files.yaml_source import YamlSource
    from mlops_core.datasets.catalogue import Dataset
    from mlops_core.datasets.earlier_splits import EarlierSplit
    from mlops_core.datasets.inspections import Inspection
    from mlops_core.datasets.leaks import NearDuplicate, WrittenSplit
    from mlops_core.datasets.licences import PretrainedModel
    from mlops_core.datasets.previews import MarkedSample, Preview
    from mlops_core.evaluation.metrics import Metric, MetricReport
    from mlops_core.gates.gate import Gate
    from mlops_core.pipeline import Parameter, Step
    from mlops_core.predictions import Predictions
    from mlops_core.predictors import ContentType, PredictionOutput, Predictor
    from mlops_core.tuning.space import SearchSpace

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

    Example:
        >>> PluginContext(use_case="TOY", distribution="mlops-toy", version="0.1.0").use_case
        'TOY'
    """

    use_case: str
    distribution: str
    version: str


# --- Phase 1: configuration ----------------------------------------------------------------------------


@hookspec(firstresult=True)
def mlops_get_config_model(context: PluginContext) -> type[UseCaseConfig]:  # type: ignore[empty-body]
    """Return the pydantic model of the use case's ``user_config.yaml``.

    Called first, in the driver, whenever a configuration is read. Required. Since 0.1.

    :param context: the use case that was asked for, and the distribution that provides it.
    :returns: a subclass of `UseCaseConfig`; each of its fields is a section. Never None.
    """


@hookspec(firstresult=True)
def mlops_get_config_file(context: PluginContext) -> Path:  # type: ignore[empty-body]
    """Return the file that holds the default configuration.

    Called in the driver before a configuration is read. Optional: core uses ``user_config.yaml`` beside the plugin's
    module. Since 0.1.

    :param context: the use case that was asked for, and the distribution that provides it.
    :returns: an existing YAML file that the model accepts unchanged; None to use core's default.
    """


@hookspec(firstresult=True)
def mlops_import_config(source: YamlSource, layout: str | None, context: PluginContext) -> ImportedConfig | None:
    """Return the meaning of a configuration that was written for another program.

    Called in the driver by ``mlops import``, and before the user's ``--config`` file is validated: a file in a layout
    that the plugin recognises is accepted directly. Optional: by default there is no other layout. Since 0.1.

    :param source: the file as data, with the line of each key; ``${NAME}`` is expanded, ``${now:...}`` is not.
    :param layout: the layout that the user named; None to recognise it.
    :param context: the use case that was asked for, and the distribution that provides it.
    :returns: the use case's own configuration, and what happened to each key; None when the file is not in a layout
        that the plugin knows.
    """


# --- Phase 2: the pipeline -----------------------------------------------------------------------------


@hookspec(firstresult=True)
def mlops_get_steps(config: UseCaseConfig, context: PluginContext) -> Sequence[Step]:  # type: ignore[empty-body]
    """Return the steps between fetching the data set and the gate.

    Called in the driver when the pipeline is built. Required. Since 0.1.

    :param config: the validated configuration.
    :param context: the use case that was asked for, and the distribution that provides it.
    :returns: the steps in any order, exactly one of them of kind ``evaluation``. Never empty or None.
    """


@hookspec(firstresult=True)
def mlops_get_parameters(config: UseCaseConfig, context: PluginContext) -> Sequence[Parameter]:  # type: ignore[empty-body]
    """Return the parameters that can be set for a run with ``--param``.

    Called in the driver when the pipeline is built. Optional: by default there are none. Since 0.1.

    :param config: the validated configuration.
    :param context: the use case that was asked for, and the distribution that provides it.
    :returns: parameters with distinct names; empty or None for no parameters.
    """


@hookspec(firstresult=True)
def mlops_get_dataset_source(config: UseCaseConfig, context: PluginContext) -> tuple[str, Path | None]:  # type: ignore[empty-body]
    """Return the name of the configured data set, and its folder when the user already has it.

    Called in the driver when the pipeline is built. Optional: core reads ``dataset.name`` and ``dataset.path``.
    Since 0.1.

    :param config: the validated configuration.
    :param context: the use case that was asked for, and the distribution that provides it.
    :returns: the name, and the folder, or None in place of the folder to fetch the catalogue entry of that name. None
        in place of the pair to use core's default.
    """


@hookspec(firstresult=True)
def mlops_get_earlier_split(config: UseCaseConfig, context: PluginContext) -> EarlierSplit | None:
    """Return the data assets that hold the parts of an earlier split, which the run is to use again.

    Called in the driver when the pipeline is built. Before anything runs, core reads the file of their versions, finds
    each asset in the workspace, compares its files with its digest, and joins it to the data set, whose digest then
    covers it. A step that reads the data set finds the parts with `earlier_part`, on every runner. Optional: by default
    each run makes its own split. Since 0.1.

    :param config: the validated configuration.
    :param context: the use case that was asked for, and the distribution that provides it.
    :returns: the assets as the configuration names them; None for no earlier split.
    """


@hookspec(firstresult=True)
def mlops_get_metrics(config: UseCaseConfig, context: PluginContext) -> Sequence[Metric]:  # type: ignore[empty-body]
    """Return the declared metrics: name, unit, range and direction of each.

    Called in the driver when the pipeline is built. Required. Since 0.1.

    :param config: the validated configuration.
    :param context: the use case that was asked for, and the distribution that provides it.
    :returns: at least one metric, with distinct names; models are compared by the first one. Never empty or None.
    """


@hookspec(firstresult=True)
def mlops_get_gate(config: UseCaseConfig, context: PluginContext) -> Gate:  # type: ignore[empty-body]
    """Return the condition that a model must meet to be registered.

    Called in the driver when the pipeline is built. Required. Since 0.1.

    :param config: the validated configuration.
    :param context: the use case that was asked for, and the distribution that provides it.
    :returns: the gate; it refers only to declared metrics and numeric parameters. Never None: a use case without a
        gate is not accepted.
    """


@hookspec(firstresult=True)
def mlops_get_search_space(config: UseCaseConfig, context: PluginContext) -> SearchSpace | None:
    """Return what a hyperparameter search may vary, and the space that the plugin recommends.

    Called in the driver when the pipeline is built, if the section ``tuning`` of the configuration asks for more than
    one trial; core then attaches the search to the training step that writes the model. Optional: by default nothing
    can be searched. Since 0.1.

    :param config: the validated configuration.
    :param context: the use case that was asked for, and the distribution that provides it.
    :returns: every parameter that can be tuned, with its key in the configuration and its legal values, and the
        ranges that are searched unless the user gives a file with others. None if nothing can be searched.
    """


@hookspec(firstresult=True)
def mlops_get_model(config: UseCaseConfig, context: PluginContext) -> str:  # type: ignore[empty-body]
    """Return the reference of the output that is registered as the model.

    Called in the driver when the pipeline is built. Optional: by default ``"train.model"``. Since 0.1.

    :param config: the validated configuration.
    :param context: the use case that was asked for, and the distribution that provides it.
    :returns: ``"step.output"``; None to use core's default.
    """


@hookspec(firstresult=True)
def mlops_get_base_models(config: UseCaseConfig, context: PluginContext) -> Sequence[PretrainedModel]:  # type: ignore[empty-body]
    """Return the base models with which training begins, each with the licence of its weights.

    Called in the driver when the pipeline is built. The licences are recorded with the run and with the model, shown
    where it is registered, and can be a clause of the gate. Optional: by default training begins with random weights.
    Since 0.1.

    :param config: the validated configuration.
    :param context: the use case that was asked for, and the distribution that provides it.
    :returns: base models with distinct names; one whose licence is not known has an empty one. Empty or None for no
        base models.
    """


# --- Phase 3: the data set -----------------------------------------------------------------------------


@hookspec(firstresult=True)
def mlops_get_datasets(config: UseCaseConfig, context: PluginContext) -> Sequence[Dataset]:  # type: ignore[empty-body]
    """Return the catalogue: each data set that the use case can fetch.

    Called in the driver for ``describe``, ``fetch``, ``plan`` and ``run``. Required. Since 0.1.

    :param config: the validated configuration.
    :param context: the use case that was asked for, and the distribution that provides it.
    :returns: catalogue entries with distinct names; empty when only ``dataset.path`` is supported. Never None.
    """


@hookspec(firstresult=True)
def mlops_fetch_dataset(dataset: Dataset, destination: Path, context: PluginContext) -> bool | None:
    """Fetch a data set in the plugin's own way.

    Called in the driver by ``fetch``, and by ``run`` when the data set is missing. Optional: core downloads, checks,
    unpacks or generates what the catalogue entry declares. Since 0.1.

    :param dataset: the catalogue entry.
    :param destination: a new, empty folder; it becomes visible to others only after the hook has returned.
    :param context: the use case that was asked for, and the distribution that provides it.
    :returns: True when the data set is complete; False or None to leave it to core.
    """


@hookspec(firstresult=True)
def mlops_inspect_dataset(dataset: Path, config: UseCaseConfig, context: PluginContext) -> Inspection:  # type: ignore[empty-body]
    """Return what a data set contains (number, kind and size of its samples) and what is wrong with it.

    Called in the driver for ``mlops datasets check`` and ``mlops datasets stats``; it may read every sample.
    Optional: core counts the files. Since 0.1.

    :param dataset: the folder of the complete data set; read only.
    :param config: the validated configuration.
    :param context: the use case that was asked for, and the distribution that provides it.
    :returns: facts, tables, distributions and findings; a fault in the data is a finding, not an exception. None to
        use core's default.
    """


@hookspec(firstresult=True)
def mlops_find_near_duplicates(split: WrittenSplit, context: PluginContext) -> Iterable[NearDuplicate] | None:
    """Find samples that are nearly the same, such as scaled or recompressed copies of one picture.

    Called right after a step has written a split, in the process or container of that step, where its inputs are; core
    refuses a split in which the samples of a pair are in different parts. Equal content and groups are core's own
    checks. Optional: by default there are no near duplicates. Since 0.1.

    :param split: the split as it was written, and the inputs and configuration sections of the step; read only.
    :param context: the use case that was asked for, and the distribution that provides it.
    :returns: the pairs, best as a generator; core ignores pairs within one part. Empty or None for no pairs.
    """


# --- Phase 4: evaluation -------------------------------------------------------------------------------


@hookspec(firstresult=True)
def mlops_compute_metrics(predictions: Predictions, context: PluginContext) -> MetricReport:  # type: ignore[empty-body]
    """Compute every declared metric from the stored predictions, and from nothing else.

    Called in the process or container of the evaluation step, after the step's own function has written its
    predictions, and again in the driver by whatever checks a run again. Required. Since 0.1.

    :param predictions: the rows that the evaluation step wrote: one per sample, or several per sample when a sample
        is judged in parts.
    :param context: the use case that was asked for, and the distribution that provides it.
    :returns: one value, with a confidence interval where one can be computed, for each declared metric, and confusion
        matrices where they apply. A metric that is missing fails the gate. Never None.
    """


# --- Phase 5: using a model ----------------------------------------------------------------------------


@hookspec(firstresult=True)
def mlops_get_sample_preview(sample: str, dataset: Path, context: PluginContext) -> Preview | None:
    """Return a preview of a sample (an image, a short sound or a text) for the report of a run.

    Called in the driver when a report is written, for the samples with the worst predictions; it should take a few
    milliseconds and import nothing heavy. Optional: by default there are no previews. Since 0.1.

    :param sample: id of the sample, as the predictions name it; a file that is derived from it must be inside
        `dataset`.
    :param dataset: the folder of the data set that the run read.
    :param context: the use case that was asked for, and the distribution that provides it.
    :returns: at most 256 KiB of a media type that every browser displays; None when the sample has no preview.
    """


@hookspec(firstresult=True)
def mlops_get_boxes_preview(marked: MarkedSample, dataset: Path, context: PluginContext) -> Preview | None:
    """Return a preview of a sample with its boxes drawn, best as a part of the sample around the errors.

    Called in the driver when a report is written, for the samples whose detections have the most errors; it should
    take a few milliseconds and import nothing heavy. Optional: by default the sample's own preview is shown.
    Since 0.1.

    :param marked: id of the sample, its true boxes and the invented ones, each with what became of it.
    :param dataset: the folder of the data set that the run read.
    :param context: the use case that was asked for, and the distribution that provides it.
    :returns: at most 256 KiB of a media type that every browser displays; None when the sample has no preview.
    """


@hookspec(firstresult=True)
def mlops_get_prediction_outputs(context: PluginContext) -> Sequence[PredictionOutput]:  # type: ignore[empty-body]
    """Return the kinds of output that the use case adds to ``mlops predict``, with their options.

    Called in the driver by ``predict`` and its ``--help``, before a model is loaded; import nothing heavy. Optional:
    by default there are none. Since 0.1.

    :param context: the use case that was asked for, and the distribution that provides it.
    :returns: outputs as data; the names of outputs and of all their options are distinct. Empty or None for no
        further outputs.
    """


@hookspec(firstresult=True)
def mlops_load_predictor(model: Path, context: PluginContext) -> Predictor:  # type: ignore[empty-body]
    """Load a trained model for prediction, from the registered artifact alone.

    Called in the process that predicts: the driver for ``predict`` and `mlops_core.load_model`, or a server's
    process. Required. Since 0.1.

    :param model: the folder of the registered output; read only.
    :param context: the use case that was asked for, and the distribution that provides it.
    :returns: an object with ``classes`` and ``predict(paths)``. Never None.
    """


@hookspec(firstresult=True)
def mlops_get_content_types(context: PluginContext) -> Sequence[ContentType]:  # type: ignore[empty-body]
    """Return the content types of the requests that ``mlops serve`` accepts.

    Called in each process of a server that computes predictions, before the model is loaded. Optional: by default a
    server accepts ``application/octet-stream`` and writes each body to a file with the suffix ``.bin``. Since 0.1.

    :param context: the use case that was asked for, and the distribution that provides it.
    :returns: content types with distinct media types, the preferred one first; empty or None for the default.
    """
