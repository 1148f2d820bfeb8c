"""Random pipelines and gates: the executed definition equals a local run.

Both sides execute every step in this process by `mlops_core.steps.execution.execute`: one like the local runner, the
other through the compiled definition with trees, S3, parameters, property files, conditions and the container's code.
"""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from mlops_sagemaker.compiler.definition import compile_pipeline
from mlops_sagemaker.compiler.job_graph import JobContext
from mlops_sagemaker.container import JobSite
from mlops_sagemaker.emulator.collection import Results
from mlops_sagemaker.emulator.definition import parse_definition
from mlops_sagemaker.emulator.execution import PipelineExecution, Surroundings
from mlops_sagemaker.emulator.jobs.registration import FolderRegistrar
from mlops_sagemaker.emulator.objects import FolderObjects, upload_folder
from mlops_sagemaker.local_runner import SageMakerLocalRunner, definition_of
from mlops_sagemaker.parity import contracted_order, executed_definition
from mlops_sagemaker.service.uris import S3Uri
from mlops_sagemaker.settings import AccountSettings, CompileSettings

from mlops_core import api
from mlops_core.datasets.digests import iter_tree, manifest_of
from mlops_core.evaluation.evaluation_file import read_evaluation
from mlops_core.pipeline import DATASET, StepKind
from mlops_core.runners import RunRequest, SilentObserver
from mlops_core.runners.container.execution import _Container, _failed
from mlops_core.runners.container.request import Part, read_order
from mlops_core.runners.parity import prove_parity
from mlops_core.steps import execution as steps
from mlops_core.steps.context import Shard, StepRequest
from mlops_core.use_cases.manager import load_use_case
from mlops_core.workspace.store import Store

USE_CASE = Path(__file__).parents[1] / "random_use_case"
SETTINGS = CompileSettings(
    account=AccountSettings(role="arn:aws:iam::123456789012:role/r", bucket="bucket", image="image:1")
)
ARN = "arn:aws:sagemaker:us-east-1:123456789012:pipeline/random/execution/e"
PIPELINES = int(os.environ.get("MLOPS_TEST_PIPELINES", "8"))
BATCHES = 4


@pytest.fixture
def random_use_case(monkeypatch):
    monkeypatch.syspath_prepend(str(USE_CASE))
    monkeypatch.setenv("PYTHONPATH", str(USE_CASE))


@pytest.fixture
def use_case(random_use_case):
    return load_use_case("RANDOM")


@pytest.fixture
def dataset(random_use_case, tmp_path):
    folder = tmp_path / "letters"
    folder.mkdir()
    for letter in "abcd":
        (folder / f"{letter}.txt").write_text(letter)
    return folder


def request_of(use_case, seed):
    config = use_case.load_config(None, overrides=[f"shape.seed={seed}"], environ={})
    pipeline = use_case.pipeline(config.model)
    values = pipeline.resolve_parameters({})
    return RunRequest(use_case=use_case, config=config, pipeline=pipeline, parameters=values, seed=seed % 7)


def digest(folder):
    return manifest_of(tuple(iter_tree(folder))).digest


class LocalSide:
    """Executes the steps of a pipeline like the local runner, in this process."""

    def __init__(self, request, dataset, root):
        self.request = request
        self.root = root
        self.folders = {DATASET: dataset}
        self.digests = {}

    def run(self):
        for step in self.request.pipeline.ordered():
            self.execute(step)
        pipeline = self.request.pipeline
        report = read_evaluation(self.folders["evaluate.evaluation"], pipeline.metrics)
        numbers = {name: value for name, value in self.request.parameters.items() if isinstance(value, int | float)}
        return pipeline.gate.evaluate(report, metrics=pipeline.metrics, parameters=numbers)

    def execute(self, step):
        parts = {}
        if step.shards > 1:
            places = [self.one(step, Shard(index=n, count=step.shards), names=step.outputs) for n in range(step.shards)]
            parts = {output: tuple(place[output] for place in places) for output in step.outputs}
        outputs = self.one(step, Shard(), names=step.all_outputs, parts=parts)
        for output, folder in outputs.items():
            self.folders[f"{step.name}.{output}"] = folder
            self.digests[f"{step.name}.{output}"] = digest(folder)

    def one(self, step, shard, *, names, parts=None):
        place = self.root / f"{step.name}-{shard.index}-of-{shard.count}"
        outputs = {name: place / "outputs" / name for name in names}
        for folder in (place / "scratch", *outputs.values()):
            folder.mkdir(parents=True)
        sections = self.request.config.sections()
        steps.execute(
            StepRequest(
                use_case="RANDOM",
                step=step,
                config={name: sections[name] for name in step.config},
                parameters={name: self.request.parameters[name] for name in step.parameters},
                seed=self.request.seed,
                shard=shard,
                inputs={name: self.folders[reference] for name, reference in step.inputs.items()},
                outputs=outputs,
                scratch=place / "scratch",
                metrics=tuple(m.to_json() for m in self.request.pipeline.metrics)
                if step.kind is StepKind.EVALUATION
                else (),
                parts=parts or {},
            )
        )
        return outputs


class InThisProcess(_Container):
    """The code of the container without a process for the step and without the check of the code digest."""

    def _check_code(self):
        pass

    def _execute(self, shard):
        inputs = {name: self._input(name) for name in self._step.inputs}
        parts = self._parts() if self._request.part is Part.MERGE else {}
        request = self._step_request(self._places.work / "attempt-1", shard=shard, inputs=inputs, parts=parts)
        steps.execute(request)
        return dict(request.outputs)


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
    accepted = faulty = sharded = 0
    for seed in range(batch, PIPELINES, BATCHES):
        root = tmp_path / str(seed)
        verdict = compare(request_of(use_case, seed), dataset, root)
        accepted += verdict.accepted
        faulty += any(clause.value is None for clause in verdict.clauses)
        sharded += any((root / "local").glob("*-of-3"))
        shutil.rmtree(root)
    # A batch without any of these would prove nothing.
    assert min(accepted, faulty, sharded) >= PIPELINES // BATCHES // 25


def test_failing_random_step_is_equal_on_both_runners(use_case, dataset, tmp_path):
    for seed in range(10):
        request = request_of(use_case, seed)
        config = use_case.load_config(None, overrides=[f"shape.seed={seed}", "shape.fails=true"], environ={})
        request = replace(request, config=config, pipeline=use_case.pipeline(config.model))
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
    with Store(workspace) as store:
        report = prove_parity(
            request,
            store=store,
            observer=SilentObserver(),
            runner=SageMakerLocalRunner(store, observer=SilentObserver(), jobs=2),
            definition_of=lambda run_id: executed_definition(definition_of(store, run_id)),
            jobs=2,
        )
    assert report.differences == ()
