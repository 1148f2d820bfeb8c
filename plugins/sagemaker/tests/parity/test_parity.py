"""The executed definition equals a local run: same order, parameters, digests, verdict and message."""

import json
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from mlops_sagemaker.emulator.jobs.containers import ProcessContainers
from mlops_sagemaker.local_runner import SageMakerLocalRunner, definition_of
from mlops_sagemaker.parity import executed_definition
from mlops_sagemaker.settings import load_settings

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
    return prove_runner_parity(request, runner="sagemaker-local", workspace=workspace)


def row(report, subject, what):
    return next(row for row in report.rows if (row.subject, row.what) == (subject, what))


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
    if status == "rejected":
        assert row(report, "verdict", "message").executed == "Execution failed due to acc < 0.9"


@pytest.mark.representatives(2)
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


@pytest.mark.slow_suite
def test_runs_with_another_seed_are_equal_on_both_runners(toy, workspace):
    assert prove(workspace, seed=3).differences == ()


def test_difference_is_reported(toy, workspace):
    request = api.prepare_run("TOY")
    with Store(workspace) as store:
        runner = SageMakerLocalRunner(store, observer=SilentObserver())
        record = runner.run(request)
        definition = definition_of(store, record.run_id)
    assert compare_runs(record, record, executed_definition(definition)).differences == ()
    step = replace(record.steps[0], outputs={"features": "0" * 64})
    changes = {
        "digest of features": replace(record, steps=(step, *record.steps[1:])),
        "message": replace(record, verdict=replace(record.verdict, message="other")),
        "exit code": replace(record, exit_code=3),
        "registered": replace(record, model_version=None),
    }
    for what, changed in changes.items():
        assert [line.what for line in compare_runs(record, changed, executed_definition(definition)).differences] == [
            what
        ]
    other = replace(record, parameters={"q_acc": 0.6})
    assert [line.subject for line in compare_runs(other, record, executed_definition(definition)).differences] == [
        "parameter"
    ]
    steps = {**definition.steps, "train": replace(definition.steps["train"], depends_on=("evaluate",))}
    moved = replace(definition, steps=steps)
    assert [line.what for line in compare_runs(record, record, executed_definition(moved)).differences] == ["waits for"]


@pytest.mark.representatives(1)
@pytest.mark.parametrize("has_mounts", [False, None])
def test_executed_definition_is_recorded_like_other_runs(toy, workspace, has_mounts):
    request = api.prepare_run("TOY", overrides=["features.scale=2"])
    with Store(workspace) as store:
        containers = ProcessContainers(has_mounts=has_mounts)
        record = SageMakerLocalRunner(store, observer=SilentObserver(), containers=containers).run(request)
        assert (record.status, record.error, record.model_version) == ("accepted", "", 1)
        (version,) = Registry(store).versions()
        assert version.run_id == record.run_id
        assert version.artifact == record.step("train").outputs["model"]
        assert store.runs.load(record.run_id) == record
    logs = {path.name for path in (workspace / "runs" / record.run_id / "logs").iterdir()}
    assert logs == {"preprocess.0.log", "preprocess.1.log", "preprocess-merge.log", "train.log", "evaluate.log"}
    model = mlops_core.load_model("TOY", workspace=workspace)
    assert model.classes == ("long", "short")


def test_last_log_line_of_a_container_without_a_message_is_shown(toy, workspace):
    request = api.prepare_run("TOY")
    entry = '["python3", "-m", "mlops_core.not_in_this_image"]'
    settings = load_settings(
        overrides=[f"steps.train.raw.Arguments.AlgorithmSpecification.ContainerEntrypoint={entry}"]
    )
    with Store(workspace) as store:
        record = SageMakerLocalRunner(store, observer=SilentObserver(), settings=settings).run(request)
    assert (record.status, record.exit_code, record.model_version) == ("failed", ExitCode.STEP, None)
    assert "step 'train' failed: its container wrote no message; last line of its log: " in record.error
    assert "No module named mlops_core.not_in_this_image; log: " in record.error


def test_second_execution_reuses_steps_and_force_executes_one(toy, workspace):
    first = mlops_core.run("TOY", workspace=workspace, runner="sagemaker-local")
    second = mlops_core.run("TOY", workspace=workspace, runner="sagemaker-local")
    assert [(str(step.status), step.reused_from) for step in second.steps] == [("reused", first.run_id)] * 3
    assert [step.outputs for step in second.steps] == [step.outputs for step in first.steps]
    third = mlops_core.run("TOY", workspace=workspace, runner="sagemaker-local", force=["train"])
    assert [str(step.status) for step in third.steps] == ["reused", "done", "done"]


def test_steps_are_not_reused_for_a_changed_data_set(toy, workspace, tmp_path):
    words = tmp_path / "data" / "words.csv"
    words.parent.mkdir()
    words.write_text("".join(f"{'x' * (n % 12 + 1)},{'long' if n % 12 + 1 > 6 else 'short'}\n" for n in range(60)))
    options = {"workspace": workspace, "runner": "sagemaker-local", "overrides": [f"dataset.path={words.parent}"]}
    mlops_core.run("TOY", **options)
    words.write_text(words.read_text() + "yyyyyyyyy,long\n")
    again = mlops_core.run("TOY", **options)
    assert [str(step.status) for step in again.steps] == ["done", "done", "done"]


def test_options_that_a_definition_does_not_support_are_refused(toy, workspace):
    with pytest.raises(UsageError, match="--from, --only, --keep-going and --resume"):
        mlops_core.run("TOY", workspace=workspace, runner="sagemaker-local", only=["train"])
    with pytest.raises(UsageError, match="no runner 'sagemaker-lokal'; did you mean 'sagemaker-local'"):
        mlops_core.run("TOY", workspace=workspace, runner="sagemaker-lokal")


def test_ctrl_c_stops_the_run_and_its_processes_and_keeps_completed_steps(toy, workspace):
    code = "from mlops_core.cli import main; main()"
    command = [sys.executable, "-c", code, "--workspace", str(workspace), "run", "-u", "TOY"]
    command += ["--runner", "sagemaker-local", "--set", "training.behaviour=leak"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "preprocess: done" in line:
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED, errors
    record = mlops_core.open_run(workspace=workspace)
    assert (record.status, record.step("preprocess").status) == ("stopped", "done")
    processes = subprocess.run(["pgrep", "-f", str(workspace)], capture_output=True, text=True, check=False)
    assert processes.stdout == ""


def test_parity_command_prints_the_comparison(toy, workspace):
    code = "from mlops_core.cli import main; main()"
    command = [sys.executable, "-c", code, "--workspace", str(workspace), "parity", "--usecase", "TOY"]
    command += ["--runner", "sagemaker-local"]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.OK, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert all(line["is_equal"] for line in rows)
    assert {line["subject"] for line in rows} >= {"run", "preprocess", "train", "evaluate", "verdict", "model"}
    command += ["--set-sagemaker", "account.bucket=other-bucket", "--set-sagemaker", "steps.train.timeout_s=77"]
    done = subprocess.run([*command, "--reuse", "--all"], capture_output=True, text=True, check=False)
    assert f"all {len(rows)} comparisons are equal" in done.stdout, done.stderr
    assert (workspace / "sagemaker-local" / "s3" / "other-bucket" / "train" / "datasets" / "words").is_dir()
    assert done.stdout.splitlines()[0].split() == ["subject", "what", "local", "run", "executed", "definition"]
