"""``mlops step run``: one step by hand."""

import pytest


@pytest.fixture
def step(call, toy, workspace, tmp_path, monkeypatch):
    """Return a function that executes a step of TOY; paths are relative to the folder of the test."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: call("--workspace", workspace, "step", "run", "-u", toy, *arguments)


@pytest.fixture
def dataset(ran, workspace):
    return next(path for path in (workspace / "datasets").iterdir() if path.is_dir() and any(path.glob("*.csv")))


def test_steps_by_hand_write_what_a_run_writes(step, ran, workspace, dataset, tmp_path):
    assert step("preprocess", "--input", f"dataset={dataset}", "--output", "features=f")[0] == 0
    assert step("train", "--input", "features=f", "--output", "model=new/m")[0] == 0
    inputs = ("--input", "features=f", "--input", "model=new/m")
    code, out, err = step("evaluate", *inputs, "--output", "predictions=p", "--output", "evaluation=e")
    assert code == 0, err
    assert out.splitlines() == ["predictions: p", "evaluation: e"]
    stored = workspace / "runs" / ran.run_id / "evaluation.json"
    assert (tmp_path / "e" / "evaluation.json").read_bytes() == stored.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e", "f", "new", "p", "workspace"]


def test_a_step_that_fails_leaves_no_output_and_shows_its_log(step, tmp_path):
    (tmp_path / "f").mkdir()
    code, out, err = step("train", "--input", "features=f", "--output", "model=m", "--set", "training.behaviour=raise")
    assert code == 4
    assert out == ""
    assert err.splitlines()[-1].startswith("mlops: error: step 'train' failed: ")
    assert "Traceback" in err
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("trian",), 2, "no step 'trian'; did you mean 'train'?"),
        (("train",), 2, "step 'train' needs the input features, which is the output preprocess.features: --input"),
        (("preprocess",), 2, "needs the input dataset, which is the data set: --input dataset=FOLDER"),
        (("train", "--input", "feature=f"), 2, "step 'train' has no input 'feature'; did you mean 'features'?"),
        (("train", "--input", "features"), 2, "--input: 'features' is not NAME=DIR"),
        (("train", "--input", "features=f", "--input", "features=g"), 2, "--input: 'features' is given twice"),
        (("train", "--input", "features=f"), 2, "step 'train' needs the output model: --output model=FOLDER"),
        (("train", "--input", "features=gone", "--output", "model=m"), 5, "input 'features' is not a folder: gone"),
        (("train", "--input", "features=f", "--output", "model=full"), 2, "output 'model' exists: full; give a new"),
        (("train", "--input", "features=f", "--output", "model=full/file"), 2, "output 'model' exists"),
        (("train", "--input", "features=f", "--output", "model=f/m"), 2, "output 'model' and input 'features' share"),
        (("train", "--input", "features=f", "--output", "model=."), 2, "output 'model' exists: ."),
    ],
)
def test_what_cannot_be_executed_is_refused_in_one_line(step, tmp_path, arguments, code, message):
    (tmp_path / "f").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    result, out, err = step(*arguments)
    assert (result, out) == (code, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert (tmp_path / "full" / "file").read_text() == "mine"
