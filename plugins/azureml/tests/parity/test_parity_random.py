"""Random pipelines and gates: a local run, the executed SageMaker definition and the executed Azure ML job are equal.

All three execute every step in this process by `mlops_core.steps.execution.execute`; the third does it through the
compiled job with its nodes, bindings, datastores, gate, registration and the container's own code.
"""

import contextlib
import importlib.util
import os
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from mlops_azureml.compiler.job import compile_pipeline
from mlops_azureml.container import NodeArguments, NodeSite, mark, pass_gate, register_model
from mlops_azureml.interpreter.datastores import FolderDatastores
from mlops_azureml.interpreter.document import parse_job
from mlops_azureml.interpreter.execution import JobExecution, Surroundings
from mlops_azureml.layout import node_name, port_name
from mlops_azureml.local_runner import AzureMlLocalRunner, document_of, pipeline_of
from mlops_azureml.parity import contracted_order, executed_definition
from mlops_azureml.registration import FOLDER_VARIABLE, FolderModels
from mlops_azureml.settings import CompileSettings, WorkspaceSettings

from mlops_core import api
from mlops_core.errors import MlopsError
from mlops_core.runners import SilentObserver
from mlops_core.runners.container.request import read_order
from mlops_core.runners.parity import prove_parity
from mlops_core.use_cases.manager import load_use_case
from mlops_core.workspace.store import Store

OTHER_ENGINE = Path(__file__).parents[3] / "sagemaker" / "tests"
SETTINGS = CompileSettings(workspace=WorkspaceSettings(image="image:1"))
PIPELINES = int(os.environ.get("MLOPS_TEST_PIPELINES", "8"))
BATCHES = 4


def sides():
    """Return the test module of the other engine, which has a local side, its own side and the way to execute steps."""
    pytest.importorskip("mlops_sagemaker", reason="mlops-sagemaker is not installed")
    name = "random_pipelines_of_sagemaker"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, OTHER_ENGINE / "parity" / "test_parity_random.py")
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture
def random_use_case(monkeypatch):
    folder = str(OTHER_ENGINE / "random_use_case")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", folder)


@pytest.fixture
def use_case(random_use_case):
    return load_use_case("RANDOM")


@pytest.fixture
def dataset(tmp_path):
    folder = tmp_path / "letters"
    folder.mkdir()
    for letter in "abcd":
        (folder / f"{letter}.txt").write_text(letter)
    return folder


class InProcessContainers:
    """Executes the commands of nodes without starting processes."""

    def __init__(self, execution_class):
        self._execution_class = execution_class

    def run(self, order):
        _, _, module, *arguments = shlex.split(order.command)
        assert module == "mlops_azureml.container"
        parts = {"gate": pass_gate, "register": register_model, "tag": mark}
        try:
            with variables(order.environment):
                if arguments[0] in parts:
                    parts[arguments[0]](NodeArguments.parse(arguments[1:]))
                else:
                    node = NodeArguments.parse(arguments)
                    self._execution_class(read_order(node.core), site=NodeSite(node)).run()
        except Exception as error:  # noqa: BLE001  like the container
            order.log.write_text(f"mlops: error: {error}\n")
            return int(error.exit_code) if isinstance(error, MlopsError) else 4
        return 0


@contextlib.contextmanager
def variables(environment):
    with pytest.MonkeyPatch.context() as patch:
        for name in (FOLDER_VARIABLE, "AZUREML_RUN_ID"):
            patch.setenv(name, environment[name])
        yield


class ExecutedSide:
    """Executes the compiled job."""

    def __init__(self, request, dataset, root):
        self.request = request
        self.datastores = FolderDatastores(root / "datastores")
        self.job = compile_pipeline(request, SETTINGS)
        self.datastores.place(dataset, self.job.data["inputs"]["dataset"]["path"])
        self.models = FolderModels(root / "models")
        self.execution = JobExecution(
            parse_job(self.job.data),
            name="job",
            surroundings=Surroundings(
                datastores=self.datastores,
                containers=InProcessContainers(sides().InThisProcess),
                folder=root / "job",
                results=root / "results",
                max_parallel=1,
                environment={FOLDER_VARIABLE: str(root / "models")},
            ),
        )

    def run(self):
        return self.execution.carry_out()

    def digests(self, record):
        return {
            f"{step.name}.{output}": sides().digest(
                self.datastores.path(record.nodes[node_name(step.name)].outputs[port_name(output)])
            )
            for step in self.request.pipeline.steps
            for output in step.all_outputs
        }


def compare(request, dataset, root):
    """Compare the sides on a pipeline and return the verdict."""
    local = sides().LocalSide(request, dataset, root / "local")
    executed = ExecutedSide(request, dataset, root / "executed")
    needs = {step.name: frozenset(step.needs) for step in request.pipeline.steps}
    order = contracted_order(executed.job.data, request.pipeline)
    assert {name: order[name] for name in needs} == needs
    verdict = local.run()
    record = executed.run()
    failed = [(node.name, node.error) for node in record.nodes.values() if node.status == "Failed"]
    assert failed == ([] if verdict.accepted else [("gate", verdict.message)])
    assert executed.digests(record) == local.digests
    gate = record.nodes["gate"]
    assert (str(gate.status), gate.exit_code) == (("Completed", 0) if verdict.accepted else ("Failed", 3))
    assert str(record.nodes["register_model"].status) == ("Completed" if verdict.accepted else "NotStarted")
    assert len(executed.models.versions("random")) == verdict.accepted
    assert str(record.status) == ("Completed" if verdict.accepted else "Failed")
    other = sides().ExecutedSide(request, dataset, root / "other")
    outcome = other.run().step("gate")
    assert outcome.properties["Outcome"] == str(verdict.accepted)
    assert other.digests(root / "digests") == local.digests
    return verdict


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("batch", range(BATCHES))
def test_random_pipeline_is_equal_on_all_runners(use_case, dataset, tmp_path, batch):
    accepted = faulty = sharded = 0
    for seed in range(batch, PIPELINES, BATCHES):
        root = tmp_path / str(seed)
        verdict = compare(sides().request_of(use_case, seed), dataset, root)
        accepted += verdict.accepted
        faulty += any(clause.value is None for clause in verdict.clauses)
        sharded += any((root / "local").glob("*-of-3"))
        shutil.rmtree(root)
    # A batch without any of these would prove nothing.
    assert min(accepted, faulty, sharded) >= PIPELINES // BATCHES // 25


def test_failing_random_step_stops_the_job_and_names_the_step(use_case, dataset, tmp_path):
    for seed in range(3):
        request = sides().request_of(use_case, seed)
        config = use_case.load_config(None, overrides=[f"shape.seed={seed}", "shape.fails=true"], environ={})
        request = replace(request, config=config, pipeline=use_case.pipeline(config.model))
        record = ExecutedSide(request, dataset, tmp_path / str(seed)).run()
        with pytest.raises(RuntimeError, match="drawn to fail"):
            sides().LocalSide(request, dataset, tmp_path / f"local-{seed}").run()
        failed = [node for node in record.nodes.values() if node.status == "Failed"]
        assert failed
        assert all(node.name == "train" or node.name.startswith("train_shard_") for node in failed)
        assert "drawn to fail" in failed[0].error
        done = {node.name for node in record.nodes.values() if node.status == "Completed"}
        assert not done & {node_name(name) for name in request.pipeline.followers("train")}
        assert str(record.status) == "Failed"


@pytest.mark.slow_suite
@pytest.mark.parametrize("seed", [1, 5])
def test_random_pipeline_in_real_processes_is_equal_on_both_runners(random_use_case, workspace, seed):
    request = api.prepare_run("RANDOM", overrides=[f"shape.seed={seed}"])
    with Store(workspace) as store:
        report = prove_parity(
            request,
            store=store,
            observer=SilentObserver(),
            runner=AzureMlLocalRunner(store, observer=SilentObserver(), jobs=2),
            definition_of=lambda run_id: executed_definition(document_of(store, run_id), pipeline_of(store, run_id)),
            jobs=2,
        )
    assert report.differences == ()
