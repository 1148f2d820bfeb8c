"""The toy use case, run for real: processes, cache, gate, registry, faults."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mlops_core
from mlops_core import Step
from mlops_core.errors import ConfigError, ExitCode, StoreError, UsageError
from mlops_core.processes.confinement import landlock_version
from mlops_core.redaction import Redactor
from mlops_core.runners.local.processes import LOG_LIMIT_BYTES, LOG_TAIL_BYTES, StepProcesses, _LogPump
from mlops_core.steps.context import StepRequest
from mlops_core.steps.keys import Change
from mlops_core.workspace.registry import Registry
from mlops_core.workspace.store import Store


def run(workspace, *overrides, **options):
    return mlops_core.run("TOY", workspace=workspace, overrides=overrides, **options)


def sleeping(seconds, workspace):
    """Return the ids of the processes of a step in this workspace that sleep."""
    pattern = rf"time\.sleep.{seconds}.\s{re.escape(str(workspace))}/"
    return subprocess.run(["pgrep", "-f", pattern], capture_output=True, text=True, check=False).stdout


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


def test_the_registered_model_predicts_from_its_artifact_alone(toy, ran, workspace):
    model = mlops_core.load_model("toy", workspace=workspace)
    answers = [answer.scores for answer in model.predict([Path("aa"), Path("a" * 9)])]
    assert answers == [(0.0, 1.0), (1.0, 0.0)]


def test_a_second_run_reuses_every_step_and_makes_the_same_digests(toy, workspace):
    first, second = run(workspace), run(workspace)
    assert set(statuses(second).values()) == {"reused"}
    assert [step.outputs for step in second.steps] == [step.outputs for step in first.steps]
    assert all(step.reused_from == first.run_id for step in second.steps)


def test_a_changed_section_runs_only_the_steps_that_read_it_and_their_followers(ran, workspace):
    record = run(workspace, "training.bias=0.5")
    assert statuses(record) == {"preprocess": "reused", "train": "done", "evaluate": "done"}


@pytest.mark.slow_suite
def test_a_step_whose_output_came_out_equal_does_not_disturb_its_followers(ran, workspace):
    record = run(workspace, force=["preprocess"])
    assert statuses(record) == {"preprocess": "done", "train": "reused", "evaluate": "reused"}


def test_sharded_output_does_not_depend_on_the_number_of_shards(ran, workspace, tmp_path):
    three = run(tmp_path / "other", "features.scale=3")
    assert three.step("preprocess").outputs == ran.step("preprocess").outputs


def test_a_rejected_model_ends_with_code_3_and_is_not_registered(toy, workspace):
    record = run(workspace, "training.bias=100", parameters={"q_acc": "0.9"})
    assert record.status == "rejected"
    assert record.exit_code == ExitCode.REJECTED
    assert record.error == "Execution failed due to acc < 0.9"
    with Store(workspace) as store:
        assert Registry(store).versions() == ()


@pytest.mark.representatives(2)
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


@pytest.mark.slow_suite
def test_a_step_that_prints_without_end_does_not_fill_the_log(toy, workspace):
    record = run(workspace, "training.behaviour=print")
    assert record.status == "accepted"
    log = workspace / "runs" / record.run_id / "logs" / "train.log"
    assert LOG_LIMIT_BYTES - 100 <= log.stat().st_size < LOG_LIMIT_BYTES + 1000
    assert b"more bytes of output were dropped" in log.read_bytes()[-200:]


@pytest.mark.parametrize("excess", [0, 1, LOG_TAIL_BYTES - 1, LOG_TAIL_BYTES, LOG_TAIL_BYTES + 1, 3 * LOG_TAIL_BYTES])
def test_a_log_over_its_limit_keeps_its_head_and_its_tail(tmp_path, excess):
    lines = b"".join(b"%015d\n" % number for number in range((LOG_LIMIT_BYTES + excess) // 16 + 1))
    text = lines[: LOG_LIMIT_BYTES + excess - 10] + b"the error\n"
    pump = _LogPump(tmp_path / "log", Redactor())
    with os.fdopen(pump.writing, "wb") as stream:
        stream.write(text)
    pump.finish()
    kept = (tmp_path / "log").read_bytes()
    assert len(kept) < LOG_LIMIT_BYTES + 1000
    if excess == 0:
        assert kept == text
        return
    head, note, rest = kept.partition(b"\n[mlops: ")
    dropped, _, tail = rest.partition(b" more bytes of output were dropped here]\n")
    tail = tail[: tail.index(b"\n[mlops: ")]
    assert note
    assert text.startswith(head)
    assert text.endswith(tail)
    assert tail.endswith(b"the error\n")
    assert len(head) == LOG_LIMIT_BYTES - LOG_TAIL_BYTES
    assert len(tail) > LOG_TAIL_BYTES - 100
    assert int(dropped) == len(text) - len(head) - len(tail)


def test_a_timeout_kills_the_step_and_its_children(toy, workspace):
    before = time.monotonic()
    record = run(workspace, "training.behaviour=sleep")
    assert "timed out after 3 s" in record.error
    assert time.monotonic() - before < 30
    assert sleeping(60, workspace) == ""


@pytest.mark.slow_suite
def test_a_process_that_a_step_leaves_behind_is_ended(toy, workspace):
    before = time.monotonic()
    assert run(workspace, "training.behaviour=leak").status == "accepted"
    assert time.monotonic() - before < 30
    assert sleeping(45, workspace) == ""


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
        assert [str(summary.status) for summary in store.runs.newest()] == ["accepted", "stopped"]


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
    assert "to resume: mlops --workspace" in err
    assert "mlops: error: interrupted" in err
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


@pytest.mark.slow_suite
def test_the_newest_run_is_first_and_latest_even_within_a_second(toy, workspace):
    records = [run(workspace) for _ in range(4)]
    with Store(workspace) as store:
        assert [summary.run_id for summary in store.runs.newest()] == [record.run_id for record in reversed(records)]
    assert mlops_core.open_run(workspace=workspace).run_id == records[-1].run_id


@pytest.mark.representatives(1)
@pytest.mark.parametrize("shards", [2, 3])
def test_sharded_predictions_are_merged_to_the_same_digests(ran, workspace, tmp_path, shards):
    several = run(tmp_path / "other", f"evaluation.shards={shards}")
    assert several.step("evaluate").outputs == ran.step("evaluate").outputs
    assert several.step("evaluate").key == ran.step("evaluate").key


# --- Isolation ----------------------------------------------------------------------------------------------


def test_a_daemon_that_a_step_leaves_behind_is_ended_and_said(toy, workspace):
    record = run(workspace, "training.behaviour=daemon")
    assert record.status == "accepted"
    assert sleeping(46, workspace) == ""
    log = workspace / "runs" / record.run_id / "logs" / "train.log"
    assert "processes that the step left behind were killed" in log.read_text()
    train = next(step for step in record.steps if step.name == "train")
    # The process between the step and its daemon may be about to end, or be killed, too.
    assert re.fullmatch(r"[12] processes that the step left behind were killed", train.warning)


def test_what_a_step_logs_as_a_warning_is_in_the_record_once(toy, workspace):
    record = run(workspace, "training.behaviour=warn")
    train = next(step for step in record.steps if step.name == "train")
    assert train.warning == "2 of 60 words are odd: a b"
    again = run(workspace, "training.behaviour=warn")
    train = next(step for step in again.steps if step.name == "train")
    assert (str(train.status), train.warning) == ("reused", "2 of 60 words are odd: a b")
    assert all(not step.warning for step in record.steps if step.name != "train")


def test_a_step_that_uses_more_memory_than_its_limit_is_ended_and_the_limit_named(toy, workspace):
    record = run(workspace, "training.behaviour=memory")
    assert record.status == "failed"
    assert "used more than its limit memory_limit_mb=200" in record.error


@pytest.mark.skipif(landlock_version() == 0, reason="this kernel has no Landlock")
def test_a_step_cannot_write_outside_its_outputs(toy, workspace):
    record = run(workspace, "training.behaviour=write_outside")
    assert record.status == "failed"
    assert "PermissionError" in record.error
    assert not list(workspace.rglob("outside"))


@pytest.mark.representatives(1)
@pytest.mark.parametrize(
    ("behaviour", "what"),
    [("link", "more is a link to"), ("link_output", "model is a link to"), ("pipe", "more is a pipe, socket")],
)
def test_an_output_that_leads_elsewhere_is_refused_and_named(toy, workspace, behaviour, what):
    record = run(workspace, f"training.behaviour={behaviour}")
    assert record.step("train").status == "failed"
    assert "output 'model': " in record.step("train").error
    assert what in record.step("train").error
    assert "copy what is meant" in record.step("train").error
    assert statuses(run(workspace))["preprocess"] == "reused"


def test_the_store_takes_nothing_in_that_leads_elsewhere_and_leaves_it_as_it_is(tmp_path):
    victim = tmp_path / "victim.sh"
    victim.write_text("echo")
    victim.chmod(0o755)
    with Store(tmp_path / "home") as store:
        for make in (lambda path: path.symlink_to(victim), lambda path: path.hardlink_to(victim)):
            folder = store.work_folder("test")
            make(folder / "model")
            with pytest.raises(StoreError, match=r"model is a .*link"):
                store.artifacts.add(folder)
        link = store.work_folder("test") / "output"
        link.symlink_to(tmp_path)
        with pytest.raises(StoreError, match="output is a link"):
            store.artifacts.add(link)
    assert victim.stat().st_mode & 0o777 == 0o755


def test_a_step_cannot_delete_its_inputs_unseen(toy, workspace):
    features = run(workspace).step("preprocess").outputs["features"]
    record = run(workspace, "training.behaviour=delete_inputs")
    assert record.status == "failed"
    with Store(workspace) as store:
        assert store.artifacts.damage(features) is None or not store.artifacts.has(features)
    assert run(workspace, "training.bias=0.25").status == "accepted"


def test_a_step_that_puts_a_pipe_in_place_of_its_progress_fails_by_name(toy, workspace):
    record = run(workspace, "training.behaviour=pipe_as_progress")
    assert record.exit_code == ExitCode.STEP
    assert "its file progress.jsonl is not what StepContext.progress writes: it is not a regular file" in record.error


def test_steps_share_no_memory_with_each_other(toy, workspace, tmp_path, monkeypatch):
    package = tmp_path / "shared"
    package.mkdir()
    (package / "counting.py").write_text("COUNT = []\n")
    monkeypatch.setenv("PYTHONPATH", f"{package}{os.pathsep}{os.environ['PYTHONPATH']}")
    outcomes = []
    with StepProcesses() as processes:
        for index in range(3):
            folder = tmp_path / str(index)
            for path in (folder / "out", folder / "scratch"):
                path.mkdir(parents=True)
            (package / "code_of_step.py").write_text(
                "import counting\n"
                "def f(context):\n"
                "    counting.COUNT.append(1)\n"
                "    (context.output('out') / 'n').write_text(str(len(counting.COUNT)))\n"
            )
            request = StepRequest(
                use_case="TOY",
                step=Step(name="s", run="code_of_step:f", outputs=("out",)),
                config={},
                parameters={},
                seed=0,
                inputs={},
                outputs={"out": folder / "out"},
                scratch=folder / "scratch",
            )
            processes.run(request, folder=folder, log=folder / "log", on_progress=lambda *_: None)
            outcomes.append((folder / "out" / "n").read_text())
    assert outcomes == ["1", "1", "1"]


# --- Resume and selection -----------------------------------------------------------------------------------


def test_a_failed_run_is_resumed_under_its_own_id_and_finished_steps_are_not_run_again(toy, workspace, monkeypatch):
    failed = run(workspace, "training.behaviour=fail_once", jobs=1)
    assert failed.status == "accepted"  # its retry
    broken = run(workspace, "training.behaviour=raise")
    resumed = mlops_core.run(workspace=workspace, resume=broken.run_id)
    assert resumed.run_id == broken.run_id
    assert resumed.step("preprocess").status == "reused"
    assert resumed.status == "failed"
    assert mlops_core.open_run(broken.run_id, workspace=workspace).step("train").status == "failed"


def test_a_run_that_is_resumed_has_its_own_configuration_only(toy, workspace):
    record = run(workspace, "training.bias=0.5")
    again = mlops_core.run(workspace=workspace, resume=record.run_id)
    assert again.config == record.config
    assert [step.outputs for step in again.steps] == [step.outputs for step in record.steps]
    with pytest.raises(UsageError, match="is resumed with its own configuration"):
        mlops_core.run(workspace=workspace, resume=record.run_id, overrides=["training.bias=1"])


def test_from_runs_the_step_and_its_followers_and_reuses_those_before(ran, workspace):
    assert statuses(run(workspace, start="train")) == {"preprocess": "reused", "train": "done", "evaluate": "done"}


def test_from_refuses_when_a_step_before_has_no_results(toy, workspace):
    record = run(workspace, start="train")
    assert record.status == "failed"
    assert record.exit_code == ExitCode.USAGE
    assert "step 'preprocess' comes before and has no results" in record.error


def test_only_runs_just_that_step_and_reaches_no_gate(ran, workspace):
    record = run(workspace, "training.bias=0.5", only=["train"])
    assert record.status == "partial"
    assert statuses(record) == {"preprocess": "reused", "train": "done", "evaluate": "skipped"}
    assert record.verdict is None
    assert record.model_version is None


def test_selections_that_contradict_each_other_or_name_no_step_are_refused(toy, workspace):
    with pytest.raises(UsageError, match="--from and --only exclude each other"):
        run(workspace, start="train", only=["train"])
    with pytest.raises(UsageError, match="--from: no step 'trian'; did you mean 'train'"):
        run(workspace, start="trian")


# --- Reasons ------------------------------------------------------------------------------------------------


def test_a_run_keeps_why_each_step_was_run_with_old_and_new_values(ran, workspace):
    record = run(workspace, "training.bias=0.5")
    assert record.step("preprocess").because == f"unchanged since run {ran.run_id}"
    assert record.step("train").changes == (Change(component="config training.bias", old="0.0", new="0.5"),)
    assert record.step("evaluate").because.startswith("changed: input model: model.txt ")


def test_a_step_with_another_output_under_the_same_key_is_called_not_deterministic(toy, workspace):
    first = run(workspace, "training.behaviour=random")
    record = run(workspace, "training.behaviour=random", force=["train"])
    assert (
        record.step("train").warning
        == f"not deterministic: model differs from run {first.run_id}, which had the same key"
    )
    assert run(workspace, force=["preprocess"]).step("preprocess").warning == ""


# --- Damage -------------------------------------------------------------------------------------------------


def flip_bits(store, digest):
    """Flip a bit as a bad disk does: neither size nor times show it."""
    path = next(path for path in store.artifacts.path(digest).rglob("*") if path.is_file())
    state = path.stat()
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)
    path.chmod(0o444)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    return path


@pytest.mark.parametrize(
    ("step", "output"), [("preprocess", "features"), ("train", "model"), ("evaluate", "evaluation")]
)
def test_a_flipped_bit_is_found_on_use_named_and_made_again(ran, workspace, step, output):
    with Store(workspace) as store:
        path = flip_bits(store, ran.step(step).outputs[output])
    record = run(workspace, force=["train"] if step == "preprocess" else [])
    assert record.status == "accepted"
    assert record.step(step).status == "done"
    assert path.name in record.step(step).because
    assert "damaged" in record.step(step).because
    assert [one.outputs for one in record.steps] == [one.outputs for one in ran.steps]


def test_a_damaged_model_is_not_used_and_the_suggested_command_works(ran, workspace):
    with Store(workspace) as store:
        flip_bits(store, ran.step("train").outputs["model"])
    with pytest.raises(StoreError, match=f"has changed; make it again with: mlops run --resume {ran.run_id}"):
        mlops_core.load_model("TOY", workspace=workspace)
    mlops_core.run(workspace=workspace, resume=ran.run_id)
    assert mlops_core.load_model("TOY", workspace=workspace).classes == ("long", "short")


def test_a_run_leaves_its_page_and_a_page_that_cannot_be_written_does_not_fail_it(ran, workspace):
    page = workspace / "runs" / ran.run_id / "report.html"
    assert ran.run_id in page.read_text()
    page.unlink()
    page.mkdir()
    again = mlops_core.run(workspace=workspace, resume=ran.run_id)
    assert again.status == "accepted"
