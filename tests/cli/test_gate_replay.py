"""``mlops gate replay``: past verdicts under another gate, from what is stored."""

import json
import shutil

import pytest
from click.testing import CliRunner

from mlops_core import run
from mlops_core.cli import _exit_code, cli
from mlops_core.report.kit import step_svg
from mlops_core.workspace.store import Store


def replay(workspace, *arguments):
    return CliRunner().invoke(
        cli, ["--workspace", str(workspace), "gate", "replay", "--usecase", "TOY", *arguments], catch_exceptions=False
    )


@pytest.fixture
def two_runs(ran, toy, workspace):
    """An accepted and a rejected run."""
    good = ran
    bad = run(toy, workspace=workspace, overrides=["training.bias=100"], parameters={"q_acc": "0.9"})
    assert (good.status, bad.status) == ("accepted", "rejected")
    return good, bad


def test_replay_names_the_verdicts_that_change(two_runs, workspace):
    good, bad = two_runs
    outcome = replay(workspace, "--set", "acc.lower >= 0.9", "--json")
    assert outcome.exit_code == 0
    data = json.loads(outcome.stdout)
    found = {one["run_id"]: (one["before"], one["after"], one["is_changed"]) for one in data["runs"]}
    assert found == {
        good.run_id: ("accepted", "not enough evidence", True),
        bad.run_id: ("rejected", "rejected", False),
    }
    [curve] = data["curves"]
    assert (curve["clause"], curve["threshold"], curve["runs"]) == ("acc.lower >= 0.9", 0.9, 2)
    assert [count for _, count in curve["points"]] == sorted((count for _, count in curve["points"]), reverse=True)


def test_replay_compares_with_the_version_that_was_best_before_the_run(two_runs, workspace):
    good, bad = two_runs
    data = json.loads(replay(workspace, "--set", "acc >= best.acc - 0.5 and worst(recall) >= 0", "--json").stdout)
    reasons = {one["run_id"]: one["verdict"]["clauses"][0]["reason"] for one in data["runs"]}
    assert "no best version yet" in reasons[good.run_id]
    assert "against version 1" in reasons[bad.run_id]


def test_default_is_the_gate_that_the_run_had(two_runs, workspace):
    data = json.loads(replay(workspace, "--set", "default", "--json").stdout)
    assert not any(one["is_changed"] for one in data["runs"])


def test_replay_executes_no_step_and_changes_nothing(two_runs, workspace):
    with Store(workspace) as store:
        before = store.runs.newest(limit=-1)
    files = {path: path.stat().st_mtime_ns for path in workspace.rglob("run.json")}
    assert replay(workspace, "--set", "acc >= 0.1").exit_code == 0
    with Store(workspace) as store:
        assert store.runs.newest(limit=-1) == before
    assert {path: path.stat().st_mtime_ns for path in workspace.rglob("run.json")} == files


def test_run_without_its_predictions_is_named_and_the_rest_is_judged(two_runs, workspace):
    _, bad = two_runs
    digest = bad.step("evaluate").outputs["predictions"]
    with Store(workspace) as store:
        shutil.rmtree(store.artifacts.path(digest))
    data = json.loads(replay(workspace, "--set", "worst(recall) >= 0", "--json").stdout)
    problems = {one["run_id"]: bool(one["problem"]) for one in data["runs"]}
    assert problems[bad.run_id]
    assert sum(problems.values()) == 1


def test_plot_is_written_for_each_clause(two_runs, workspace, tmp_path):
    outcome = replay(workspace, "--set", "acc >= 0.5 and acc.lower >= 0.3", "--plot", str(tmp_path / "curve.svg"))
    assert outcome.exit_code == 0
    for name in ("curve-1.svg", "curve-2.svg"):
        assert (tmp_path / name).read_text().startswith("<svg")
    assert "of 2 verdicts would change" in outcome.stdout


@pytest.mark.representatives(1)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--set", "accu >= 0.5"), "--set: unknown metric 'accu'; did you mean 'acc'?"),
        (("--set", "acc >="), "is not an expression"),
        (("--set", "acc >= 0.5", "--since", "soon"), "expected a duration such as 90d"),
    ],
)
def test_bad_input_is_refused_by_name(two_runs, workspace, arguments, message, capsys):
    code = _exit_code(["--workspace", str(workspace), "gate", "replay", "--usecase", "TOY", *arguments])
    assert code == 2
    assert message in capsys.readouterr().err


def test_older_runs_are_left_out(two_runs, workspace):
    assert len(json.loads(replay(workspace, "--set", "default", "--since", "1d", "--json").stdout)["runs"]) == 2
    assert json.loads(replay(workspace, "--set", "default", "--since", "2999-01-01", "--json").stdout)["runs"] == []


def test_staircase_steps_after_a_point_where_it_falls():
    falling = step_svg([(0.5, 2.0), (0.75, 1.0)], marked=0.5, title="t", x_label="x", y_label="y")
    rising = step_svg([(0.5, 1.0), (0.75, 2.0)], marked=0.5, title="t", x_label="x", y_label="y")
    assert falling != rising
    assert falling.count("<polyline") == rising.count("<polyline") == 1


def test_runs_that_reuse_all_steps_are_judged_once(toy, workspace):
    import mlops_core.trust.replay as subject
    from mlops_core.use_cases.manager import load_use_case

    first = run(toy, workspace=workspace)
    again = run(toy, workspace=workspace)
    other = run(toy, workspace=workspace, parameters={"q_acc": "0.4"})
    computed = []

    def compute():
        metrics = load_use_case(toy).compute_metrics
        return lambda predictions: computed.append(len(predictions.rows)) or metrics(predictions)

    with Store(workspace) as store:
        runs = list(subject.replay_gate(store, toy, "acc[long] >= 0.1", compute=compute))
    assert [one.run_id for one in runs] == [other.run_id, again.run_id, first.run_id]
    assert runs[1].verdict == runs[2].verdict
    assert computed.count(max(computed)) == 2  # the third run has another parameter
