"""The evaluation of predictions in groups: intervals that count groups, and the metrics of each group."""

import json
import random
from dataclasses import replace

import pytest

from mlops_core import (
    Direction,
    Metric,
    MetricReport,
    MetricValue,
    PluginError,
    Prediction,
    Predictions,
    Unit,
    bootstrap_by_group,
    proportion,
    proportion_by_group,
)
from mlops_core.evaluation.evaluation_file import read_evaluation, write_evaluation
from mlops_core.steps.evaluation import evaluate_predictions

ACC = Metric(name="acc", section="s", unit=Unit.FRACTION, minimum=0, maximum=1, direction=Direction.HIGHER)
ERROR = Metric(name="error", section="s", unit=Unit.NONE, minimum=0, maximum=9, direction=Direction.LOWER)


def predictions(groups, *, parts=False):
    """Return predictions with the given hits of each group; with `parts`, a group is one sample with many parts."""
    rows = tuple(
        Prediction(
            sample=name if parts else f"{name}-{number}",
            part=number if parts else 0,
            group=name,
            label="yes",
            scores=(1 - hit, float(hit)),
        )
        for name, hits in groups.items()
        for number, hit in enumerate(hits)
    )
    return Predictions(classes=("no", "yes"), rows=rows)


def speakers(count=20, size=50, seed=1):
    draw = random.Random(seed)
    rates = [draw.betavariate(3, 1) for _ in range(count)]
    return {f"speaker {at:02d}": [draw.random() < rate for _ in range(size)] for at, rate in enumerate(rates)}


def by_sample(found):
    hits = [row.scores[1] > 0.5 for row in found.rows]
    return MetricReport(values={"acc": proportion(sum(hits), len(hits))})


def test_an_interval_that_counts_samples_is_replaced_by_one_that_counts_groups():
    groups = speakers()
    report = evaluate_predictions(predictions(groups), by_sample, metrics=[ACC])
    value, expected = report.values["acc"], proportion_by_group(groups)
    assert value.value == expected.value
    assert (value.low, value.high) == pytest.approx((expected.low, expected.high), abs=1e-6)
    assert (value.method, value.count, value.groups) == ("wilson by group", 1000, 20)
    narrow = by_sample(predictions(groups)).values["acc"]
    assert value.high - value.low > 2 * (narrow.high - narrow.low)


def test_more_groups_than_blocks_give_about_the_same_interval():
    groups = speakers(count=80, size=10)
    value = evaluate_predictions(predictions(groups), by_sample, metrics=[ACC]).values["acc"]
    expected = proportion_by_group(groups)
    assert value.high - value.low == pytest.approx(expected.high - expected.low, rel=0.25)


@pytest.mark.parametrize("groups", [{"a": [1], "b": [0], "c": [1]}, {}])
def test_samples_without_groups_keep_their_interval(groups):
    found = predictions(groups)
    report = evaluate_predictions(found, by_sample, metrics=[ACC])
    assert repr(report) == repr(by_sample(found))


def test_parts_of_a_sample_are_not_independent_either_and_are_not_listed():
    groups = speakers()
    report = evaluate_predictions(predictions(groups, parts=True), by_sample, metrics=[ACC])
    assert report.values["acc"].groups == 20
    assert report.groups is None


def test_an_interval_by_group_is_the_plugins_own():
    def compute(found):
        groups = {name: [row.scores[1] > 0.5 for row in found.rows if row.group == name] for name in speakers()}
        mean = bootstrap_by_group(groups, lambda items: sum(items) / len(items), resamples=50)
        return MetricReport(values={"acc": mean, "error": MetricValue(value=1, low=1, high=1)})

    found = predictions(speakers())
    assert evaluate_predictions(found, compute, metrics=[ACC, ERROR]).values == compute(found).values


def test_a_bootstrap_of_samples_is_replaced_too():
    def compute(found):
        items = {row.sample: [row.scores[1]] for row in found.rows}
        return MetricReport(
            values={"error": bootstrap_by_group(items, lambda all_: sum(all_) / len(all_), resamples=50)}
        )

    groups = speakers()
    value = evaluate_predictions(predictions(groups), compute, metrics=[ERROR]).values["error"]
    expected = proportion_by_group(groups)
    assert (value.method, value.groups) == ("jackknife by group", 20)
    assert value.high - value.low == pytest.approx(expected.high - expected.low, rel=0.1)


def test_a_metric_that_needs_all_groups_has_a_wide_interval_or_none():
    def compute(found):
        if len({row.group for row in found.rows}) < 5:
            raise PluginError("too few speakers")
        count = len(found.rows)
        wilson = proportion(sum(row.scores[1] > 0.5 for row in found.rows), count)
        return MetricReport(values={"acc": wilson, "error": replace(wilson, method="bootstrap")})

    report = evaluate_predictions(predictions(speakers(count=5)), compute, metrics=[ACC, ERROR])
    acc, error = report.values["acc"], report.values["error"]
    assert acc.high - acc.low > 0.5
    assert error.method == "none"
    assert error.low != error.low
    assert report.groups.metrics == {}


def test_the_metrics_of_each_group_are_written_and_read_back(tmp_path):
    report = evaluate_predictions(predictions({"a": [1, 1, 1, 0], "b": [0, 1]}), by_sample, metrics=[ACC, ERROR])
    assert (report.groups.count, report.groups.samples) == (2, 6)
    assert {name: (one.samples, dict(one.values)) for name, one in report.groups.metrics.items()} == {
        "a": (4, {"acc": 0.75}),
        "b": (2, {"acc": 0.5}),
    }
    write_evaluation(tmp_path, report, [ACC, ERROR])
    data = json.loads((tmp_path / "evaluation.json").read_text())
    assert data["s"]["acc"]["groups"] == 2
    assert data["test_groups"]["metrics"]["a"] == {"samples": 4, "values": {"acc": 0.75}}
    assert read_evaluation(tmp_path, [ACC]) == replace(report, notes={})


def test_of_many_groups_the_largest_are_kept():
    groups = {f"g{number}": [1] * (2 + number % 2) for number in range(300)}
    found = evaluate_predictions(predictions(groups), by_sample, metrics=[ACC]).groups
    assert (found.count, len(found.metrics)) == (300, 200)
    assert sum(one.samples == 3 for one in found.metrics.values()) == 150


@pytest.mark.parametrize("damaged", [3, {"count": 2}, {"count": 1, "samples": 1, "metrics": {"a": {"samples": "x"}}}])
def test_groups_that_were_changed_by_hand_are_left_out(tmp_path, damaged):
    (tmp_path / "evaluation.json").write_text(json.dumps({"test_groups": damaged}))
    assert read_evaluation(tmp_path, []).groups is None
