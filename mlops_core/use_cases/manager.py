"""Loading a use case, and `UseCase`, the typed façade through which core calls hooks.

The chosen use case is loaded alone (`registration`), in a manager of pluggy's own, so a broken or duplicate plugin
affects only the runs that select it. `discovery` lists the installed use cases.
"""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mlops_core.errors import ConfigError, MlopsError, PluginError, did_you_mean
from mlops_core.names import require_name
from mlops_core.redaction import redact_urls
from mlops_core.use_cases.configured_dataset import own_dataset, selected_dataset
from mlops_core.use_cases.discovery import InstalledUseCase, find_use_case
from mlops_core.use_cases.plugin_faults import cause_of, plugin_faults, shortened, unknown_homes
from mlops_core.use_cases.registration import import_plugin, refuse_changes, register_plugin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import pluggy

    from mlops_core.config import UseCaseConfig
    from mlops_core.config_files.imported import ImportedConfig
    from mlops_core.config_files.loaded import LoadedConfig
    from mlops_core.config_files.yaml_source import YamlSource
    from mlops_core.datasets.catalogue import Dataset, DatasetChoice
    from mlops_core.datasets.earlier_splits import EarlierSplit
    from mlops_core.datasets.inspections import Inspection
    from mlops_core.datasets.leaks import NearDuplicate, WrittenSplit
    from mlops_core.datasets.licences import Licences, PretrainedModel
    from mlops_core.datasets.previews import Preview
    from mlops_core.evaluation.metrics import Metric, MetricReport
    from mlops_core.gates.gate import Gate
    from mlops_core.hookspecs import PluginContext
    from mlops_core.pipeline import Parameter, Pipeline, Step
    from mlops_core.predictions import Predictions
    from mlops_core.predictions.boxes import MarkedBox
    from mlops_core.predictors import ContentType, OutputEmitter, OutputRequest, PredictionOutput, Predictor
    from mlops_core.tuning.space import SearchSpace

_PREVIEW_HOOK = "mlops_get_sample_preview"
_BOXES_HOOK = "mlops_get_boxes_preview"
T = TypeVar("T")


def load_use_case(name: str) -> UseCase:
    """Import the plugin that provides `name` and check it against the contract.

    Raises:
        UsageError: the use case does not exist.
        PluginError: it cannot be imported, misspells a hook, or lacks a required one; the message says which.

    Example:
        >>> load_use_case("toy").name
        'TOY'
    """
    installed = find_use_case(name)
    return UseCase(import_plugin(installed), installed=installed)


class UseCase:
    """One use case: the only way by which core calls its hooks.

    Each method calls one hook, or assembles several, checks what came back, and turns whatever a plugin raises
    into a `PluginError` that names plugin, hook, file and line.

    Example:
        >>> toy = load_use_case("TOY")
        >>> config = toy.load_config(overrides=["features.scale=2"])
        >>> [step.name for step in toy.pipeline(config.model).ordered()][:2]
        ['preprocess', 'train']
    """

    def __init__(self, plugin: object, *, installed: InstalledUseCase) -> None:
        """Register `plugin` alone and check it.

        Raises:
            PluginError: a hook is misspelt, missing, unmarked, or takes an unknown argument.
        """
        self.installed = installed
        self._implementations: Mapping[str, str] | None = None
        self._manager = register_plugin(plugin, installed)

    @classmethod
    def deferred(cls, installed: InstalledUseCase, *, implementations: Mapping[str, str]) -> UseCase:
        """Return a use case whose plugin is imported when the first of its hooks is called.

        Args:
            installed: the use case.
            implementations: hook -> the module that implements it, as `implementations` returned it.
        """
        use_case = cls.__new__(cls)
        use_case.installed = installed
        use_case._implementations = implementations  # noqa: SLF001  its own class
        return use_case

    @functools.cached_property
    def _manager(self) -> pluggy.PluginManager:
        return register_plugin(import_plugin(self.installed), self.installed)

    @functools.cached_property
    def context(self) -> PluginContext:
        """The last argument of every hook."""
        from mlops_core.hookspecs import PluginContext

        installed = self.installed
        return PluginContext(use_case=installed.name, distribution=installed.distribution, version=installed.version)

    @property
    def name(self) -> str:
        """The use case's name as its entry point spells it."""
        return self.installed.name

    def config_model(self) -> type[UseCaseConfig]:
        """Return the configuration's pydantic model."""
        from mlops_core.config import UseCaseConfig

        model: type[UseCaseConfig] = self._call("mlops_get_config_model", type)
        if not issubclass(model, UseCaseConfig):
            raise self._wrong("mlops_get_config_model", model, "a subclass of mlops_core.UseCaseConfig")
        return model

    def default_config_path(self) -> Path:
        """Return the file with the default configuration, which exists."""
        path: Path = self._call("mlops_get_config_file", Path, default=self._config_beside_plugin)
        if not path.is_file():
            raise PluginError(f"{self.installed}: its default configuration {path} does not exist")
        return path

    def load_config(
        self, path: Path | None = None, *, overrides: Sequence[str] = (), environ: Mapping[str, str] | None = None
    ) -> LoadedConfig:
        """Return the validated configuration: the plugin's defaults, then `path`, then `overrides`.

        Raises:
            ConfigError: every fault at once, each with file, line and key.
        """
        from mlops_core.config_files.loading import load_config

        return load_config(
            self.config_model(),
            default=self.default_config_path(),
            path=path,
            overrides=overrides,
            environ=environ or {},
            convert=self.import_config,
        )

    def import_config(self, source: YamlSource, *, layout: str | None = None) -> ImportedConfig | None:
        """Return what a file in another program's layout means; None when the use case does not know the layout."""
        from mlops_core.config_files.imported import ImportedConfig

        imported: ImportedConfig | None = self._call(
            "mlops_import_config",
            (ImportedConfig, type(None)),
            default=lambda: None,
            source=source,
            layout=layout,
        )
        return None if imported is None else imported.with_notes_of(source)

    def datasets(self, config: UseCaseConfig) -> tuple[Dataset, ...]:
        """Return the catalogue."""
        from mlops_core.datasets.catalogue import Dataset

        return self._call_many("mlops_get_datasets", Dataset, config=config)

    def dataset_source(self, config: UseCaseConfig) -> tuple[str, Path | None]:
        """Return the name of the configured data set and the folder given by the user, if any."""
        answer = self._call(
            "mlops_get_dataset_source", tuple, default=lambda: selected_dataset(config, self.installed), config=config
        )
        match answer:
            case (str() as name, (None | Path()) as path):
                require_name(name, what="dataset.name:", error=ConfigError)  # an engine stores the data under it
                return name, path
        raise self._wrong("mlops_get_dataset_source", answer, "(name, path or None)")

    def dataset(self, config: UseCaseConfig) -> Dataset:
        """Return the catalogue entry of the configured data set.

        Raises:
            ConfigError: the catalogue does not contain that name.
        """
        name, _ = self.dataset_source(config)
        catalogue = {dataset.name: dataset for dataset in self.datasets(config)}
        if name not in catalogue:
            raise ConfigError(
                f"dataset.name: no data set '{name}' in the catalogue of {self.name}"
                f"{did_you_mean(name, catalogue) or ';'}"
                f" known: {', '.join(catalogue) or 'none'}; or set dataset.path to a folder that holds it"
            )
        return catalogue[name]

    def dataset_choice(self, config: UseCaseConfig) -> DatasetChoice:
        """Return the data set that the configuration selects, with its catalogue entry.

        Raises:
            ConfigError: the catalogue has no data set of that name.
        """
        choice, earlier = self._own_choice(config), self.earlier_split(config)
        if earlier is not None and choice.entry is not None and choice.entry.place:
            raise ConfigError(
                f"data set '{choice.name}' is read in place, at {choice.entry.place}, so that {earlier.train} cannot "
                "be joined to it; expected a data set that is copied, such as a folder in dataset.path"
            )
        return replace(choice, earlier_split=earlier)

    def earlier_split(self, config: UseCaseConfig) -> EarlierSplit | None:
        """Return the data assets that hold the parts of an earlier split; None for a split of the run's own."""
        from mlops_core.datasets.earlier_splits import EarlierSplit

        answer = self._call("mlops_get_earlier_split", (EarlierSplit, type(None)), default=lambda: None, config=config)
        return answer if isinstance(answer, EarlierSplit) else None

    def _own_choice(self, config: UseCaseConfig) -> DatasetChoice:
        from mlops_core.datasets.catalogue import DatasetChoice

        name, path = self.dataset_source(config)
        own = own_dataset(name, config)
        if own is not None and path is not None:
            raise ConfigError("dataset.path and dataset.source: a data set comes from one of them; remove the other")
        if own is not None:
            return DatasetChoice(name=name, entry=own)
        if path is None:
            return DatasetChoice(name=name, entry=self.dataset(config))
        named = (entry for entry in self.datasets(config) if entry.name == name and not entry.accepts_other_layouts)
        return DatasetChoice(name=name, path=path, required=next((entry.required for entry in named), ()))

    def fetch_dataset(self, dataset: Dataset, destination: Path) -> bool:
        """Let the plugin fetch `dataset`; False means that core fetches it."""
        return bool(
            self._call(
                "mlops_fetch_dataset",
                (bool, type(None)),
                default=lambda: None,
                dataset=dataset,
                destination=destination,
            )
        )

    def pipeline(self, config: UseCaseConfig) -> Pipeline:
        """Assemble and check the pipeline.

        Raises:
            PipelineError: the graph is not well formed; the culprit is named.
        """
        from mlops_core.pipeline import Parameter, Pipeline, Step

        steps: tuple[Step, ...] = self._call_many("mlops_get_steps", Step, config=config)
        parameters: tuple[Parameter, ...] = self._call_many(
            "mlops_get_parameters", Parameter, default=tuple, config=config
        )
        metrics, licences = self.metrics(config), self.licences(config)
        model = self._call("mlops_get_model", str, default=lambda: "train.model", config=config)
        steps = self._tuned(steps, config, metrics=metrics, model=model)
        pipeline = Pipeline(
            name=self.name.lower(),
            dataset=licences.dataset_name,
            steps=steps,
            parameters=parameters,
            metrics=metrics,
            gate=self._configured_gate(config, metrics, parameters, licences),
            model=model,
            licences=licences,
        )
        self._check_sections(pipeline, config)
        return pipeline

    def metrics(self, config: UseCaseConfig) -> tuple[Metric, ...]:
        """Return the declared metrics."""
        from mlops_core.evaluation.metrics import Metric

        metrics = self._call_many("mlops_get_metrics", Metric, config=config)
        if not metrics:
            raise self._wrong("mlops_get_metrics", metrics, "at least one Metric")
        return metrics

    def compute_metrics(self, predictions: Predictions) -> MetricReport:
        """Return the metrics of stored predictions."""
        from mlops_core.evaluation.confusion import ConfusionMatrix
        from mlops_core.evaluation.metrics import MetricReport, MetricValue

        hook = "mlops_compute_metrics"
        report: MetricReport = self._call(hook, MetricReport, predictions=predictions)
        values: Mapping[str, object] = report.values
        for name, value in values.items():
            if not isinstance(value, MetricValue):
                raise self._wrong(hook, value, f"a MetricValue for '{name}'")
        matrices: Mapping[str, object] = report.confusion_matrices
        for name, matrix in matrices.items():
            if not isinstance(matrix, ConfusionMatrix) or not matrix.is_square:
                raise self._wrong(hook, matrix, f"a ConfusionMatrix for '{name}', with a row and a column a class")
        return report

    def gate(self, config: UseCaseConfig) -> Gate:
        """Return the plugin's condition that a model must meet; the configuration may ask for another."""
        from mlops_core.gates.gate import Gate

        gate: Gate = self._call("mlops_get_gate", Gate, config=config)
        return gate

    def licences(self, config: UseCaseConfig) -> Licences:
        """Return the licences of the configured data set and of the base models.

        Raises:
            ConfigError: the configuration declares a licence for data that the catalogue declares one for.
        """
        from mlops_core.datasets.licences import Licences

        name, path = self.dataset_source(config)
        declared = getattr(getattr(config, "gate", None), "dataset_licence", None)
        licence = declared or ""
        if path is None:
            entry = next((entry for entry in self.datasets(config) if entry.name == name), None)
            licence = entry.licence if entry else ""
            if declared is not None:
                raise ConfigError(
                    f"gate.dataset_licence: the data set '{name}' comes from the catalogue, which says "
                    f"{licence or 'nothing'!r}; a licence is declared here only for the data in dataset.path"
                )
        return Licences(dataset_name=name, dataset=licence, base_models=self.base_models(config))

    def base_models(self, config: UseCaseConfig) -> tuple[PretrainedModel, ...]:
        """Return the models with which training begins."""
        from mlops_core.datasets.licences import PretrainedModel

        hook = "mlops_get_base_models"
        models: tuple[PretrainedModel, ...] = self._call_many(hook, PretrainedModel, default=tuple, config=config)
        names = [model.name for model in models]
        if len(set(names)) < len(names):
            raise self._wrong(hook, names, "distinct names")
        return tuple(replace(model, source=redact_urls(model.source)) for model in models)

    def _configured_gate(
        self,
        config: UseCaseConfig,
        metrics: Sequence[Metric],
        parameters: Sequence[Parameter],
        licences: Licences,
    ) -> Gate:
        from mlops_core.gates.configured import check_licences, configured_gate

        gate = self.gate(config)
        text = getattr(getattr(config, "gate", None), "condition", None)  # a plugin may have a section of its own
        numeric = [parameter.name for parameter in parameters if parameter.is_numeric]
        if text is None:
            check_licences(gate, licences, metrics=metrics)
        return configured_gate(gate, text, metrics=metrics, parameters=numeric, licences=licences)

    def search_space(self, config: UseCaseConfig) -> SearchSpace | None:
        """Return what a hyperparameter search may vary; None if the use case says nothing about it."""
        from mlops_core.tuning.space import SearchSpace

        space: SearchSpace | None = self._call(
            "mlops_get_search_space", (SearchSpace, type(None)), default=lambda: None, config=config
        )
        return space

    def _tuned(
        self, steps: Sequence[Step], config: UseCaseConfig, *, metrics: Sequence[Metric], model: str
    ) -> tuple[Step, ...]:
        """Return the steps with those of the searches that the plugin or the configuration declares."""
        from mlops_core.use_cases.tuned_steps import tuned_steps

        return tuned_steps(
            steps, config, metrics=metrics, model=model, space=lambda: self.search_space(config), what=self.installed
        )

    def load_predictor(self, model: Path) -> Predictor:
        """Return the model in the folder `model`, ready to predict."""
        from mlops_core.predictors import Predictor

        # Annotated for mypy: a Protocol is not a "concrete" type for an argument of type[T].
        predictor: Predictor = self._call("mlops_load_predictor", (Predictor,), model=model)
        return predictor

    def content_types(self) -> tuple[ContentType, ...]:
        """Return the content types of requests to a served model, the preferred one first."""
        from mlops_core.predictors import ContentType

        hook = "mlops_get_content_types"
        types: tuple[ContentType, ...] = self._call_many(hook, ContentType, default=tuple)
        if len({each.media_type for each in types}) < len(types):
            raise self._wrong(hook, [each.media_type for each in types], "distinct media types")
        return types or (ContentType(media_type="application/octet-stream", suffix=".bin"),)

    def prediction_outputs(self) -> tuple[PredictionOutput, ...]:
        """Return the kinds of output that the use case adds to ``mlops predict``."""
        from mlops_core.predictors import PredictionOutput

        hook = "mlops_get_prediction_outputs"
        outputs: tuple[PredictionOutput, ...] = self._call_many(hook, PredictionOutput, default=tuple)
        names = [name for output in outputs for name in (output.name, *(option.name for option in output.options))]
        if len(set(names)) < len(names):
            raise self._wrong(hook, names, "distinct names of outputs and options")
        return outputs

    def write_output(
        self, output: PredictionOutput, predictor: Predictor, *, request: OutputRequest, emitter: OutputEmitter
    ) -> None:
        """Let the plugin write `output` for the inputs of `request`.

        Raises:
            PluginError: its function cannot be imported, or fails with an error that is not an `MlopsError`.
        """
        from mlops_core.code_references import load_function

        what = f"{self.installed}: output '{output.name}'"
        write = load_function(output.write, what=what)
        try:
            write(predictor, request, emitter)
        except (MlopsError, BrokenPipeError):  # a pipe that its reader closed ends the command, not the plugin
            raise
        except (Exception, SystemExit) as error:
            raise PluginError(f"{what} failed: {cause_of(error)}") from error

    def inspect_dataset(self, dataset: Path, config: UseCaseConfig) -> Inspection:
        """Return what is in the data set in the folder `dataset`, and what is wrong with it."""
        from mlops_core.datasets.inspections import Inspection, inspect_files

        inspection: Inspection = self._call(
            "mlops_inspect_dataset",
            Inspection,
            default=lambda: inspect_files(dataset),
            dataset=dataset,
            config=config,
        )
        return inspection

    def near_duplicates(self, split: WrittenSplit) -> Iterator[NearDuplicate]:
        """Yield the pairs of near duplicates that the plugin finds among the samples of a split, one by one."""
        from collections.abc import Iterable as Pairs

        from mlops_core.datasets.leaks import NearDuplicate

        hook = "mlops_find_near_duplicates"
        pairs: Iterable[NearDuplicate] = self._call(hook, Pairs, default=tuple, split=split)
        with plugin_faults(f"{self.installed}: hook {hook} failed"):
            iterator = iter(pairs)
        while True:
            with plugin_faults(f"{self.installed}: hook {hook} failed"):
                pair = next(iterator, None)
            if pair is None:
                return
            if not isinstance(pair, NearDuplicate):
                raise self._wrong(hook, pair, "NearDuplicate in its iterable")
            yield pair

    def sample_preview(self, sample: str, dataset: Path) -> Preview | None:
        """Return what a sample of the data in `dataset` looks or sounds like; None when it has no preview."""
        if self._implementations is not None and _PREVIEW_HOOK not in self._implementations:
            return None
        from mlops_core.datasets.previews import Preview

        preview: Preview | None = self._call(
            _PREVIEW_HOOK, (Preview, type(None)), default=lambda: None, sample=sample, dataset=dataset
        )
        return preview

    def boxes_preview(self, sample: str, dataset: Path, boxes: Sequence[MarkedBox]) -> Preview | None:
        """Return a sample with its boxes drawn; None when the use case does not draw them."""
        if self._implementations is not None and _BOXES_HOOK not in self._implementations:
            return None
        from mlops_core.datasets.previews import MarkedSample, Preview

        marked = MarkedSample(sample=sample, boxes=tuple(boxes))
        preview: Preview | None = self._call(
            _BOXES_HOOK, (Preview, type(None)), default=lambda: None, marked=marked, dataset=dataset
        )
        return preview

    def implementations(self) -> dict[str, str]:
        """Return hook -> the module that implements it, for each hook that the plugin implements."""
        from mlops_core import hookspecs

        hooks = {name: getattr(self._manager.hook, name) for name in vars(hookspecs) if name.startswith("mlops_")}
        callers = {name: hook.get_hookimpls() for name, hook in hooks.items()}
        return {name: str(found[-1].function.__module__) for name, found in callers.items() if found}

    def implements(self, hook: str) -> bool:
        """Return whether the plugin implements a hook."""
        return hook in self._known_implementations()

    def implementation_module(self, hook: str) -> str:
        """Return the module that implements `hook` for this use case; its code is part of a step's key."""
        return self._known_implementations()[hook]

    def _known_implementations(self) -> Mapping[str, str]:
        return self.implementations() if self._implementations is None else self._implementations

    def _config_beside_plugin(self) -> Path:
        module = self.installed.target.partition(":")[0]
        spec = importlib.util.find_spec(module)
        return Path(spec.origin if spec and spec.origin else ".").parent / "user_config.yaml"

    def _check_sections(self, pipeline: Pipeline, config: UseCaseConfig) -> None:
        known = type(config).model_fields
        for step in pipeline.steps:
            for section in step.config:
                if section not in known:
                    raise PluginError(
                        f"{self.installed}: step '{step.name}' declares the configuration section '{section}', "
                        f"which the model {type(config).__name__} does not have{did_you_mean(section, known)}"
                    )

    def _call_many(
        self, hook: str, kind: type[T], *, default: Callable[[], Any] | None = None, **arguments: object
    ) -> tuple[T, ...]:
        answer = self._call(hook, (tuple, list), default=default, **arguments)
        for item in answer:
            if not isinstance(item, kind):
                raise self._wrong(hook, item, f"{kind.__name__} in its sequence")
        return tuple(answer)

    def _call(self, hook: str, kind: Any, *, default: Callable[[], Any] | None = None, **arguments: object) -> Any:
        with plugin_faults(f"{self.installed}: hook {hook} failed"), unknown_homes(arguments):
            answer = getattr(self._manager.hook, hook)(context=self.context, **arguments)
        if self._is_due(hook):
            refuse_changes(f"{self.installed}: hook {hook}")
        if answer is None and default is not None:
            answer = default()
        if not isinstance(answer, kind):
            names = kind if isinstance(kind, tuple) else (kind,)
            raise self._wrong(hook, answer, " or ".join(name.__name__ for name in names))
        return answer

    def _is_due(self, hook: str) -> bool:
        """Tell whether core is compared after this call: a hook that is called for each sample is not, every time."""
        self._calls[hook] = self._calls.get(hook, 0) + 1
        count = self._calls[hook]
        return count & (count - 1) == 0  # the first call, the second, the fourth, ...

    @functools.cached_property
    def _calls(self) -> dict[str, int]:
        return {}

    def check_core(self) -> bool:
        """Refuse a plugin that has changed core in this process; return whether its plugin was imported here at all.

        Raises:
            PluginError: the attributes are named.
        """
        is_imported = "_manager" in self.__dict__
        if is_imported:
            refuse_changes(f"{self.installed}: a hook")
        return is_imported

    def _wrong(self, hook: str, answer: object, expected: str) -> PluginError:
        implementations = getattr(self._manager.hook, hook).get_hookimpls()
        where = ""
        if implementations:
            code = implementations[-1].function.__code__
            where = f" ({code.co_filename}:{code.co_firstlineno})"
        return PluginError(f"{self.installed}: hook {hook}{where} returned {shortened(answer)}; expected {expected}")
