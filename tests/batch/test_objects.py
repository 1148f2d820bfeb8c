"""A model that finds objects: what is printed of it, and batch-prediction steps with it."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from mlops_core import BatchPrediction, PluginError, StepError
from mlops_core.cli import cli
from mlops_core.serving.batch import step as steps
from mlops_core.serving.batch.step import predict


@pytest.fixture
def finding(model):
    (model / "model.txt").write_text("echo finding")
    return model


@pytest.fixture
def step(tmp_path, finding):
    """Carry out a batch-prediction step; return the answers to a table of two rows, only one with objects."""

    def call(**values):
        folders = {name: tmp_path / name for name in ("data", "model", "predictions", "scratch")}
        for folder in folders.values():
            folder.mkdir(exist_ok=True)
        (folders["data"] / "a.csv").write_bytes(b"oo\nx\n")
        context = SimpleNamespace(
            use_case="ECHO",
            batch=BatchPrediction(content_type="text/csv", **values),
            input=folders.__getitem__,
            output=folders.__getitem__,
            scratch=folders["scratch"],
            progress=lambda *_: None,
        )
        predict(context)
        return (folders["predictions"] / "a.csv.out").read_text().splitlines()

    return call


def test_a_batch_step_writes_the_objects_of_each_sample(step):
    documents = [json.loads(line) for line in step(accept="application/jsonlines", split="line", strategy="multi")]
    assert [len(each["objects"]) for each in documents] == [2, 0]
    lines = step(accept="text/csv")
    assert [line.rsplit(",", 4)[1:] for line in lines] == [["0.0", "0.0", "1.0", "0.5"], ["1.0", "0.0", "2.0", "0.5"]]


@pytest.mark.parametrize("strategy", ["single", "multi"])
def test_lines_of_objects_without_their_sample_are_refused(step, strategy):
    """Two lines in, two lines out, but both are objects of the first."""
    with pytest.raises(PluginError, match="a.csv: text/csv has a line per object.* accept to application/jsonlines"):
        step(accept="text/csv", split="line", strategy=strategy)


def test_top_limits_the_objects_of_each_picture(finding, monkeypatch):
    from mlops_echo.plugin import EchoPredictor

    monkeypatch.setattr("mlops_core.api.load_model", lambda *_, **__: EchoPredictor(finding))
    Path("a.bin").write_bytes(b"ooo")
    Path("b.bin").write_bytes(b"x")
    result = CliRunner().invoke(cli, ["predict", "-u", "ECHO", "--top", "2", "a.bin", "b.bin"])
    assert result.exit_code == 0, result.output
    rows = [line for line in result.output.splitlines() if ".bin" in line]
    assert [row.split()[0] for row in rows] == ["a.bin", "a.bin", "b.bin"]
    assert set(rows[-1].split()[1:]) == {"-"}


@pytest.fixture
def context(tmp_path, model, monkeypatch):
    """The context of a batch-prediction step over 40 files, on a machine with one core."""
    monkeypatch.setattr(steps, "usable_cores", lambda: 1)
    folders = {name: tmp_path / name for name in ("data", "model", "predictions", "scratch")}
    for folder in folders.values():
        folder.mkdir(exist_ok=True)
    for number in range(40):
        (folders["data"] / f"{number:02d}.csv").write_bytes(b"%d\n" % number)
    return SimpleNamespace(
        use_case="ECHO",
        batch=BatchPrediction(content_type="text/csv", accept="text/csv", max_payload_mb=1, max_concurrent=40),
        input=folders.__getitem__,
        output=folders.__getitem__,
        scratch=folders["scratch"],
        progress=lambda *_: None,
    )


def test_more_requests_at_once_than_workers_are_all_answered(context):
    predict(context)
    assert len(list(context.output("predictions").iterdir())) == 40


def test_a_request_for_which_there_is_no_room_is_not_called_late(context, monkeypatch):
    workers = steps.BatchWorkers
    monkeypatch.setattr(steps, "BatchWorkers", lambda model, *, size, max_waiting: workers(model, size=size))
    with pytest.raises(StepError, match="not accepted by a worker: 16 requests are waiting"):
        predict(context)
