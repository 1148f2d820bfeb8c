"""A search as a sweep over the index of the trial: the same trials, results and choice as in a local run."""

from pathlib import Path

import pytest
from mlops_azureml.checking import examine_job
from mlops_azureml.compiler.job import compile_pipeline
from mlops_azureml.settings import load_settings

from mlops_core import api
from mlops_core.errors import ConfigError
from mlops_core.testing import prove_runner_parity

TUNED = Path(__file__).parents[4] / "tests" / "tuning" / "tuned_toy"


@pytest.fixture
def tuned(monkeypatch):
    monkeypatch.syspath_prepend(str(TUNED))
    monkeypatch.setenv("PYTHONPATH", str(TUNED))


def prove(workspace, *overrides):
    request = api.prepare_run("TUNED", overrides=overrides)
    return prove_runner_parity(request, runner="azureml-local", workspace=workspace)


def test_trials_failures_and_choice_are_equal_on_both_runners(tuned, workspace):
    report = prove(workspace, "tuning.trials=3", "training.behaviour=fail_above")
    assert report.differences == ()
    rows = {(row.subject, row.what): row for row in report.rows}
    assert rows["train.trial-1", "status"].executed == "failed"
    assert "a threshold of 7.01979211345 cannot be trained" in rows["train.trial-1", "error"].executed
    assert len(rows["train.trial-2", "digest of objective"].executed) == 12
    assert len(rows["train", "digest of trials"].executed) == 12
    assert rows["train", "digest of model"].executed == rows["train.trial-2", "digest of model"].executed
    logged = sorted(workspace.glob("azureml-local/jobs/*/mlflow/0/*_2/params/*"))
    assert {path.name for path in logged} >= {"threshold"}  # the drawn values, for the pages of the service


@pytest.mark.slow_suite
@pytest.mark.parametrize(
    "overrides",
    [
        ("tuning.trials=3", "training.behaviour=fail"),
        ("tuning.trials=31", "tuning.sampler=sobol", "tuning.objective=error", "tuning.concurrent=2"),
    ],
)
def test_searches_without_a_result_and_long_ones_are_equal_on_both_runners(tuned, workspace, overrides):
    assert prove(workspace, *overrides).differences == ()


def test_sweep_is_a_grid_over_the_index_of_the_trial(tuned):
    request = api.prepare_run("TUNED", overrides=["tuning.trials=5", "tuning.concurrent=2", "tuning.objective=error"])
    job = compile_pipeline(request, load_settings())
    node = job.data["jobs"]["train"]
    assert (node["type"], node["sampling_algorithm"]) == ("sweep", "grid")
    assert node["search_space"] == {"trial": {"type": "choice", "values": [0, 1, 2, 3, 4]}}
    assert node["objective"] == {"primary_metric": "error", "goal": "minimize"}
    assert (node["limits"]["max_total_trials"], node["limits"]["max_concurrent_trials"]) == (5, 2)
    assert node["trial"]["is_deterministic"] is False
    assert '"--trial=${{inputs.trial}}"' in node["trial"]["command"]
    findings = examine_job(job.data)
    assert (findings.faults, findings.warnings) == ((), ())


def test_searches_that_the_service_cannot_carry_out_are_refused(tuned):
    pytest.importorskip("optuna", reason="the extra 'tune' is not installed")
    request = api.prepare_run("TUNED", overrides=["tuning.sampler=bayesian", "tuning.trials=40"])
    with pytest.raises(ConfigError, match="step 'train': a search with the sampler bayesian cannot be compiled"):
        compile_pipeline(request, load_settings())


def test_environment_of_a_sweep_is_refused_instead_of_dropped(tuned):
    settings = load_settings(overrides=["steps.train.environment={A: b}"])
    with pytest.raises(ConfigError, match="steps.train.environment: a sweep has no environment variables"):
        compile_pipeline(api.prepare_run("TUNED", overrides=["tuning.trials=3"]), settings)
