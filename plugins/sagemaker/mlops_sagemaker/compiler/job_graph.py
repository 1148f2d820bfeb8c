"""Which jobs a step becomes, and which job's output another one reads: `Job`, `JobContext`, `jobs_of`.

How a job is written into a definition is in `mlops_sagemaker.compiler.jobs`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_core import DATASET, StepKind
from mlops_core.runners.container.execution import PARTS_SUFFIX
from mlops_core.runners.container.request import GATE_OUTPUT, Part
from mlops_sagemaker.compiler import expressions as ex
from mlops_sagemaker.layout import Layout
from mlops_sagemaker.settings import StepSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_core import Pipeline, Step
    from mlops_sagemaker.settings import CompileSettings

ROLE, BUCKET, IMAGE, SEED = "ExecutionRole", "ArtifactBucket", "StepImage", "Seed"
"""Parameters that every definition has."""
MERGE_SUFFIX = "-merge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where an output can be read.

    Attributes:
        uri: its S3 address, an expression.
        packed: folder within the ``tar.gz`` as which a training job left it; None for plain files.
    """

    uri: ex.Expression
    packed: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobContext:
    """What all jobs of one definition share.

    Attributes:
        use_case: its name.
        pipeline: all steps.
        sections: value of each configuration section.
        code: step -> digest of its code.
        settings: of the account and the steps.
        dataset_digest: of the data set; empty where it is not known.
    """

    use_case: str
    pipeline: Pipeline
    sections: Mapping[str, Any]
    code: Mapping[str, str]
    settings: CompileSettings
    dataset_digest: str = ""

    def settings_of(self, step: Step) -> StepSettings:
        """Return what is changed of the step."""
        return self.settings.steps.get(step.name) or StepSettings()

    @property
    def prefix(self) -> str:
        """The first part of all keys."""
        return self.settings.account.prefix or self.pipeline.name

    def result_uri(self, *parts: str) -> ex.Expression:
        """Return an address of this execution's own, so that two executions never write to one place."""
        return ex.s3_uri(ex.parameter(BUCKET), self.prefix, "executions", ex.EXECUTION_ID, *parts)

    def source(self, reference: str) -> Source:
        """Return where ``"step.output"`` can be read."""
        if reference == DATASET:
            uri = ex.s3_uri(ex.parameter(BUCKET), "train", "datasets", self.pipeline.dataset, "")
            return Source(uri=uri)
        name, _, output = reference.partition(".")
        step = self.pipeline.step(name)
        if step.shards > 1:
            return Source(uri=ex.processing_output(f"{name}{MERGE_SUFFIX}", output))
        return self.job_output(step, output)

    def job_output(self, step: Step, output: str) -> Source:
        """Return where the step's own job leaves an output, before any merge."""
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

    def model_output(self, step: Step) -> str:
        """Return the output that a training job writes to its model folder: the registered one, else its first."""
        name, _, output = self.pipeline.model.partition(".")
        return output if name == step.name else step.outputs[0]

    def evaluation_job(self) -> str:
        """Return the definition's step that computes the metrics."""
        step = self.pipeline.evaluation_step
        return step.name if step.shards == 1 else f"{step.name}{MERGE_SUFFIX}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job that a step becomes.

    Attributes:
        name: of the definition's step.
        step: that it does.
        part: of the step.
        layout: of its container's files.
        sources: input -> where it is read.
        outputs: that it leaves.
    """

    name: str
    step: Step
    part: Part
    layout: Layout
    sources: Mapping[str, Source] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()

    @property
    def instances(self) -> int:
        """How many machines it gets."""
        return self.step.shards if self.part is Part.SHARD else 1

    @property
    def has_verdict(self) -> bool:
        """Whether it computes the metrics."""
        return self.step.kind is StepKind.EVALUATION and self.part is not Part.SHARD


def jobs_of(step: Step, context: JobContext) -> tuple[Job, ...]:
    """Return the jobs that a step becomes, in their order."""
    layout = Layout.TRAINING if step.kind is StepKind.TRAINING else Layout.PROCESSING
    sources = {name: context.source(reference) for name, reference in step.inputs.items()}
    if step.shards == 1:
        outputs = step.all_outputs + ((GATE_OUTPUT,) if step.kind is StepKind.EVALUATION else ())
        return (Job(name=step.name, step=step, part=Part.WHOLE, layout=layout, sources=sources, outputs=outputs),)
    shares = Job(name=step.name, step=step, part=Part.SHARD, layout=layout, sources=sources, outputs=step.outputs)
    parts = {f"{output}{PARTS_SUFFIX}": context.job_output(step, output) for output in step.outputs}
    merge = Job(
        name=f"{step.name}{MERGE_SUFFIX}",
        step=step,
        part=Part.MERGE,
        layout=Layout.PROCESSING,
        sources={**sources, **parts},
        outputs=step.all_outputs + ((GATE_OUTPUT,) if step.kind is StepKind.EVALUATION else ()),
    )
    return shares, merge
