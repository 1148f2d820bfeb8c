"""The toy use case, run for real: processes, cache, gate, registry, faults."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mlops_core
from mlops_core.errors import ConfigError, ExitCode, UsageError
from mlops_core.registry import Registry
from mlops_core.runners.process import LOG_LIMIT_BYTES
from mlops_core.store import Store


def run(workspace, *overrides, **options):
    return mlops_core.run("TOY", workspace=workspace, overrides=overrides, **options)


def statuses(record):
    return {step.name: str(step.status) for step in record.steps}


def test_a_run_fetches_runs_every_step_and_registers_the_model(toy, workspace):
    record = run(workspace)
    assert record.status == "accepted"
    assert statuses(record) == {"preprocess": "done", "train": "done", "evaluate": "done"}
    assert record.verdict.accepted
    assert record.model_version == 1
    evaluation = json.loads((workspace / "runs" / record.run_id / "evaluation.json").read_text())
    assert evaluation["classification_metrics"]["acc"]["value"] == 1.0
    assert mlops_core.open_run("latest", workspace=workspace) == record


def test_the_registered_model_predicts_from_its_artifact_alone(toy, workspace):
    run(workspace)
    model = mlops_core.load_model("toy", workspace=workspace)
    answers = [answer.scores for answer in model.predict([Path("aa"), Path("a" * 9)])]
    assert answers == [(0.0, 1.0), (1.0, 0.0)]


def test_a_second_run_reuses_every_step_and_makes_the_same_digests(toy, workspace):
    first, second = run(workspace), run(workspace)
    assert set(statuses(second).values()) == {"reused"}
    assert [step.outputs for step in second.steps] == [step.outputs for step in first.steps]
    assert all(step.reused_from == first.run_id for step in second.steps)


def test_a_changed_section_runs_only_the_steps_that_read_it_and_their_followers(toy, workspace):
    run(workspace)
    record = run(workspace, "training.bias=0.5")
    assert statuses(record) == {"preprocess": "reused", "train": "done", "evaluate": "done"}


def test_a_step_whose_output_came_out_equal_does_not_disturb_its_followers(toy, workspace):
    run(workspace)
    record = run(workspace, force=["preprocess"])
    assert statuses(record) == {"preprocess": "done", "train": "reused", "evaluate": "reused"}


def test_sharded_output_does_not_depend_on_the_number_of_shards(toy, workspace, tmp_path):
    one = run(workspace)
    three = run(tmp_path / "other", "features.scale=3")
    assert three.step("preprocess").outputs == one.step("preprocess").outputs


def test_a_rejected_model_ends_with_code_3_and_is_not_registered(toy, workspace):
    record = run(workspace, "training.bias=100", parameters={"q_acc": "0.9"})
    assert record.status == "rejected"
    assert record.exit_code == ExitCode.REJECTED
    assert record.error == "Execution failed due to acc < 0.9"
    with Store(workspace) as store:
        assert Registry(store).versions() == ()


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("raise", "ZeroDivisionError: division by zero"),
        ("exit", "the step called sys.exit(0)"),
        ("nothing", "wrote nothing to its output 'model'"),
        ("undeclared", "input 'dataset' is not declared"),
    ],
)
def test_a_failing_step_fails_the_run_and_is_named(toy, workspace, behaviour, message):
    record = run(workspace, f"training.behaviour={behaviour}")
    assert record.status == "failed"
    assert record.exit_code == ExitCode.STEP
    assert message in record.error
    assert statuses(record)["evaluate"] == "skipped"
    log = workspace / "runs" / record.run_id / "logs" / "train.log"
    assert "Traceback" in log.read_text()


def test_after_a_failure_the_finished_steps_are_not_run_again(toy, workspace):
    run(workspace, "training.behaviour=raise")
    assert statuses(run(workspace))["preprocess"] == "reused"


def test_a_step_that_prints_without_end_does_not_fill_the_log(toy, workspace):
    record = run(workspace, "training.behaviour=print")
    assert record.status == "accepted"
    log = workspace / "runs" / record.run_id / "logs" / "train.log"
    assert LOG_LIMIT_BYTES <= log.stat().st_size < LOG_LIMIT_BYTES + 1000
    assert b"more bytes of output were dropped" in log.read_bytes()[-200:]


def test_a_timeout_kills_the_step_and_its_children(toy, workspace):
    before = time.monotonic()
    record = run(workspace, "training.behaviour=sleep")
    assert "timed out after 3 s" in record.error
    assert time.monotonic() - before < 30
    found = subprocess.run(["pgrep", "-f", "time.sleep(60)"], capture_output=True, text=True, check=False)
    assert found.stdout == ""


def test_a_process_that_a_step_leaves_behind_is_ended(toy, workspace):
    before = time.monotonic()
    assert run(workspace, "training.behaviour=leak").status == "accepted"
    assert time.monotonic() - before < 30
    found = subprocess.run(["pgrep", "-f", "time.sleep(45)"], capture_output=True, text=True, check=False)
    assert found.stdout == ""


def test_a_step_with_retries_is_tried_again(toy, workspace):
    record = run(workspace, "training.behaviour=fail_once")
    assert record.status == "accepted"
    assert record.step("train").attempts == 2


def test_a_killed_driver_leaves_a_workspace_in_which_finished_steps_are_reused(toy, workspace):
    code = (
        "import sys, mlops_core\n"
        f"mlops_core.run('TOY', workspace={str(workspace)!r}, overrides=['training.behaviour=sleep'])"
    )
    driver = subprocess.Popen([sys.executable, "-c", code])
    logs = workspace / "runs"
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not list(logs.glob("*/logs/train.log")):
        time.sleep(0.05)
    driver.kill()
    driver.wait()
    record = run(workspace)
    assert record.status == "accepted"
    assert statuses(record)["preprocess"] == "reused"
    with Store(workspace) as store:
        assert [str(summary.status) for summary in store.list_runs()] == ["accepted", "stopped"]


def test_an_interrupt_stops_the_step_and_leaves_a_run_that_can_be_gone_on_with(toy, workspace):
    command = "from mlops_core.cli import main; main()"
    arguments = ["--workspace", str(workspace), "run", "-u", "TOY", "--set", "training.behaviour=sleep"]
    driver = subprocess.Popen([sys.executable, "-c", command, *arguments], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not list((workspace / "runs").glob("*/logs/train.log")):
        time.sleep(0.05)
    driver.send_signal(signal.SIGINT)
    _, err = driver.communicate(timeout=20)
    assert driver.returncode == ExitCode.INTERRUPTED
    assert "interrupted; the same command goes on" in err
    assert mlops_core.open_run(workspace=workspace).status == "stopped"
    assert statuses(run(workspace))["preprocess"] == "reused"


def test_what_is_wrong_is_said_before_anything_runs(toy, workspace):
    with pytest.raises(ConfigError, match="less than or equal to 10"):
        run(workspace, "features.scale=11")
    with pytest.raises(ConfigError, match="no parameter 'q_ac'; did you mean 'q_acc'"):
        run(workspace, parameters={"q_ac": "1"})
    with pytest.raises(UsageError, match="no step 'trian'; did you mean 'train'"):
        run(workspace, force=["trian"])
    assert not workspace.exists()


def test_two_runs_at_once_share_a_workspace(toy, workspace):
    code = f"import mlops_core; print(mlops_core.run('TOY', workspace={str(workspace)!r}).status)"
    drivers = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [driver.communicate(timeout=60)[0].strip() for driver in drivers] == ["accepted"] * 4
    with Store(workspace) as store:
        assert [version.version for version in Registry(store).versions()] == [1]  # the same model, four times


def test_the_newest_run_is_first_and_latest_even_within_a_second(toy, workspace):
    records = [run(workspace) for _ in range(4)]
    with Store(workspace) as store:
        assert [summary.run_id for summary in store.list_runs()] == [record.run_id for record in reversed(records)]
    assert mlops_core.open_run(workspace=workspace).run_id == records[-1].run_id
