"""A search, run for real: trials are cached steps, the best on validation is passed on, failures are survived."""

import json
import signal
import subprocess
import sys
import time

import pytest

import mlops_core
from mlops_core import TuningSection, api
from mlops_core.errors import ConfigError, ExitCode
from mlops_core.pipeline import Pipeline
from mlops_core.report import write_report
from mlops_core.runners.planning import plan_run
from mlops_core.use_cases.assembly import assemble
from mlops_core.use_cases.assembly_cache import _files
from mlops_core.workspace.searches.trials import read_searches
from mlops_core.workspace.store import Store


def run(workspace, *overrides, **options):
    return mlops_core.run("TUNED", workspace=workspace, overrides=overrides, **options)


def statuses(record):
    return {step.name.removeprefix("train.trial-"): str(step.status) for step in record.steps}


def search_of(workspace, record):
    with Store(workspace) as store:
        return read_searches(record, store.artifacts.path)[0]


def wait_for(condition, *, limit_s=120.0):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_best_trial_becomes_the_model_and_more_trials_reuse_the_first(tuned, workspace):
    first = run(workspace, "tuning.trials=3")
    assert first.status == "accepted"
    assert list(statuses(first)) == ["split", "0", "1", "2", "train", "evaluate"]
    search = search_of(workspace, first)
    values = [trial.value for trial in search.trials]
    assert search.best == values.index(max(values)) == 1  # trial 2 has the same value
    assert search.trials[2].value == search.trials[1].value
    assert first.step("train").outputs["model"] == first.step("train.trial-1").outputs["model"]
    assert search.trials[0].values == {"threshold": 3.0, "model_size": "small"}

    second = run(workspace, "tuning.trials=5", "tuning.concurrent=1")
    assert statuses(second) == {
        "split": "reused", "0": "reused", "1": "reused", "2": "reused", "3": "done", "4": "done", "train": "done",
        "evaluate": "reused",
    }  # fmt: skip
    record = json.loads((workspace / "runs" / second.run_id / "trials.json").read_text())
    assert [trial["index"] for trial in record[0]["trials"]] == [0, 1, 2, 3, 4]
    assert record[0]["trials"][3]["key"] == second.step("train.trial-3").key
    assert second.step("train.trial-3").key_components["tuned model_size"] == '"small"'
    assert "config training.threshold" not in second.step("train.trial-3").key_components
    with Store(workspace) as store:
        page = write_report(store, second.run_id).read_text()
    assert "Hyperparameter search" in page
    assert page.count("<polyline") >= 5
    assert "Parallel coordinates of 5 trials: threshold, model_size, acc; trial 1 is marked" in page


def test_a_crashed_trial_ends_neither_the_search_nor_the_run(tuned, workspace):
    record = run(workspace, "tuning.trials=4", "training.behaviour=fail_above")
    assert record.status == "accepted"
    assert statuses(record) == {
        "split": "done", "0": "done", "1": "failed", "2": "done", "3": "failed", "train": "done", "evaluate": "done"
    }  # fmt: skip
    assert "2 of 4 trials failed, the first: train.trial-1: RuntimeError" in record.step("train").warning
    search = search_of(workspace, record)
    assert search.best == 2
    assert [trial.value is None for trial in search.trials] == [False, True, False, True]


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("fail", "train.trial-0: RuntimeError: a threshold of 3.0 cannot be trained"),
        pytest.param("nan", "train.trial-0: objective acc is missing", marks=pytest.mark.slow_suite),
        ("test_part", "sample '024' is in the test part; expected in 'validation' the samples of the validation part"),
        ("relabel", "its own split manifest has sample '024' in the validation part, but it is in the test part"),
        pytest.param(
            "partial",
            "validation sample '054' (and 17 more) has no prediction in 'validation'; expected all 36",
            marks=pytest.mark.slow_suite,
        ),
    ],
)
def test_a_search_without_a_result_fails_and_names_the_first_reason(tuned, workspace, behaviour, reason):
    record = run(workspace, "tuning.trials=2", f"training.behaviour={behaviour}")
    assert (record.status, record.exit_code) == ("failed", ExitCode.STEP)
    assert record.error.startswith("step 'train' failed: none of its 2 trials has a result; ")
    assert reason in record.error
    assert statuses(record)["evaluate"] == "skipped"


def test_the_time_limit_ends_running_trials_and_the_rest_is_made_up_for_later(tuned, workspace):
    options = ("training.behaviour=sleep", "tuning.concurrent=2", "tuning.trials=5")
    record = run(workspace, *options, "tuning.timeout_minutes=0.15")
    assert record.status == "accepted"
    states = statuses(record)
    assert states["0"] == "done"
    assert {states[index] for index in "1234"} <= {"stopped", "skipped"}
    assert record.step("train").warning == "stopped by time after 1 of 5 trials"
    assert search_of(workspace, record).best == 0
    with Store(workspace) as store:
        plan = {step.step: step for step in plan_run(api.prepare_run("TUNED", overrides=options), store=store)}
    assert plan["train.trial-0"].action == "reuse"
    assert plan["train.trial-3"].action == "run"
    assert plan["train"].action in ("run", "maybe")  # what was stopped is not reused as a whole search
    assert plan["train.trial-3"].reason.startswith("threshold=")


def test_a_search_whose_driver_is_killed_resumes_with_the_trials_that_had_ended(tuned, workspace, tmp_path):
    hold = tmp_path / "hold"
    hold.touch()
    values = ("training.behaviour=hold", f"training.hold={hold}", "tuning.trials=4", "tuning.concurrent=1")
    words = ["run", "--usecase", "TUNED", *(word for value in values for word in ("--set", value))]
    driver = [sys.executable, "-c", "from mlops_core.cli import main; main()", "--workspace", str(workspace), *words]
    with subprocess.Popen(driver, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: list((workspace / "runs").glob("*/logs/train.trial-1.log")))
        finally:
            process.send_signal(signal.SIGKILL)
    hold.unlink()
    run_id = next((workspace / "runs").glob("*/run.json")).parent.name
    before = mlops_core.open_run(run_id, workspace=workspace)
    record = mlops_core.run(resume=run_id, workspace=workspace)
    assert record.status == "accepted"
    assert record.run_id == run_id
    assert (before.step("train.trial-0").status, record.step("train.trial-0").status) == ("done", "reused")
    assert record.step("train.trial-0").outputs == before.step("train.trial-0").outputs
    assert {trial.index for trial in search_of(workspace, record).trials if trial.value is not None} == {0, 1, 2, 3}


def test_a_pipeline_with_a_search_is_equal_after_a_round_trip_so_that_its_assembly_is_kept(tuned):
    pipeline = assemble("TUNED", overrides=["tuning.trials=3"], environ={}).pipeline
    assert Pipeline.from_json(json.loads(json.dumps(pipeline.to_json()))) == pipeline


def test_asking_for_a_search_is_asking_for_eight_trials():
    assert TuningSection().trials == 1
    assert TuningSection(sampler="sobol").trials == TuningSection(concurrent=2, trials=None).trials == 8
    assert TuningSection(auto_mode=False).search_space == "config_search_space.yml"
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        TuningSection(trials=0)


def test_trial_values_are_checked_before_anything_runs(tuned, workspace, tmp_path):
    path = tmp_path / "config_search_space.yml"
    path.write_text("search_space:\n- number_of_epoch: {type: choice, values: [1, 2]}\n")
    options = ["tuning.trials=2", "tuning.auto_mode=false", f"tuning.search_space={path}"]
    with pytest.raises(
        ConfigError, match=r"number_of_epoch is no parameter.*did you mean 'number_of_epochs'\? \(line 2\)"
    ):
        api.prepare_run("TUNED", overrides=options)
    path.write_text("search_space:\n- number_of_epochs: {type: choice, values: [1, 2]}\n")
    request = api.prepare_run("TUNED", overrides=options)
    assert [step.trial for step in request.pipeline.steps] == [None, 0, 1, None, None]
    path.unlink()
    with pytest.raises(ConfigError, match="no file config_search_space.yml"):
        api.prepare_run("TUNED", overrides=["tuning.auto_mode=false"])
    with pytest.raises(ConfigError, match="no metric 'accc'; did you mean 'acc'"):
        api.prepare_run("TUNED", overrides=["tuning.trials=2", "tuning.objective=accc"])


def test_a_changed_space_file_is_read_again(tuned, tmp_path):
    path = tmp_path / "space.yml"
    path.write_text("search_space:\n- number_of_epochs: {type: choice, values: [1, 2]}\n")
    options = ["tuning.trials=2", "tuning.auto_mode=false", f"tuning.search_space={path}"]
    assembly = assemble("TUNED", overrides=options, environ={})
    assert str(path) in _files(assembly, None)
    assert str(path) not in _files(assemble("TUNED", environ={}), None)


def test_a_search_of_one_trial_is_no_search(tuned):
    names = [step.name for step in api.prepare_run("TUNED").pipeline.steps]
    assert names == ["split", "train", "evaluate"]


@pytest.mark.parametrize(("text", "is_auto"), [("True", True), ("yes", True), ("1", True), ("no", False), ("F", False)])
def test_the_section_takes_the_variables_of_a_pipeline(tuned, tmp_path, monkeypatch, text, is_auto):
    space = tmp_path / "config_search_space.yml"
    space.write_text("search_space:\n- number_of_epochs: {type: choice, values: [1, 2, 3]}\n")
    config = tmp_path / "user_config.yaml"
    config.write_text(
        "tuning:\n  trials: ${TRAINING_MAX_TRIALS}\n  concurrent: ${TRAINING_CONCURRENT_TRIALS}\n"
        "  timeout_minutes: ${TRAINING_JOB_TIMEOUT_MINUTES}\n  auto_mode: ${AUTO_MODE}\n"
        + ("" if is_auto else f"  search_space: {space}\n")
    )
    values = {"TRAINING_MAX_TRIALS": "8", "TRAINING_CONCURRENT_TRIALS": "4", "TRAINING_JOB_TIMEOUT_MINUTES": "180"}
    with monkeypatch.context() as patch:
        for name, value in {**values, "AUTO_MODE": text}.items():
            patch.setenv(name, value)
        request = api.prepare_run("TUNED", config=config)
    tuning = request.pipeline.step("train").tuning
    assert (tuning.trials, tuning.concurrent, tuning.timeout_s) == (8, 4, 10_800)
    assert (tuning.space.names == ("number_of_epochs",)) is not is_auto


def test_a_damaged_trial_is_executed_again_before_it_is_selected(tuned, workspace):
    options = ("tuning.trials=4", "training.behaviour=fail_above")
    first = run(workspace, *options)
    with Store(workspace) as store:
        path = store.artifacts.path(first.step("train.trial-2").outputs["validation"]) / "predictions.jsonl"
        path.parent.chmod(0o755)
        path.chmod(0o644)
        path.write_text("damaged")
    record = run(workspace, *options[1:], "tuning.trials=7")  # trial 6 succeeds, so the selection has another key
    assert record.status == "accepted"
    assert statuses(record)["2"] == "done"
    assert record.step("train.trial-2").because.startswith("its artifact was damaged")
    assert statuses(record)["0"] == "reused"
    assert record.step("train.trial-2").outputs == first.step("train.trial-2").outputs
    assert record.step("train").outputs["model"] == first.step("train").outputs["model"]


def test_values_that_are_drawn_later_are_held_against_the_configuration_as_all_others_are(tuned, workspace):
    limited = ("limits.threshold=6", "tuning.concurrent=10")
    with pytest.raises(ConfigError, match=r"search: trial \d+ \(threshold=.*threshold is above limits.threshold, 6.0"):
        api.prepare_run("TUNED", overrides=["tuning.trials=20", *limited])
    pytest.importorskip("optuna")
    record = run(workspace, "tuning.trials=20", "tuning.sampler=bayesian", *limited)
    assert record.status == "accepted"
    search = search_of(workspace, record)
    failed = [trial for trial in search.trials if trial.value is None]
    assert failed
    for trial in failed:
        error = record.step(f"train.trial-{trial.index}").error
        assert f"search: trial {trial.index} (threshold=" in error
        assert "training.threshold is above limits.threshold, 6.0; narrow the search space" in error
    assert all(trial.values["threshold"] <= 6 for trial in search.trials if trial.value is not None)
