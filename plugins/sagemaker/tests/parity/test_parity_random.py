"""Random pipelines and gates: the executed definition equals a local run.

Both sides execute every step in this process by `mlops_core.steps.execution.execute`: one like the local runner, the
other through the compiled definition with trees, S3, parameters, property files, conditions and the container's code.
"""

import pytest
from engine_tests.random_pipelines import (
    BATCHES,
    InThisProcess,
    LocalSide,
    check_random_pipelines,
    dataset,
    digest,
    random_use_case,
    request_of,
    use_case,
)
from mlops_sagemaker.compiler.definition import compile_pipeline
from mlops_sagemaker.compiler.job_graph import JobContext
from mlops_sagemaker.container import JobSite
from mlops_sagemaker.emulator.collection import Results
from mlops_sagemaker.emulator.definition import parse_definition
from mlops_sagemaker.emulator.execution import PipelineExecution, Surroundings
from mlops_sagemaker.emulator.jobs.registration import FolderRegistrar
from mlops_sagemaker.emulator.objects import FolderObjects, upload_folder
from mlops_sagemaker.parity import contracted_order
from mlops_sagemaker.service.uris import S3Uri
from mlops_sagemaker.settings import AccountSettings, CompileSettings

from mlops_core import api
from mlops_core.runners.container.execution import _failed
from mlops_core.runners.container.request import read_order
from mlops_core.testing import prove_runner_parity

__all__ = ["dataset", "random_use_case", "use_case"]
SETTINGS = CompileSettings(
    account=AccountSettings(role="arn:aws:iam::123456789012:role/r", bucket="bucket", image="image:1")
)
ARN = "arn:aws:sagemaker:us-east-1:123456789012:pipeline/random/execution/e"


class InProcessContainers:
    """Executes orders without starting processes."""

    def run(self, order):
        arguments = [order.tree.rewrite(part) for part in order.command[3:]]
        order.log.write_text("")
        site = JobSite(order.tree.opt_ml)
        try:
            InThisProcess(read_order(arguments), site=site).run()
        except Exception as error:  # noqa: BLE001  like the container
            return _failed(site, 4, str(error))
        return 0


class NoHistory:
    """Keeps no records."""

    def save(self, record):
        pass

    def newest_first(self, pipeline):
        return iter(())


class ExecutedSide:
    """Executes the compiled definition."""

    def __init__(self, request, dataset, root):
        self.request = request
        self.objects = FolderObjects(root / "s3")
        upload_folder(self.objects, dataset, S3Uri("bucket", "train/datasets/letters"))
        compiled = compile_pipeline(request, SETTINGS)
        self.definition = parse_definition(compiled.to_compact_text())
        self.packages = root / "packages"
        self.execution = PipelineExecution(
            self.definition,
            arn=ARN,
            pipeline="random",
            values=self.definition.values({}),
            surroundings=Surroundings(
                objects=self.objects,
                containers=InProcessContainers(),
                registrar=FolderRegistrar(self.packages),
                history=NoHistory(),
                folder=root / "executions" / "e",
                max_parallel=1,
            ),
        )

    def run(self):
        return self.execution.carry_out()

    def digests(self, root):
        context = JobContext(use_case="RANDOM", pipeline=self.request.pipeline, sections={}, code={}, settings=SETTINGS)
        results = Results(self.execution, context, objects=self.objects)
        digests = {}
        for step in self.request.pipeline.steps:
            for output in step.all_outputs:
                folder = root / f"{step.name}-{output}"
                folder.mkdir(parents=True)
                source = context.source(f"{step.name}.{output}")
                digests[f"{step.name}.{output}"] = digest(results._fetch(source, folder))
        return digests


def compare(request, dataset, root):
    """Compare both sides on a pipeline and return the verdict."""
    local, executed = LocalSide(request, dataset, root / "local"), ExecutedSide(request, dataset, root / "executed")
    needs = {step.name: frozenset(step.needs) for step in request.pipeline.steps}
    order = contracted_order(executed.definition)
    assert {name: order[name] for name in needs} == needs
    verdict = local.run()
    record = executed.run()
    assert executed.digests(root / "digests") == local.digests
    gate = record.step("gate")
    assert gate is not None, [(step.name, step.failure) for step in record.steps]
    assert (str(gate.status), gate.failure) == ("Succeeded", "")
    assert gate.properties["Outcome"] == str(verdict.accepted)
    fail_step = record.step("fail")
    assert (fail_step.failure if fail_step else "") == verdict.message.encode()[:1024].decode(errors="ignore").strip()
    assert (executed.packages / "RANDOM").exists() is verdict.accepted
    assert str(record.status) == ("Succeeded" if verdict.accepted else "Failed")
    return verdict


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(BATCHES))
def test_random_pipeline_is_equal_on_both_runners(use_case, dataset, tmp_path, batch):
    check_random_pipelines(batch, compare, use_case=use_case, dataset=dataset, root=tmp_path)


def test_failing_random_step_is_equal_on_both_runners(use_case, dataset, tmp_path):
    for seed in range(10):
        request = request_of(use_case, seed, "shape.fails=true")
        executed = ExecutedSide(request, dataset, tmp_path / f"executed-{seed}")
        record = executed.run()
        with pytest.raises(RuntimeError, match="drawn to fail"):
            LocalSide(request, dataset, tmp_path / f"local-{seed}").run()
        failed = [step for step in record.steps if step.status == "Failed"]
        assert [step.name for step in failed] == ["train"]
        assert "drawn to fail" in failed[0].failure
        started = {step.name.removesuffix("-merge") for step in record.steps}
        assert started >= request.pipeline.ancestors("train")
        assert not started & (request.pipeline.followers("train") - {"train"})


@pytest.mark.representatives(1)
@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 5])
def test_random_pipeline_in_real_processes_is_equal_on_both_runners(random_use_case, workspace, seed):
    request = api.prepare_run("RANDOM", overrides=[f"shape.seed={seed}"])
    assert prove_runner_parity(request, runner="sagemaker-local", workspace=workspace).differences == ()
