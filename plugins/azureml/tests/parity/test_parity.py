"""The executed job equals a local run: same order, parameters, digests, verdict and message."""

import json
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import yaml
from mlops_azureml.local_runner import AzureMlLocalRunner, document_of, pipeline_of
from mlops_azureml.parity import executed_definition
from mlops_azureml.settings import load_settings

import mlops_core
from mlops_core import api
from mlops_core.errors import ExitCode, UsageError
from mlops_core.runners import SilentObserver
from mlops_core.runners.parity import compare_runs
from mlops_core.testing import prove_runner_parity
from mlops_core.workspace.registry import Registry
from mlops_core.workspace.store import Store


def prove(workspace, *overrides, **options):
    request = api.prepare_run("TOY", overrides=overrides, **options)
    return prove_runner_parity(request, runner="azureml-local", workspace=workspace)


def row(report, subject, what):
    return next(row for row in report.rows if (row.subject, row.what) == (subject, what))


def models(workspace):
    return [json.loads(path.read_text()) for path in sorted(workspace.glob("azureml-local/models/toy/*.json"))]


@pytest.mark.representatives(2)
@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize(
    ("overrides", "parameters", "status"),
    [((), {}, "accepted"), (("training.bias=100",), {"q_acc": "0.9"}, "rejected")],
)
def test_accepted_and_rejected_models_are_equal_on_both_runners(toy, workspace, overrides, parameters, status, shards):
    report = prove(workspace, *overrides, f"features.scale={shards}", parameters=parameters)
    assert report.differences == ()
    assert row(report, "run", "status").local == status
    digests = [line for line in report.rows if line.what.startswith("digest of")]
    assert len(digests) == 4
    assert all(len(line.local) == 12 for line in digests)
    assert len(models(workspace)) == (status == "accepted")
    if status == "rejected":
        assert row(report, "run", "exit code").executed == "3"
        assert row(report, "verdict", "message").executed == "Execution failed due to acc < 0.9"


@pytest.mark.representatives(1)
@pytest.mark.parametrize(
    ("behaviour", "status", "error"),
    [
        ("fail_once", "accepted", "-"),
        ("raise", "failed", "step 'train' failed: ZeroDivisionError: division by zero"),
        ("exit", "failed", "step 'train' failed: the step called sys.exit(0)"),
        ("nothing", "failed", "step 'train' failed: step 'train' wrote nothing to its output 'model'"),
        ("undeclared", "failed", "input 'dataset' is not declared"),
        ("sleep", "failed", "step 'train' failed: timed out after 3 s; its processes were killed"),
    ],
)
def test_retries_and_failures_are_equal_on_both_runners(toy, workspace, behaviour, status, error):
    report = prove(workspace, f"training.behaviour={behaviour}")
    assert report.differences == ()
    assert row(report, "run", "status").executed == status
    assert error in row(report, "run", "error").executed


def test_executed_job_is_recorded_like_other_runs_and_registers_one_tagged_model(toy, workspace):
    first = mlops_core.run("TOY", workspace=workspace, runner="azureml-local", overrides=["features.scale=2"])
    assert (first.status, first.error, first.model_version) == ("accepted", "", 1)
    with Store(workspace) as store:
        (version,) = Registry(store).versions()
        assert version.artifact == first.step("train").outputs["model"]
        assert store.runs.load(first.run_id) == first
    logs = {path.name for path in (workspace / "runs" / first.run_id / "logs").iterdir()}
    steps = {"preprocess.0.log", "preprocess.1.log", "preprocess-merge.log", "train.log", "evaluate.log"}
    assert logs == {*steps, "gate.log", "register_model.log", "tag_model.log"}
    (model,) = models(workspace)
    metric = first.verdict.clauses[0].value
    assert model["tags"] | {"acc": repr(metric), "best_model": "true", "run_id": first.run_id} == model["tags"]
    assert model["tags"]["dataset_version"].startswith("words:")
    second = mlops_core.run("TOY", workspace=workspace, runner="azureml-local", overrides=["features.scale=2"])
    assert [(str(step.status), step.reused_from) for step in second.steps] == [("reused", first.run_id)] * 3
    assert [model["tags"]["best_model"] for model in models(workspace)] == ["true", "false"]  # equal is not better
    third = mlops_core.run(
        "TOY", workspace=workspace, runner="azureml-local", overrides=["features.scale=2"], force=["train"]
    )
    assert [str(step.status) for step in third.steps] == ["reused", "done", "done"]


def test_gate_that_breaks_is_a_failed_run_and_no_rejection(toy, workspace):
    request = api.prepare_run("TOY")
    with Store(workspace) as store:
        runner = AzureMlLocalRunner(store, observer=SilentObserver(), containers=BrokenGate())
        record = runner.run(request)
    assert (record.status, record.exit_code, record.model_version) == ("failed", ExitCode.STEP, None)
    assert "node 'gate' of the job failed: " in record.error
    assert models(workspace) == []


class BrokenGate:
    """Executes every node but the gate, whose machine is lost."""

    def run(self, order):
        from mlops_azureml.interpreter.containers import ProcessContainers

        return 137 if order.name == "gate" else ProcessContainers().run(order)


@pytest.mark.slow_suite
def test_difference_is_reported(toy, workspace):
    request = api.prepare_run("TOY")
    with Store(workspace) as store:
        record = AzureMlLocalRunner(store, observer=SilentObserver()).run(request)
        document, pipeline = document_of(store, record.run_id), pipeline_of(store, record.run_id)
    text = (workspace / "azureml-local" / "jobs" / record.run_id / "job.yml").read_text()
    assert yaml.safe_load(text) == document
    definition = executed_definition(document, pipeline)
    assert compare_runs(record, record, definition).differences == ()
    other = replace(record, parameters={"q_acc": 0.6})
    assert [line.subject for line in compare_runs(other, record, definition).differences] == ["parameter"]
    document["jobs"]["train"]["inputs"]["late"] = "${{parent.jobs.evaluate.outputs.evaluation}}"
    moved = executed_definition(document, pipeline)
    assert [line.what for line in compare_runs(record, record, moved).differences] == ["waits for"]


@pytest.mark.slow_suite
def test_last_log_line_of_a_container_without_a_message_is_shown(toy, workspace):
    settings = load_settings(overrides=['steps.train.raw.component.command="python3 -m mlops_core.not_in_this_image"'])
    with Store(workspace) as store:
        record = AzureMlLocalRunner(store, observer=SilentObserver(), settings=settings).run(api.prepare_run("TOY"))
    assert (record.status, record.exit_code, record.model_version) == ("failed", ExitCode.STEP, None)
    assert "step 'train' failed: its container wrote no message; last line of its log: " in record.error
    assert "No module named mlops_core.not_in_this_image; log: " in record.error


def test_options_that_a_job_does_not_support_are_refused(toy, workspace):
    with pytest.raises(UsageError, match="--from, --only, --keep-going and --resume"):
        mlops_core.run("TOY", workspace=workspace, runner="azureml-local", only=["train"])


def test_ctrl_c_stops_the_run_and_its_processes_and_keeps_completed_steps(toy, workspace):
    code = "from mlops_core.cli import main; main()"
    command = [sys.executable, "-c", code, "--workspace", str(workspace), "run", "-u", "TOY"]
    command += ["--runner", "azureml-local", "--set", "training.behaviour=leak"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "train: started" in line:
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == ExitCode.INTERRUPTED, errors
    record = mlops_core.open_run(workspace=workspace)
    assert (record.status, record.step("preprocess").status) == ("stopped", "done")
    processes = subprocess.run(["pgrep", "-f", str(workspace)], capture_output=True, text=True, check=False)
    assert processes.stdout == ""


@pytest.mark.slow_suite
def test_parity_command_prints_the_comparison(toy, workspace):
    code = "from mlops_core.cli import main; main()"
    command = [sys.executable, "-c", code, "--workspace", str(workspace), "parity", "--usecase", "TOY"]
    command += ["--runner", "azureml-local", "--set-azureml", "workspace.datastore=other_store"]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.OK, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert all(line["is_equal"] for line in rows)
    assert {line["subject"] for line in rows} >= {"run", "preprocess", "train", "evaluate", "verdict", "model"}
    assert list((workspace / "azureml-local" / "datastores" / "other_store" / "datasets" / "words").iterdir())
