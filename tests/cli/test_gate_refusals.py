"""A gate that makes no sense is refused in one line, before a step runs, in every shipped use case."""

import os
import shutil
from pathlib import Path

import pytest

from mlops_core import run
from mlops_core.cli import _exit_code
from mlops_core.errors import ConfigError
from mlops_core.workspace.store import Store

PERCENT = "a percent where a fraction is expected?"
FRACTIONS = {"TOY": "acc", "AED": "clip_acc", "SCENE": "accuracy", "ROAD_SIGN": "accuracy"}
PARAMETERS = {
    "TOY": "q_acc",
    "AED": "q_clip_level_acc_threshold",
    "SCENE": "q_accuracy_threshold",
    "ROAD_SIGN": "q_accuracy_threshold",
    "ABALONE": "mse_threshold",
}
OF_FRACTIONS = (
    ("{m} >= 80", f"the threshold of '{{m}}' is 80, outside 0 to 1; {PERCENT}"),
    ("{m}.lower >= 80", f"is 80, outside 0 to 1; {PERCENT}"),
    ("{m}[x] >= 80", f"is 80, outside 0 to 1; {PERCENT}"),
    ("worst(recall) >= 80", f"the threshold of 'recall' is 80, outside 0 to 1; {PERCENT}"),
    ("{m} >= best.{m} - 80", f"the offset to the champion's '{{m}}' is 80, more than from 0 to 1; {PERCENT}"),
    ("no_regression({m}, margin=5)", f"the margin of '{{m}}' is 5, more than from 0 to 1; {PERCENT}"),
    ("no_regression(recall, margin=1.5)", f"the margin of 'recall' is 1.5, more than from 0 to 1; {PERCENT}"),
    ("recall >= 0.5", "core computes the recall of one class, recall[CLASS], and of the worst, worst(recall)"),
)
OF_NUMBERS = (
    ("recall[x] >= 0.5", "recall[x] >= 0.5: there are no classes: 'mse' is a metric of a predicted number"),
    ("worst(recall) >= 0.5", "there are no classes"),
    ("no_regression(recall)", "there are no classes"),
    ("{m}[old] >= 0.5", "no class 'old', there are no classes"),
    ("interval_coverage >= 80", f"the threshold of 'interval_coverage' is 80, outside 0 to 1; {PERCENT}"),
    ("r2 >= 80", "the threshold of 'r2' is 80, outside -inf to 1"),
)
OF_ALL = (
    ("{m}x >= 0.1", "unknown metric '{m}x'; did you mean '{m}'?"),
    ("no_regression({m}x)", "unknown metric '{m}x'; did you mean '{m}'?"),
    ("{m}x >= best.{m}x", "unknown metric '{m}x'; did you mean '{m}'?"),
    ("{m} >= best.{m}x", "expected best.{m}, the champion's value of the left side"),
    ("{m} >= nan", "the threshold nan is not a finite number"),
    ("{m} <= Infinity", "the threshold Infinity is not a finite number"),
    ("{m} >= 1e999", "the threshold of '{m}' is inf, not a finite number"),
    ("no_regression({m}, margin=1e999)", "the margin of '{m}' is inf, not a finite number"),
    ("{m} >= {q}x", "unknown numeric parameter '{q}x'; did you mean '{q}'?"),
    ("{m} >= 0.9 and {m} < 0.8", "no model can be accepted: {m} >= 0.9 and {m} < 0.8"),
    ("{m}[fold == 1] >= 0.9 and {m}[fold == 1] < 0.8", "no model can be accepted"),
    ("{m} <= {q} and {m} > {q}", "no model can be accepted: {m} > {q} and {m} <= {q}"),
    ("default and {m} >= {q} and {m} < {q}", "no model can be accepted"),
    ("dataset_licence in (NONE-1.0)", "no model can be accepted: dataset_licence in (NONE-1.0), but"),
    ("dataset_licence in ()", "the list names no licence"),
    ("", "is not an expression"),
)
CASES = [
    *((name, FRACTIONS[name], text, message) for name in FRACTIONS for text, message in (*OF_ALL, *OF_FRACTIONS)),
    *(("ABALONE", "mse", text, message) for text, message in (*OF_ALL, *OF_NUMBERS)),
]


@pytest.fixture
def refuse(toy, workspace, capfd):
    """Run a command that must end with exit code 2 and one line; returns the line."""

    def refuse(*arguments):
        code = _exit_code(["--workspace", str(workspace), *arguments])
        lines = capfd.readouterr().err.strip().splitlines()
        assert code == 2, lines
        [line] = lines
        assert len(line) < 500
        return line

    return refuse


@pytest.mark.representatives("name", "text")
@pytest.mark.parametrize(("name", "metric", "text", "message"), CASES)
def test_condition_is_refused_before_a_step_runs(refuse, workspace, name, metric, text, message):
    names = {"m": metric, "q": PARAMETERS[name]}
    condition = text.format(**names)
    line = refuse("run", "--usecase", name, "--set", f"gate.condition={condition or repr('')}")
    assert "gate" in line
    assert message.format(**names) in line
    with Store(workspace) as store:
        assert not store.runs.newest(limit=-1)


@pytest.mark.representatives("name", "value")
@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("value", ["nan", "inf", "-1", "1e999"])
def test_threshold_that_is_not_a_value_of_the_metric_is_refused(refuse, name, value):
    assert PARAMETERS[name] in refuse("run", "--usecase", name, "--param", f"{PARAMETERS[name]}={value}")


@pytest.mark.parametrize("name", FRACTIONS)
def test_percent_as_the_value_of_a_parameter_is_recognised(refuse, name):
    line = refuse("run", "--usecase", name, "--param", f"{PARAMETERS[name]}=80")
    assert PARAMETERS[name] in line
    assert PERCENT in line


def test_contradiction_through_the_value_of_a_parameter_is_refused(refuse):
    line = refuse("run", "-u", "TOY", "--set", "gate.condition=acc >= q_acc and acc < 0.8", "--param", "q_acc=0.9")
    assert "no model can be accepted: acc >= q_acc and acc < 0.8" in line


# --- Slices that only the data know -----------------------------------------------------------------------

SPLITTING = """
from dataclasses import replace
import mlops_toy.plugin as toy
import mlops_toy.steps
from mlops_toy.plugin import *
from mlops_core import SplitRow, hookimpl, row_digest, write_split

def preprocess(context):
    mlops_toy.steps.preprocess(context)
    rows = []
    for path in sorted(context.output("features").iterdir()):
        length, label = path.read_text().split()
        rows.append(row(path.name, length, label, "test", fold=length[-1]))
    for label in ("long", "short"):
        rows.append(row(label, label, label, "train", fold="77"))
    write_split(context.output("split"), rows)

def row(sample, group, label, part, *, fold):
    digest = row_digest([group])
    return SplitRow(sample=sample, group=group, label=label, part=part, digest=digest, columns={"fold": fold})

def train(context):
    mlops_toy.steps.train(context)
    (context.output("model") / "split.csv").unlink()

@hookimpl
def mlops_get_steps(config, context):
    train, first, last = toy.mlops_get_steps(config=config, context=context)
    first = replace(first, run=f"{__name__}:preprocess", outputs=("features", "split"))
    train = replace(train, run=f"{__name__}:train")
    return [train, first, replace(last, inputs={**last.inputs, "split": "preprocess.split"})]
"""
SPLITS = "SPLITS"


@pytest.fixture
def splits(tmp_path, monkeypatch, toy):
    """A use case like TOY whose evaluation reads a split with the column ``fold``."""
    folder = tmp_path / "splits"
    info = folder / "mlops_splits-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mlops-splits\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[mlops.usecases]\n{SPLITS} = mlops_splits_plugin\n")
    (folder / "mlops_splits_plugin.py").write_text(SPLITTING)
    shutil.copy(Path(os.environ["PYTHONPATH"]) / "mlops_toy" / "user_config.yaml", folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ['PYTHONPATH']}")
    return SPLITS


MISSING = [
    ("recall[longg] >= 0.1", "has no sample of class 'longg'; did you mean 'long'? there are: long, short"),
    ("acc[other] >= 0.1", "the test set has no sample of class 'other'; there are: long, short"),
    ("acc >= 0 or acc['fold' == 77] >= 0.1", "the test set has no sample of 'fold' '77'"),
    ("worst(acc, by=folds) >= 0.1", "no column 'folds'{where}; did you mean 'fold'? columns: label, fold"),
    ("no_regression(acc, by=folds)", "no column 'folds'{where}; did you mean 'fold'? columns: label, fold"),
    ("acc[long] >= best.acc[long] and acc[x == 1] > 0", "no column 'x'{where}; columns: label, fold"),
]


@pytest.mark.representatives(2)
@pytest.mark.parametrize(("text", "message"), MISSING)
def test_slice_that_only_the_data_know_is_refused_before_training(splits, workspace, text, message):
    result = run(splits, workspace=workspace, overrides=[f"gate.condition={text}"])
    assert (result.status, result.exit_code) == ("failed", 2), result.error
    assert message.format(where="") in result.error
    assert {step.name: str(step.status) for step in result.steps} == {
        "preprocess": "done",
        "train": "skipped",
        "evaluate": "skipped",
    }
    again = run(splits, workspace=workspace, overrides=[f"gate.condition={text}"])
    assert (again.exit_code, [str(step.status) for step in again.steps].count("skipped")) == (2, 2)
    accepted = run(splits, workspace=workspace, overrides=["gate.condition=recall[long] >= 0 and acc[fold == 1] >= 0"])
    assert accepted.status == "accepted"


# --- Replay -----------------------------------------------------------------------------------------------


def test_replay_refuses_what_no_run_could_meet(splits, workspace, refuse):
    low = run(splits, workspace=workspace, parameters={"q_acc": "0.1"})
    assert low.status == "accepted"
    for text, message in (
        *MISSING[:2],
        *((text, message) for text, message in MISSING[3:5]),
        ("acc < q_acc and acc > 0.5", "no model can be accepted: acc > 0.5 and acc < q_acc"),
        ("acc >= 80", PERCENT),
        ("acc >= nan", "the threshold nan is not a finite number"),
        ("", "is not an expression"),
    ):
        line = refuse("gate", "replay", "--usecase", splits, "--set", text)
        assert "--set" in line
        assert message.format(where=" in the split") in line


def test_replay_names_the_runs_whose_parameters_contradict_the_gate(toy, workspace, capsys):
    low = run(toy, workspace=workspace, parameters={"q_acc": "0.1"})
    high = run(toy, workspace=workspace, parameters={"q_acc": "0.9"})
    arguments = ["--workspace", str(workspace), "gate", "replay", "--usecase", toy]
    assert _exit_code([*arguments, "--set", "acc >= q_acc and acc < 0.8"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.startswith("20")}
    assert "no model can be accepted: acc >= q_acc and acc < 0.8" in lines[high.run_id]
    assert "no model" not in lines[low.run_id]


def test_gate_of_a_plugin_is_refused_like_one_of_a_configuration(splits, tmp_path):
    from mlops_core.api import prepare_run
    from mlops_core.errors import PipelineError

    path = tmp_path / "splits" / "mlops_splits_plugin.py"
    source = path.read_text()
    for number, (condition, message) in enumerate(
        (
            ("accu >= 0.5", "unknown metric 'accu'; did you mean 'acc'?"),
            ("acc >= 80", PERCENT),
            ("acc > 0.5 and acc < 0.4", "no model can be accepted"),
            ("acc >= best.acc - 80", PERCENT),
            ("dataset_licence in (NONE)", "has the licence CC0-1.0"),
        )
    ):
        module = f"mlops_splits_plugin_{number}"
        gate = f"\n@hookimpl\ndef mlops_get_gate(config, context):\n    return Gate(parse_condition({condition!r}))\n"
        text = source + "from mlops_core import Gate, parse_condition\n" + gate
        (tmp_path / "splits" / f"{module}.py").write_text(text)
        entry = f"[mlops.usecases]\n{SPLITS} = {module}\n"
        (tmp_path / "splits" / "mlops_splits-1.0.dist-info" / "entry_points.txt").write_text(entry)
        with pytest.raises((PipelineError, ConfigError)) as refused:
            prepare_run(splits)
        assert message in str(refused.value)
        assert "\n" not in str(refused.value)
