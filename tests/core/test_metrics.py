"""Metrics: values with intervals, declared ranges, and the file that holds an evaluation."""

import json
import math
from dataclasses import replace

import pytest

from mlops_core import (
    ConfusionMatrix,
    Direction,
    FactTable,
    Gate,
    Metric,
    MetricReport,
    MetricValue,
    PipelineError,
    StepError,
    Unit,
    bootstrap_by_group,
    parse_condition,
    proportion,
)
from mlops_core.evaluation.evaluation_file import read_evaluation, write_evaluation
from mlops_core.evaluation.metrics import check_report


def metric(name, maximum=1.0):
    return Metric(name=name, section="m", unit=Unit.FRACTION, minimum=0, maximum=maximum, direction=Direction.HIGHER)


METRICS = (metric("a"), metric("b"), metric("c", math.inf))


def report(**values):
    return MetricReport(values={name: MetricValue(value=value, low=0, high=1) for name, value in values.items()})


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    # Newcombe, Two-sided confidence intervals for the single proportion (1998), table I, method 3 (Wilson).
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_equals_published_values(hits, count, low, high):
    found = proportion(hits, count)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


def test_bootstrap_resamples_groups_not_items():
    items = {str(group): [float(group % 2)] * 50 for group in range(10)}
    found = bootstrap_by_group(items, lambda values: sum(values) / len(values))
    assert found.value == 0.5
    assert found.high - found.low > 0.4  # 500 independent items would give 0.09
    assert found == bootstrap_by_group(items, lambda values: sum(values) / len(values))


def test_evaluation_json_has_the_layout_that_engines_read(tmp_path):
    written = MetricReport(values={"a": proportion(9, 10)}, notes={"clips": 10})
    write_evaluation(tmp_path, written, METRICS)
    data = json.loads((tmp_path / "evaluation.json").read_text())
    assert data["m"]["a"]["value"] == 0.9
    assert data["m"]["a"]["confidence_interval"]["method"] == "wilson"
    assert read_evaluation(tmp_path, METRICS) == written


def test_value_that_is_not_finite_is_null_in_the_file_and_rejected_when_read(tmp_path):
    write_evaluation(tmp_path, report(a=math.nan), METRICS)
    assert "NaN" not in (tmp_path / "evaluation.json").read_text().replace("is NaN", "")
    verdict = Gate(parse_condition("a >= 0")).evaluate(
        read_evaluation(tmp_path, METRICS), metrics=METRICS, parameters={}
    )
    assert not verdict.accepted


@pytest.mark.parametrize("value", ["NaN", "Infinity", '"0.9"', "true", "null", "[1]", "94", "1e999", "1" + "0" * 400])
def test_malformed_value_in_the_file_is_rejected_by_the_gate(tmp_path, value):
    (tmp_path / "evaluation.json").write_text(f'{{"m": {{"a": {{"value": {value}}}}}}}')
    found = read_evaluation(tmp_path, METRICS)
    assert not Gate(parse_condition("a >= 0 or a < 0")).evaluate(found, metrics=METRICS, parameters={}).accepted


def test_undeclared_metric_is_not_written_and_faults_are_listed(tmp_path):
    with pytest.raises(StepError, match="'z' was computed but not declared"):
        write_evaluation(tmp_path, report(z=1.0), METRICS)
    assert check_report(report(a=2.0, b=0.5), METRICS) == (
        "a is 2, outside 0 to 1; a percent where a fraction is expected?",
        "c is missing",
    )


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (0, ""),
        (1, ""),
        (0.5, ""),
        (None, "is missing"),
        (True, "is True, not a number"),
        ("0.5", "is '0.5', not a number"),
        (math.nan, "is NaN"),
        (-math.inf, "is infinite"),
        (-0.25, "is -0.25, outside 0 to 1"),
        (1.5, "is 1.5, outside 0 to 1; a percent where a fraction is expected?"),
        (100, "is 100, outside 0 to 1; a percent where a fraction is expected?"),
        (101, "is 101, outside 0 to 1"),
    ],
)
def test_value_of_a_metric_is_checked(value, fault):
    assert metric("a").fault(value) == fault


def test_percent_is_suspected_only_where_a_fraction_is_expected():
    count = Metric(name="n", section="m", unit=Unit.COUNT, minimum=0, maximum=1, direction=Direction.LOWER)
    assert count.fault(50) == "is 50, outside 0 to 1"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "Acc"}, "metric 'Acc' must consist of lower-case letters"),
        ({"section": "1m"}, "section of a metric '1m' must consist of lower-case letters"),
        ({"minimum": 1.0}, "metric 'a': minimum 1.0 is not below maximum 1.0"),
    ],
)
def test_declaration_that_cannot_be_used_is_refused(changes, message):
    fields = {"name": "a", "section": "m", "minimum": 0.0, "maximum": 1.0}
    with pytest.raises(PipelineError) as caught:
        Metric(unit=Unit.FRACTION, direction=Direction.HIGHER, **{**fields, **changes})
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("limits", [(0, 1), (-math.inf, math.inf), (-2.5, math.inf)])
def test_metric_survives_a_round_trip_through_json(limits):
    declared = Metric(
        name="a", section="m", unit=Unit.SECONDS, minimum=limits[0], maximum=limits[1], direction=Direction.LOWER
    )
    assert Metric.from_json(json.loads(json.dumps(declared.to_json(), allow_nan=False))) == declared


def test_proportion_of_nothing_is_unknown_and_an_impossible_one_is_refused():
    nothing = proportion(0, 0, level=0.9)
    assert math.isnan(nothing.value)
    assert (nothing.low, nothing.high, nothing.level, nothing.method, nothing.count) == (0.0, 1.0, 0.9, "wilson", 0)
    for successes, count in ((2, 1), (-1, 1)):
        with pytest.raises(StepError, match=f"a proportion of {successes} in {count} is impossible"):
            proportion(successes, count)


def test_proportion_at_its_limits_has_an_interval_within_them():
    low, high = proportion(0, 10), proportion(10, 10)
    assert (low.value, low.low, high.value, high.high) == (0.0, 0.0, 1.0, 1.0)
    assert 0.2 < low.high < 0.3
    assert low.high == pytest.approx(1 - high.low)
    assert (high.count, high.method, high.level) == (10, "wilson", 0.95)


def test_wider_level_gives_a_wider_interval():
    narrow, wide = proportion(5, 10, level=0.5), proportion(5, 10, level=0.99)
    assert wide.low < narrow.low < 0.5 < narrow.high < wide.high


def mean(values):
    return sum(values) / len(values)


def test_bootstrap_counts_groups_and_leaves_out_empty_ones():
    value = bootstrap_by_group({"a": [1.0], "b": [0.0], "c": []}, mean, resamples=200, level=0.9)
    assert (value.value, value.low, value.high) == (0.5, 0.0, 1.0)
    assert (value.count, value.level, value.method) == (2, 0.9, "bootstrap")


def test_bootstrap_of_nothing_is_unknown():
    value = bootstrap_by_group({"a": []}, mean)
    assert all(map(math.isnan, (value.value, value.low, value.high)))
    assert (value.count, value.method, value.level) == (0, "bootstrap", 0.95)


def test_bootstrap_takes_the_percentiles_of_the_resampled_statistic():
    """The interval is from the 25 % to the 75 % percentile of the means of all resamples."""
    groups = {str(number): [float(number)] for number in range(20)}
    value = bootstrap_by_group(groups, mean, seed=3, resamples=13, level=0.5)
    means = []
    bootstrap_by_group(groups, lambda items: means.append(mean(items)) or mean(items), seed=3, resamples=13, level=0.5)
    ordered = sorted(means[:13])
    assert (value.low, value.high, value.value) == (ordered[3], ordered[9], 9.5)
    assert value != bootstrap_by_group(groups, mean, seed=4, resamples=13, level=0.5)


def test_confusion_matrix_is_square_and_has_names():
    matrix = ConfusionMatrix(classes=("a", "b"), counts=((3, 1), (0, 2)))
    assert matrix.is_square
    assert matrix.by_name() == {"a": {"a": 3, "b": 1}, "b": {"a": 0, "b": 2}}
    assert not ConfusionMatrix(classes=("a", "b"), counts=((3, 1),)).is_square
    assert not ConfusionMatrix(classes=("a", "b"), counts=((3,), (2,))).is_square


def full_report():
    return MetricReport(
        values={
            "a": MetricValue(value=0.5, low=0.25, high=0.75, level=0.9, method="bootstrap", count=7),
            "b": MetricValue(value=0.5, low=0.25, high=0.75, standard_deviation=0.125),
            "c": MetricValue(value=2, low=math.nan, high=math.inf),
        },
        confusion_matrices={"sample": ConfusionMatrix(classes=("x", "y"), counts=((3, 1), (0, 2)), section="m")},
        notes={"clips": 6, "fold": "first", "share": 0.5},
        tables=(FactTable(title="folds", columns=("fold", "acc"), rows=(("1", 0.5), ("2", 1))),),
    )


def test_whole_evaluation_survives_a_round_trip(tmp_path):
    write_evaluation(tmp_path, full_report(), METRICS)
    again = read_evaluation(tmp_path, METRICS)
    values = full_report().values
    assert {name: value for name, value in again.values.items() if name != "c"} == {
        name: value for name, value in values.items() if name != "c"
    }
    assert again.values["c"].value == 2
    assert (again.confusion_matrices, again.notes, again.tables) == (
        full_report().confusion_matrices,
        full_report().notes,
        full_report().tables,
    )


def test_evaluation_is_strict_json_with_reasons(tmp_path):
    write_evaluation(tmp_path, MetricReport(values={"a": MetricValue(value=math.inf, low=0, high=math.inf)}), METRICS)
    text = (tmp_path / "evaluation.json").read_text()
    data = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert data["format"] == "mlops-evaluation/1"
    assert data["m"]["a"]["value"] is None
    assert data["m"]["a"]["confidence_interval"]["high"] is None


@pytest.mark.parametrize("text", ["", "[1, 2]", "{", '{"m": 3}', '{"m": {"a": 3}}', "\x00"])
def test_damaged_evaluation_is_never_accepted(tmp_path, text):
    (tmp_path / "evaluation.json").write_text(text)
    gate = Gate(parse_condition("a >= 0 or a < 0"))
    try:
        is_accepted = gate.evaluate(read_evaluation(tmp_path, METRICS), metrics=METRICS, parameters={}).accepted
    except StepError:
        is_accepted = False
    assert not is_accepted


def test_missing_evaluation_is_named(tmp_path):
    with pytest.raises(StepError, match="evaluation.json"):
        read_evaluation(tmp_path, METRICS)


@pytest.mark.parametrize("tolerance", [-0.1, math.nan, math.inf, True, "0.1", None])
def test_a_tolerance_that_is_not_a_number_from_zero_is_refused(tolerance):
    with pytest.raises(
        PipelineError, match="metric 'a': tolerance .* is not valid; expected a finite number, 0 or more"
    ):
        replace(METRICS[0], tolerance=tolerance)


def test_a_tolerance_passes_through_json_and_none_is_written_as_before():
    assert Metric.from_json(replace(METRICS[0], tolerance=0.05).to_json()).tolerance == 0.05
    assert "tolerance" not in METRICS[0].to_json()
    assert Metric.from_json(METRICS[0].to_json()) == METRICS[0]
