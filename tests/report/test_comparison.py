"""Comparison of two runs, as data and in a terminal."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
from click.testing import CliRunner

from mlops_core.cli import cli
from mlops_core.errors import UsageError
from mlops_core.evaluation.comparability import TEST_SET_NOTE
from mlops_core.evaluation.metrics import Direction, Metric, MetricReport, MetricValue, Unit
from mlops_core.report.comparison import Judgement, compare_runs, flatten_yaml, incomparable_metrics
from mlops_core.report.facts import Missing, RunFacts
from mlops_core.workspace.records import DatasetRecord, RunRecord, RunStatus, StepRecord

HIGHER = Metric(name="acc", section="s", unit=Unit.FRACTION, minimum=0, maximum=1, direction=Direction.HIGHER)
LOWER = Metric(name="loss", section="s", unit=Unit.NONE, minimum=0, maximum=9, direction=Direction.LOWER)


def facts(tmp_path, values=None, *, test_set="same", **changes):
    fields = {
        "run_id": "r",
        "use_case": "U",
        "plugin": "p 1",
        "runner": "local",
        "status": RunStatus.ACCEPTED,
        "created": "",
        "seed": 0,
        "parameters": {},
        "config": "",
        "pipeline": {},
    }
    notes = {TEST_SET_NOTE: test_set} if test_set else {}
    return RunFacts(
        record=RunRecord(**{**fields, **changes}),
        metrics=(HIGHER, LOWER),
        evaluation=MetricReport(values=values, notes=notes) if values is not None else Missing("none"),
        folder=tmp_path,
    )


def value(number, half=0.1):
    return MetricValue(value=number, low=number - half, high=number + half, method="wilson")


def test_change_is_judged_by_direction_and_intervals(tmp_path):
    compared = compare_runs(
        facts(tmp_path, {"acc": value(0.6), "loss": value(2)}), facts(tmp_path, {"acc": value(0.7), "loss": value(4)})
    )
    acc, loss = compared.metrics
    assert (acc.judgement, acc.is_within_intervals) == (Judgement.BETTER, True)
    assert acc.change == pytest.approx(0.1)
    assert (loss.judgement, loss.is_within_intervals) == (Judgement.WORSE, False)
    assert compared.is_same_test_set is True


def test_value_that_one_run_lacks_is_not_comparable(tmp_path):
    compared = compare_runs(facts(tmp_path), facts(tmp_path, {"acc": value(float("nan")), "loss": value(1)}))
    assert [entry.judgement for entry in compared.metrics] == [Judgement.UNKNOWN] * 2
    assert [entry.change for entry in compared.metrics] == [None] * 2
    assert compared.is_same_test_set is None
    assert json.loads(json.dumps(compared.to_json(), allow_nan=False))["metrics"]["acc"]["later"] is None


def test_other_samples_are_a_different_test_set_and_nothing_is_judged(tmp_path):
    earlier, later = facts(tmp_path, {"acc": value(0.6)}), facts(tmp_path, {"acc": value(0.4)}, test_set="other")
    compared = compare_runs(earlier, later)
    assert compared.is_same_test_set is False
    acc = compared.metric("acc")
    assert (acc.judgement, acc.change, acc.is_within_intervals) == (Judgement.UNKNOWN, None, None)
    document = compared.to_json()
    assert document["metrics"]["acc"]["judgement"] == "not comparable"
    assert document["incomparable"] == {"acc": "one was evaluated on another test set than the other"}


@pytest.mark.parametrize(
    ("earlier", "later", "reason"),
    [
        ({}, {"test_set": None}, "it is not known on which test set they were evaluated"),
        ({}, {"use_case": "V"}, "they belong to different use cases, U and V"),
    ],
)
def test_values_that_may_mean_something_else_are_not_judged(tmp_path, earlier, later, reason):
    values = {"acc": value(0.6)}
    compared = compare_runs(facts(tmp_path, values, **earlier), facts(tmp_path, values, **later))
    assert compared.metric("acc").judgement is Judgement.UNKNOWN
    assert compared.incomparabilities() == {reason: ("acc",)}


def test_a_metric_whose_direction_was_changed_is_not_judged(tmp_path):
    earlier = facts(tmp_path, {"acc": value(0.6)})
    turned = replace(HIGHER, direction=Direction.LOWER)
    later = replace(facts(tmp_path, {"acc": value(0.9)}), metrics=(turned, LOWER))
    assert compare_runs(earlier, later).metric("acc").judgement is Judgement.UNKNOWN


def test_values_that_were_computed_with_other_settings_are_not_judged(tmp_path):
    defined = replace(HIGHER, defined_by=("overlap",))
    assert Metric.from_json(json.loads(json.dumps(defined.to_json()))) == defined
    assert "defined_by" not in HIGHER.to_json()

    def run(overlap):
        found = replace(facts(tmp_path, {"acc": value(0.6), "loss": value(1)}), metrics=(defined, LOWER))
        notes = {**found.evaluation.notes, **({"overlap": overlap} if overlap else {})}
        return replace(found, evaluation=replace(found.evaluation, notes=notes))

    compared = compare_runs(run(0.5), run(0.75))
    assert compared.incomparabilities() == {"one was computed with overlap 0.5, the other with overlap 0.75": ("acc",)}
    assert compared.metric("loss").judgement is Judgement.EQUAL
    assert compare_runs(run(0.5), run(0.5)).metric("acc").judgement is Judgement.EQUAL
    assert compare_runs(run(None), run(0.5)).metric("acc").judgement is Judgement.EQUAL


def test_several_runs_are_comparable_in_a_metric_where_each_two_of_them_are(tmp_path):
    same, other = facts(tmp_path, {"acc": value(0.6)}), facts(tmp_path, {"acc": value(0.9)}, test_set="other")
    assert incomparable_metrics([same, same]) == {}
    assert incomparable_metrics([same, facts(tmp_path), same]) == {}
    assert incomparable_metrics([same, same, other]) == {"acc": "one was evaluated on another test set than the other"}
    unknown = facts(tmp_path, {"acc": value(0.6)}, test_set=None)
    assert incomparable_metrics([unknown, unknown]) == {"acc": "it is not known on which test set they were evaluated"}


def test_each_group_contains_exactly_its_differences(tmp_path):
    data = DatasetRecord(name="d", path="/one", digest="1" * 64, files=3, size_bytes=9)
    step = StepRecord(name="train", key_components={"code m": "1", "input x": "1", "seed": "0"})
    earlier = facts(tmp_path, config="a: {b: 1, c: [1]}\n", parameters={"q": 0.5}, dataset=data, steps=(step,))
    moved = DatasetRecord(name="d", path="/two", digest="2" * 64, files=3, size_bytes=9)
    changed = StepRecord(name="train", key_components={"code m": "2", "input x": "2", "seed": "1"})
    later = facts(
        tmp_path,
        config="a:\n  c: [1]\n  b: 2\nd: {}\n",
        parameters={"q": 0.9},
        dataset=moved,
        steps=(changed,),
        seed=1,
        environment={"python": "3"},
    )
    groups = compare_runs(earlier, later).groups
    assert {name: [(d.name, d.earlier, d.later) for d in differences] for name, differences in groups.items()} == {
        "origin": [("seed", "0", "1")],
        "parameters": [("q", "0.5", "0.9")],
        "configuration": [("a.b", "1", "2"), ("d", "", "{}")],
        "data": [("digest", "1" * 64, "2" * 64)],
        "code": [("code m", "1", "2")],
        "environment": [("python", "", "3")],
    }
    assert not any(compare_runs(later, later).groups.values())


def test_configuration_that_is_not_yaml_is_compared_as_text():
    assert flatten_yaml("a: [") == {"(text)": "a: ["}
    assert flatten_yaml("") == {}
    assert flatten_yaml("a: {b: {c: null}}") == {"a.b.c": "null"}


# --- In a terminal ----------------------------------------------------------------------------------------


def call(gallery, *arguments):
    workspace, _ = gallery
    return CliRunner().invoke(cli, ["--workspace", str(workspace), "runs", *arguments])


def test_compare_prints_metrics_differences_and_unchanged_groups(gallery):
    _, ids = gallery
    out = call(gallery, "compare", ids["first"], ids["accepted"]).output
    assert f"A: run {ids['first']}\nB: run {ids['accepted']}\n" in out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "acc 0.8 0.9 +0.1 better, but the intervals overlap" in lines
    assert "mistakes 16 8 -8 better" in lines
    assert "configuration training.skill 0.8 0.9" in lines
    assert "unchanged: origin, parameters, data, code, environment" in out


def test_compare_defaults_to_the_latest_run_and_prints_json(gallery):
    _, ids = gallery
    comparison = json.loads(call(gallery, "compare", ids["rejected"], "--json").output)
    assert (comparison["earlier"], comparison["later"]) == (ids["rejected"], ids["failed"])
    assert comparison["metrics"]["acc"] == {
        "earlier": 0.8,
        "later": None,
        "change": None,
        "judgement": "not comparable",
        "is_within_intervals": None,
    }
    assert comparison["differences"]["configuration"] == [
        {"name": "training.behaviour", "earlier": "normal", "later": "raise"}
    ]


def test_compare_refuses_an_unknown_run(gallery):
    assert isinstance(call(gallery, "compare", "nope").exception, UsageError)


@pytest.fixture
def own_gallery(gallery, tmp_path):
    """A copy of the gallery that a test may change."""
    workspace, ids = gallery
    return shutil.copytree(workspace, tmp_path / "copy"), ids


def test_report_rewrites_the_page_and_prints_its_path(own_gallery):
    workspace, ids = own_gallery
    path = workspace / "runs" / ids["accepted"] / "report.html"
    path.unlink()
    result = call(own_gallery, "report", ids["accepted"][:-2])
    assert result.output == f"{path}\n"
    assert path.read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(("answer", "code"), [("true", 0), ("false", 2)])
def test_report_opens_the_page_in_the_browser_of_the_environment(own_gallery, tmp_path, answer, code):
    workspace, ids = own_gallery
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n{answer}\n')
    browser.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", "from mlops_core.cli import main; main()", "runs", "report", "latest", "--open"],
        env={"PATH": "", "BROWSER": f"{browser} %s", "MLOPS_HOME": str(workspace)},
        capture_output=True,
        text=True,
        check=False,
    )
    path = workspace / "runs" / ids["failed"] / "report.html"
    assert (done.returncode, done.stdout) == (code, f"{path}\n")
    assert (tmp_path / "opened").read_text() == f"{path.as_uri()}\n"
    assert ("no web browser could be started; open" in done.stderr) is (code == 2)
