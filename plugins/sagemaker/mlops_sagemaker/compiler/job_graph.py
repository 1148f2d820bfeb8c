"""The jobs that steps become, and the outputs that each job reads: `Job`, `JobContext`, `jobs_of`.

`mlops_sagemaker.compiler.jobs` writes a job into a definition.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_core import DATASET, StepKind
from mlops_core.runners import is_selection
from mlops_core.runners.container.execution import PARTS_SUFFIX
from mlops_core.runners.container.request import CHAMPION_INPUT, GATE_OUTPUT, Part
from mlops_sagemaker.compiler import expressions as ex
from mlops_sagemaker.layout import Layout
from mlops_sagemaker.settings import StepSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_core import Pipeline, Step
    from mlops_sagemaker.settings import CompileSettings

ROLE, BUCKET, IMAGE, SEED = "ExecutionRole", "ArtifactBucket", "StepImage", "Seed"
"""Names of the parameters that every definition has."""
CHAMPION = "ChampionDigest"
"""Name of the parameter for the best version's predictions, in a definition whose gate compares with them."""
MERGE_SUFFIX = "-merge"
SERVING_IMAGE = "ServingImage"
"""Name of the parameter for the image that serves models, in a definition with batch predictions."""
INGEST_STEP, INGEST_OUTPUT = "ingest", "dataset"
"""The step that makes the data set from what arrived, in a definition with `IngestSettings`, and its output."""
MODEL_SUFFIX = "-model"
"""What the name of a batch prediction's Model step adds to that of the step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The location of an output in S3.

    Attributes:
        uri: S3 URI, as an expression.
        packed: folder within the ``tar.gz`` that a training job wrote; None for plain files.
    """

    uri: ex.Expression
    packed: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobContext:
    """The data that all jobs of a definition share.

    Attributes:
        use_case: name of the use case.
        pipeline: the pipeline.
        sections: configuration sections by name.
        code: digest of the code of each step, by step name.
        settings: settings of the account and the steps.
        dataset_digest: digest of the data set; empty if it is not known.
        dataset_place: address of a data set that is used in place; empty for one that is uploaded.
    """

    use_case: str
    pipeline: Pipeline
    sections: Mapping[str, Any]
    code: Mapping[str, str]
    settings: CompileSettings
    dataset_digest: str = ""
    dataset_place: str = ""

    def settings_of(self, step: Step) -> StepSettings:
        """Return the overrides of a step; those of a tuned step hold for its trials."""
        return self.settings.steps.get(step.search or step.name) or StepSettings()

    @property
    def prefix(self) -> str:
        """The prefix of all keys."""
        return self.settings.account.prefix or self.pipeline.name

    def result_uri(self, *parts: str) -> ex.Expression:
        """Return a URI below the prefix of the execution, so that executions never write to the same place."""
        return ex.s3_uri(ex.parameter(BUCKET), self.prefix, "executions", ex.EXECUTION_ID, *parts)

    def champion_sources(self) -> dict[str, Source]:
        """Return the input with the best version's predictions, of the job that computes the verdict."""
        if not self.pipeline.gate.needs_champion:
            return {}
        uri = ex.s3_uri(ex.parameter(BUCKET), *champion_key(self.prefix), ex.parameter(CHAMPION), "")
        return {CHAMPION_INPUT: Source(uri=uri)}

    def source(self, reference: str) -> Source:
        """Return the location of the output ``"step.output"`` or of the data set."""
        if reference == DATASET and self.settings.ingest.enabled:
            return Source(uri=ex.processing_output(INGEST_STEP, INGEST_OUTPUT))
        if reference == DATASET and self.dataset_place:
            return Source(uri=ex.join("", self.dataset_place))
        if reference == DATASET:
            uri = ex.s3_uri(ex.parameter(BUCKET), "train", "datasets", self.pipeline.dataset, "")
            return Source(uri=uri)
        name, _, output = reference.rpartition(".")
        step = self.pipeline.step(name)
        if is_selection(step):
            return self.trial_output(step, output, job=ex.step_property(name, "BestTrainingJob.TrainingJobName"))
        if step.shards > 1:
            return Source(uri=ex.processing_output(f"{name}{MERGE_SUFFIX}", output))
        return self.job_output(step, output)

    def job_output(self, step: Step, output: str) -> Source:
        """Return the location to which the job of a step writes an output, before any merge."""
        if step.kind is StepKind.BATCH:
            return Source(uri=ex.step_property(step.name, "TransformOutput.S3OutputPath"))
        if step.kind is not StepKind.TRAINING:
            return Source(uri=ex.processing_output(step.name, output))
        if output == self.model_output(step):
            return Source(uri=ex.step_property(step.name, "ModelArtifacts.S3ModelArtifacts"), packed="")
        uri = ex.join(
            "/",
            ex.step_property(step.name, "OutputDataConfig.S3OutputPath"),
            ex.step_property(step.name, "TrainingJobName"),
            "output/output.tar.gz",
        )
        return Source(uri=uri, packed=output)

    def trial_output(self, selection: Step, output: str, *, job: ex.JsonValue) -> Source:
        """Return the location to which the training job `job` of a search writes an output."""
        folder = ex.step_property(selection.name, "TrainingJobDefinition.OutputDataConfig.S3OutputPath")
        is_model = output == self.model_output(selection)
        archive = "output/model.tar.gz" if is_model else "output/output.tar.gz"
        return Source(uri=ex.join("/", folder, job, archive), packed="" if is_model else output)

    def model_output(self, step: Step) -> str:
        """Return the output that a training job writes to its model folder: the registered model or its first one."""
        name, _, output = self.pipeline.model.rpartition(".")
        return output if name == step.name else step.outputs[0]

    def evaluation_job(self) -> str:
        """Return the name of the step in the definition that computes the metrics."""
        step = self.pipeline.evaluation_step
        return step.name if step.shards == 1 else f"{step.name}{MERGE_SUFFIX}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job that executes a step, or a part of it.

    Attributes:
        name: name of the step in the definition.
        step: step of the pipeline.
        part: the part of the step that the job executes.
        layout: folder layout of its container.
        sources: location of each input, by input name.
        outputs: names of the outputs.
    """

    name: str
    step: Step
    part: Part
    layout: Layout
    sources: Mapping[str, Source] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()

    @property
    def instances(self) -> int:
        """The number of machines."""
        return self.step.shards if self.part is Part.SHARD else 1

    @property
    def has_verdict(self) -> bool:
        """Whether the job computes the metrics and the verdict."""
        return self.step.kind is StepKind.EVALUATION and self.part is not Part.SHARD


def champion_key(prefix: str) -> tuple[str, ...]:
    """Return the parts of the key below which the predictions of champions are, by digest."""
    return (prefix, "champions")


def jobs_of(step: Step, context: JobContext) -> tuple[Job, ...]:
    """Return the jobs of a step, in the order of execution."""
    layout = Layout.TRAINING if step.kind is StepKind.TRAINING else Layout.PROCESSING
    sources = {name: context.source(reference) for name, reference in step.inputs.items()}
    champion = context.champion_sources() if step.kind is StepKind.EVALUATION else {}
    if step.shards == 1:
        sources |= champion
        outputs = step.all_outputs + ((GATE_OUTPUT,) if step.kind is StepKind.EVALUATION else ())
        return (Job(name=step.name, step=step, part=Part.WHOLE, layout=layout, sources=sources, outputs=outputs),)
    shards = Job(name=step.name, step=step, part=Part.SHARD, layout=layout, sources=sources, outputs=step.outputs)
    parts = {f"{output}{PARTS_SUFFIX}": context.job_output(step, output) for output in step.outputs}
    merge = Job(
        name=f"{step.name}{MERGE_SUFFIX}",
        step=step,
        part=Part.MERGE,
        layout=Layout.PROCESSING,
        sources={**sources, **parts, **champion},
        outputs=step.all_outputs + ((GATE_OUTPUT,) if step.kind is StepKind.EVALUATION else ()),
    )
    return shards, merge
