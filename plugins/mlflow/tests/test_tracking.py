import json

import pytest
from mlops_mlflow.settings import TrackingSettings, read_tracking_settings

from mlops_core import ConfigError

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of SQLAlchemy, in MLflow
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def sent(workspace, *arguments):
    """Run the use case and wait until its events are delivered; return the experiment's runs by name."""
    workspace.mlops("run", "--usecase", "TOY", "--set", "training.behaviour=history", *arguments)
    workspace.mlops("observers", "flush", "mlflow")
    client = workspace.client()
    experiment = client.get_experiment_by_name("rows of numbers")
    return client, {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


def test_runs_steps_models_and_aliases_are_in_mlflow(workspace):
    client, runs = sent(workspace)
    record = json.loads(workspace.mlops("runs", "show", "latest", "--json").stdout)
    run = runs[record["run_id"]]
    assert (run.info.status, run.data.tags["mlops.verdict"]) == ("FINISHED", "accepted")
    assert run.data.metrics == {"acc": 1.0}
    assert run.data.params["training.behaviour"] == "history"
    artifacts = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert {"evaluation.json", "report.html", "model"} <= artifacts

    steps = {name: runs[name] for name in ("fetch", "preprocess", "train", "evaluate")}
    assert {step.data.tags["mlflow.parentRunId"] for step in steps.values()} == {run.info.run_id}
    history = client.get_metric_history(steps["train"].info.run_id, "validation_loss")
    assert [(point.step, point.value) for point in history] == [(1, 2.0), (2, 1.0), (3, pytest.approx(2 / 3))]

    (version,) = client.search_model_versions("name = 'TOY'")
    assert (version.tags["run"], version.tags["verdict"]) == (record["run_id"], "accepted")
    (train,) = (step for step in record["steps"] if step["name"] == "train")
    assert version.tags["digest"] == train["outputs"]["model"]
    assert client.get_model_version_by_alias("TOY", "best").version == version.version

    workspace.mlops("models", "approve", "-u", "TOY", "1", "--why", "looked at it")
    workspace.mlops("models", "alias", "-u", "TOY", "production", "1", "--why", "ships")
    workspace.mlops("models", "alias", "-u", "TOY", "best", "--remove", "--why", "none is")
    workspace.mlops("observers", "flush")
    assert client.get_registered_model("TOY").aliases == {"production": version.version}
    assert client.get_model_version("TOY", version.version).tags["approval"] == "Approved"


def test_a_server_that_is_down_fails_no_run_and_loses_nothing(workspace):
    settings = workspace.folder / "workspace" / "workspace.yaml"
    text = settings.read_text()
    settings.write_text(text.replace(workspace.uri, "http://127.0.0.1:9"))
    workspace.mlops("run", "--usecase", "TOY")
    failed = workspace.mlops("observers", "flush", check=False)
    assert failed.returncode == 4
    assert "MLflow at http://127.0.0.1:9 cannot be reached now:" in failed.stderr
    (state,) = json.loads(workspace.mlops("observers", "list", "--json").stdout)
    assert state["waiting"] >= 8
    settings.write_text(text)
    _, runs = sent(workspace)
    assert len([run for run in runs.values() if "mlops.step" not in run.data.tags]) == 2


def test_nothing_is_sent_without_an_address(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert read_tracking_settings({}) is None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://h:5000")
    assert read_tracking_settings({"experiment": "x"}) == TrackingSettings(uri="http://h:5000", experiment="x")
    assert read_tracking_settings({"uri": "http://i"}) == TrackingSettings(uri="http://i")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"url": "http://h"}, "observers.mlflow.url is not a setting; did you mean 'uri'"),
        ({"uri": 5000}, "observers.mlflow.uri is 5000; expected a text"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ConfigError) as raised:
        read_tracking_settings(settings)
    assert message in str(raised.value)
