"""The runs of a workspace as a data frame."""

import sys

import pandas as pd
import pytest

import mlops_core


def test_each_run_is_a_row_with_its_metrics_and_parameters(ran, workspace):
    strict = mlops_core.run("TOY", workspace=workspace, parameters={"q_acc": "0.9"})
    partial = mlops_core.run("TOY", workspace=workspace, only=["preprocess"])
    frame = mlops_core.runs_frame("toy", workspace=workspace)
    assert frame["run_id"].tolist() == [partial.run_id, strict.run_id, ran.run_id]
    assert frame["status"].tolist() == ["partial", "accepted", "accepted"]
    assert frame["param.q_acc"].tolist() == [0.5, 0.9, 0.5]
    assert frame["metric.acc"].tolist()[1:] == [1.0, 1.0]
    assert pd.isna(frame["metric.acc"][0])  # not 0: nothing was evaluated
    assert pd.isna(frame["model_version"][0])
    assert frame["model_version"][2] == 1
    assert frame["created"][2] == pd.Timestamp(ran.created)
    assert frame["duration_s"][2] == ran.duration_s
    assert set(frame["use_case"]) == {"TOY"}
    assert set(frame["runner"]) == {"local"}
    assert frame["created"].dt.tz is not None


def test_a_workspace_without_runs_has_the_columns_of_every_run(ran, workspace):
    frame = mlops_core.runs_frame("OTHER", workspace=workspace)
    assert len(frame) == 0
    described = ["run_id", "use_case", "status", "created", "duration_s", "runner", "model_version"]
    assert list(frame.columns) == described
    assert frame.dtypes.equals(mlops_core.runs_frame(workspace=workspace)[described].dtypes)


def test_a_damaged_record_is_a_row_and_a_warning(ran, workspace):
    (workspace / "runs" / ran.run_id / "run.json").write_text("{")
    with pytest.warns(UserWarning, match=rf"^run {ran.run_id}: its record cannot be read .* are missing in the table"):
        frame = mlops_core.runs_frame(workspace=workspace)
    assert frame["status"].tolist() == ["accepted"]


def test_without_pandas_the_error_is_one_line(monkeypatch, workspace):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pandas", None)
        with pytest.raises(mlops_core.UsageError, match=r"runs_frame needs pandas, .*pip install pandas$") as raised:
            mlops_core.runs_frame(workspace=workspace)
    assert "\n" not in str(raised.value)
