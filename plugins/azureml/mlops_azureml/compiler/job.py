"""Compiles a pipeline to a pipeline job of Azure Machine Learning: without requests or credentials, deterministically.

Steps become command nodes (`mlops_azureml.compiler.nodes`), one for each shard and one that merges them, searches
become sweeps, and what follows the evaluation is in `mlops_azureml.compiler.acceptance`. The text is what
``az ml job create --file`` takes; `mlops_azureml.service.bodies` makes the bodies of requests from the same data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_azureml.compiler.acceptance import acceptance_nodes
from mlops_azureml.compiler.assets import content_versions
from mlops_azureml.compiler.commands import checked_literal
from mlops_azureml.compiler.job_graph import JobContext, Node, inputs_of, nodes_of
from mlops_azureml.compiler.nodes import (
    command_node,
    node_names,
    search_node_outputs,
    search_template,
    sweep_node,
)
from mlops_azureml.compiler.secrets import check_job_texts, check_request
from mlops_azureml.compiler.yaml_text import to_yaml
from mlops_azureml.layout import (
    BUILD_ID,
    BUILD_SOURCE,
    CHAMPION,
    DATASET_INPUT,
    IMAGES_INPUT,
    JOB_INPUTS,
    LABELS_INPUT,
    LONGEST_NAME,
    MODEL_NAME,
    OWN_NODES,
    RESERVED_PORTS,
    SEED,
    asset_name,
    champion_folder,
    dataset_folder,
    datastore_path,
    node_name,
)
from mlops_core import ConfigError
from mlops_core.runners import PipelineError, did_you_mean, find_searches, is_selection
from mlops_core.runners.container.request import CHAMPION_INPUT, GATE_OUTPUT, Part, code_digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlops_azureml.settings import CompileSettings
    from mlops_core import Step
    from mlops_core.runners import CodeIndex, RunRequest, Search

SCHEMA = "https://azuremlschemas.azureedge.net/latest/pipelineJob.schema.json"
_DESCRIPTION_LIMIT = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineJob:
    """A compiled pipeline.

    Attributes:
        data: the job as JSON types.
        open_inputs: inputs whose values must be set when the job is created.
        notes: what the job assumes, one line each.
    """

    data: Mapping[str, Any]
    open_inputs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_text(self) -> str:
        """Return the job as YAML; equal for equal pipelines, settings and code."""
        return to_yaml(self.data)


def compile_pipeline(
    request: RunRequest,
    settings: CompileSettings,
    *,
    dataset_digest: str = "",
    champion: str = "",
    force: bool = False,
) -> PipelineJob:
    """Return the pipeline job of a use case.

    Args:
        request: request of a run; its parameters and seed become the inputs of the job.
        settings: settings of the workspace and the steps.
        dataset_digest: digest of the data set; without it, results of steps that read the data set are not reused.
        champion: digest of the best version's predictions in the datastore, for a gate that compares with them.
        force: execute every step, even where the service could reuse results.

    Raises:
        PipelineError: two names are one for the service, or the configuration of a step is too large for a command.
        ConfigError: a secret would be written into the job, or the settings do not fit the pipeline.
    """
    from mlops_core.runners import CodeIndex, read_settings

    _check_names(request, settings)
    check_request(request)
    _check_settings(request, settings)
    context = JobContext(
        use_case=request.use_case.name,
        pipeline=request.pipeline,
        sections=request.config.sections(),
        code=_code(request, CodeIndex()),
        settings=settings,
        dataset_digest=dataset_digest,
    )
    workspace, pipeline = settings.workspace, request.pipeline
    data: dict[str, Any] = {
        "$schema": SCHEMA,
        "type": "pipeline",
        "display_name": pipeline.name,
        "experiment_name": workspace.experiment or asset_name(pipeline.name),
        "description": f"{request.use_case.name}, accepted by: {pipeline.gate.condition}"[:_DESCRIPTION_LIMIT],
        "tags": {
            "use_case": request.use_case.name,
            "plugin": f"{request.use_case.installed.distribution} {request.use_case.installed.version}",
            **workspace.tags,
        },
        "settings": {
            "default_compute": f"azureml:{settings.computes.cpu}",
            "default_datastore": f"azureml:{workspace.datastore}",
            "continue_on_step_failure": False,  # the default is true, and independent nodes would go on
            "force_rerun": force,
        },
        "inputs": dict(_inputs(request, context, champion=champion)),
        "jobs": dict(_nodes(request, context)),
    }
    if workspace.identity:
        data["identity"] = {"type": workspace.identity}
    check_job_texts(data, read_settings().environ)
    return PipelineJob(
        data=data,
        open_inputs=(CHAMPION,) if pipeline.gate.needs_champion and not champion else (),
        notes=tuple(_notes(context)),
    )


def _notes(context: JobContext) -> Iterator[str]:
    workspace = context.settings.workspace
    if workspace.image is None and workspace.environment is None:
        yield (
            "the nodes use the environment mlops-... of the workspace, because no image is set; pass --image, or set "
            "workspace.image, workspace.environment or MLOPS_STEP_IMAGE"
        )
    if not context.dataset_digest and not context.mounts_data:
        yield f"the data set is expected at {_dataset_path(context)}; a run sends it there by its digest"


def _nodes(request: RunRequest, context: JobContext) -> Iterator[tuple[str, dict[str, Any]]]:
    searches = {search.name: search for search in find_searches(request.pipeline)}
    versions = content_versions(request, context)
    for step in request.pipeline.ordered():
        if step.trial is not None:
            continue
        raw = context.settings_of(step).raw
        if step.name in searches:
            node = _search_node(searches[step.name], context)
            yield node.name, _merged(sweep_node(searches[step.name], node, context), raw)
            continue
        for node in nodes_of(step, context):
            yield node.name, _merged(command_node(node, context, version=versions.get(step.name, "")), raw)
    yield from acceptance_nodes(request, context)
    yield from context.settings.raw_jobs.items()


def _search_node(search: Search, context: JobContext) -> Node:
    template = search_template(search)
    return Node(
        name=node_name(search.name),
        step=template,
        part=Part.WHOLE,
        inputs=tuple(each for name, ref in template.inputs.items() for each in inputs_of(name, ref, context)),
        outputs=search_node_outputs(search),
    )


def _code(request: RunRequest, index: CodeIndex) -> dict[str, str]:
    """Return the digest of the code of each step; a search has that of its trials."""
    steps = request.pipeline.steps
    code = {step.name: code_digest(request.use_case, step, code=index) for step in steps if not is_selection(step)}
    return code | {search.name: code[search.trials[0].name] for search in find_searches(request.pipeline)}


# --- Inputs of the job ---------------------------------------------------------------------------------------


def _inputs(request: RunRequest, context: JobContext, *, champion: str) -> Iterator[tuple[str, Any]]:
    settings, mode = context.settings, context.settings.workspace.input_mode
    if context.mounts_data:
        yield IMAGES_INPUT, {"type": "uri_folder", "path": settings.data.images, "mode": mode}
        yield LABELS_INPUT, {"type": "uri_folder", "path": settings.data.labels, "mode": mode}
    else:
        yield DATASET_INPUT, {"type": "uri_folder", "path": _dataset_path(context), "mode": mode}
    if request.pipeline.gate.needs_champion:
        folder = champion_folder(context.prefix, champion or "none")
        path = datastore_path(settings.workspace.datastore, folder)
        yield CHAMPION, {"type": "uri_folder", "path": path, "mode": mode}
    yield SEED, request.seed
    for parameter in request.pipeline.parameters:
        yield parameter.name, checked_literal(parameter.name, request.parameters[parameter.name])
    if settings.workspace.registration == "pipeline":
        yield MODEL_NAME, settings.workspace.model_name or asset_name(request.pipeline.name)
        yield BUILD_ID, checked_literal(BUILD_ID, settings.workspace.build_id)
        yield BUILD_SOURCE, checked_literal(BUILD_SOURCE, settings.workspace.build_source)


def _dataset_path(context: JobContext) -> str:
    folder = dataset_folder(context.pipeline.dataset, context.dataset_digest)
    return datastore_path(context.settings.workspace.datastore, folder)


# --- Checks ----------------------------------------------------------------------------------------------------


def _check_names(request: RunRequest, settings: CompileSettings) -> None:
    pipeline = request.pipeline
    _check_node_names(request, settings)
    lowered: dict[str, str] = {}
    for parameter in pipeline.parameters:
        name = parameter.name
        if name.lower() in RESERVED_PORTS or name in JOB_INPUTS:
            reserved = ", ".join((*JOB_INPUTS, *sorted(RESERVED_PORTS)))
            raise PipelineError(f"parameter '{name}' has a name that a job keeps for itself; reserved: {reserved}")
        if name.lower() in lowered:
            raise PipelineError(
                f"parameters '{lowered[name.lower()]}' and '{name}' differ by case only, and inputs of a job do not"
            )
        lowered[name.lower()] = name
    evaluation = pipeline.evaluation_step
    if pipeline.gate.needs_champion and CHAMPION_INPUT in evaluation.inputs:
        raise PipelineError(f"step '{evaluation.name}': the input name '{CHAMPION_INPUT}' is reserved")
    if GATE_OUTPUT in evaluation.outputs:
        raise PipelineError(f"step '{evaluation.name}': the output name '{GATE_OUTPUT}' is reserved")
    for search in find_searches(pipeline):
        for step in pipeline.steps:
            if f"{search.name}.trials" in step.inputs.values():
                raise PipelineError(
                    f"step '{step.name}' reads '{search.name}.trials', which a sweep of the service does not write; "
                    "read it from the run's report"
                )


def _check_node_names(request: RunRequest, settings: CompileSettings) -> None:
    taken: dict[str, str] = dict.fromkeys(OWN_NODES, "the engine")
    steps = [step for step in request.pipeline.steps if step.trial is None]
    owned = [(name, f"step '{step.name}'") for step in steps for name in node_names(step)]
    for name, owner in (*owned, *((name, f"raw_jobs.{name}") for name in settings.raw_jobs)):
        if name in taken:
            raise PipelineError(
                f"{owner}: its node would be called '{name}', which is the name of a node of {taken[name]}; rename it "
                "(in the names of nodes, '-' becomes '_')"
            )
        if len(name) > LONGEST_NAME:
            raise PipelineError(
                f"{owner}: its node's name '{name}' is longer than {LONGEST_NAME} characters; rename it"
            )
        taken[name] = owner


def _check_settings(request: RunRequest, settings: CompileSettings) -> None:
    earlier = request.dataset_choice().earlier_split if settings.data.images is not None else None
    if earlier is not None:
        raise ConfigError(
            f"{earlier.keys[0]}: the earlier split of {earlier.train} cannot be joined to data that are mounted from "
            "data.images; expected data.images: null and a data set that is uploaded, or no earlier split"
        )
    steps: dict[str, Step] = {step.name: step for step in request.pipeline.steps if step.trial is None}
    for name, overrides in settings.steps.items():
        if name not in steps:
            raise ConfigError(f"steps.{name}: unknown step{did_you_mean(name, steps) or ';'} steps: {', '.join(steps)}")
        for output in overrides.assets:
            if output not in steps[name].all_outputs or is_selection(steps[name]):
                known = () if is_selection(steps[name]) else steps[name].all_outputs
                raise ConfigError(
                    f"steps.{name}.assets: unknown output '{output}'{did_you_mean(output, known) or ';'} expected "
                    f"{', '.join(known) or 'none, for the outputs of a sweep are not known before its end'}"
                )
        if overrides.environment and is_selection(steps[name]):
            raise ConfigError(f"steps.{name}.environment: a sweep has no environment variables; set them in the step")


def _merged(node: dict[str, Any], raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the node with `raw` merged over it; mappings are merged by key, all other values are replaced."""
    result = dict(node)
    for key, value in raw.items():
        current = result.get(key)
        result[key] = _merged(current, value) if isinstance(current, dict) and isinstance(value, dict) else value
    return result
