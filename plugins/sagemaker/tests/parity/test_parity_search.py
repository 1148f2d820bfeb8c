"""A search as a native tuning job: the same trials, results and choice as in a local run."""

from pathlib import Path

import pytest
from mlops_sagemaker.checking import check_definition
from mlops_sagemaker.compiler.definition import compile_pipeline
from mlops_sagemaker.compiler.searches import trial_ranges
from mlops_sagemaker.container import trial_arguments
from mlops_sagemaker.settings import load_settings

from mlops_core import api
from mlops_core.errors import ConfigError, RunnerError
from mlops_core.runners.remote.searches import select_again
from mlops_core.testing import prove_runner_parity
from mlops_core.use_cases.searches import find_searches
from mlops_core.workspace.store import Store

TUNED = Path(__file__).parents[4] / "tests" / "tuning" / "tuned_toy"


@pytest.fixture
def tuned(monkeypatch):
    monkeypatch.syspath_prepend(str(TUNED))
    monkeypatch.setenv("PYTHONPATH", str(TUNED))


def prove(workspace, *overrides):
    request = api.prepare_run("TUNED", overrides=overrides)
    return prove_runner_parity(request, runner="sagemaker-local", workspace=workspace)


def test_trials_failures_and_choice_are_equal_on_both_runners(tuned, workspace):
    report = prove(workspace, "tuning.trials=3", "training.behaviour=fail_above")
    assert report.differences == ()
    rows = {(row.subject, row.what): row for row in report.rows}
    assert rows["train.trial-1", "status"].executed == "failed"
    assert "a threshold of 7.01979211345 cannot be trained" in rows["train.trial-1", "error"].executed
    assert len(rows["train.trial-2", "digest of objective"].executed) == 12
    assert len(rows["train", "digest of trials"].executed) == 12
    assert rows["train", "digest of model"].executed == rows["train.trial-2", "digest of model"].executed
    with Store(workspace) as store:
        request = api.prepare_run("TUNED", overrides=["tuning.trials=3", "training.behaviour=fail_above"])
        record = store.runs.load(report.executed_run)
        trials = {index: record.step(f"train.trial-{index}").outputs for index in (0, 2)}
        search = find_searches(request.pipeline)[0]
        with pytest.raises(
            RunnerError, match=r"the engine chose trial 0 \(acc 0.75\), and trial 2 \(0.91.*\) is better"
        ):
            select_again(search, request, store=store, trials=trials, chosen=0)


@pytest.mark.slow_suite
@pytest.mark.parametrize(
    "overrides",
    [
        ("tuning.trials=3", "training.behaviour=fail"),
        ("tuning.trials=31", "tuning.sampler=sobol", "tuning.objective=error", "tuning.concurrent=2"),
    ],
)
def test_searches_without_a_result_and_long_ones_are_equal_on_both_runners(tuned, workspace, overrides):
    if "tuning.trials=31" in overrides:
        with pytest.raises(ConfigError, match="the service has no grid of 31 trials"):
            prove(workspace, *overrides)
        overrides = ("tuning.trials=32", *overrides[1:])
    assert prove(workspace, *overrides).differences == ()


def test_the_definition_of_a_search_is_one_that_the_service_would_accept(tuned):
    request = api.prepare_run("TUNED", overrides=["tuning.trials=8"])
    compiled = compile_pipeline(request, load_settings(), dataset_digest="a" * 64)
    assert check_definition(compiled.data) == ()
    step = next(step for step in compiled.data["Steps"] if step["Type"] == "Tuning")
    config = step["Arguments"]["HyperParameterTuningJobConfig"]
    assert config["Strategy"] == "Grid"
    assert config["ParameterRanges"]["CategoricalParameterRanges"] == [
        {"Name": "trial", "Values": ["0", "1", "2", "3", "4", "5", "6", "7"]}
    ]
    assert config["ResourceLimits"] == {
        "MaxNumberOfTrainingJobs": 8, "MaxParallelTrainingJobs": 4, "MaxRuntimeInSeconds": 10800
    }  # fmt: skip
    assert "ContainerArguments" not in step["Arguments"]["TrainingJobDefinition"]["AlgorithmSpecification"]
    assert [step["Name"] for step in compiled.data["Steps"]] == ["split", "train", "evaluate", "gate"]


@pytest.mark.parametrize("trials", [1, 8, 30, 32, 100, 900])
def test_every_trial_is_one_point_of_the_grid(trials):
    turns, values = trial_ranges(trials)
    assert max(len(turns), len(values)) <= 30
    assert sorted(turn + value for turn in turns for value in values) == list(range(trials))


def test_a_job_without_the_hyperparameters_of_a_trial_is_refused(tmp_path):
    path = tmp_path / "hyperparameters.json"
    for text, message in (("{}", "holds no 'trial'"), ("[", "does not hold the hyperparameters of a trial")):
        path.write_text(text)
        with pytest.raises(RunnerError, match=message):
            trial_arguments(path)
    path.write_text('{"turn": "30", "trial": "2", "argument-001": "--b=2", "argument-000": "--a=1"}')
    assert trial_arguments(path) == ["--a=1", "--b=2", "--trial=32"]
