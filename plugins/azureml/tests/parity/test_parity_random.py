"""Random pipelines and gates: the executed job equals a local run.

Both sides execute every step in this process by `mlops_core.steps.execution.execute`: one like the local runner, the
other through the compiled job with its nodes, bindings, datastores, gate, registration and the container's own code.
The tests of other engines compare the same pipelines with the same local side.
"""

import contextlib
import shlex

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
from mlops_azureml.compiler.job import compile_pipeline
from mlops_azureml.container import NodeArguments, NodeSite, mark, pass_gate, register_model
from mlops_azureml.interpreter.datastores import FolderDatastores
from mlops_azureml.interpreter.document import parse_job
from mlops_azureml.interpreter.execution import JobExecution, Surroundings
from mlops_azureml.layout import node_name, port_name
from mlops_azureml.parity import contracted_order
from mlops_azureml.registration import FOLDER_VARIABLE, FolderModels
from mlops_azureml.settings import CompileSettings, WorkspaceSettings

from mlops_core import api
from mlops_core.errors import MlopsError
from mlops_core.runners.container.request import read_order
from mlops_core.testing import prove_runner_parity

__all__ = ["dataset", "random_use_case", "use_case"]
SETTINGS = CompileSettings(workspace=WorkspaceSettings(image="image:1"))


class InProcessContainers:
    """Executes the commands of nodes without starting processes."""

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
                    InThisProcess(read_order(node.core), site=NodeSite(node)).run()
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
                containers=InProcessContainers(),
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
            f"{step.name}.{output}": digest(
                self.datastores.path(record.nodes[node_name(step.name)].outputs[port_name(output)])
            )
            for step in self.request.pipeline.steps
            for output in step.all_outputs
        }


def compare(request, dataset, root):
    """Compare both sides on a pipeline and return the verdict."""
    local = LocalSide(request, dataset, root / "local")
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
    return verdict


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("batch", range(BATCHES))
def test_random_pipeline_is_equal_on_both_runners(use_case, dataset, tmp_path, batch):
    check_random_pipelines(batch, compare, use_case=use_case, dataset=dataset, root=tmp_path)


def test_failing_random_step_stops_the_job_and_names_the_step(use_case, dataset, tmp_path):
    for seed in range(3):
        request = request_of(use_case, seed, "shape.fails=true")
        record = ExecutedSide(request, dataset, tmp_path / str(seed)).run()
        with pytest.raises(RuntimeError, match="drawn to fail"):
            LocalSide(request, dataset, tmp_path / f"local-{seed}").run()
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
    assert prove_runner_parity(request, runner="azureml-local", workspace=workspace).differences == ()
