"""Stored predictions of numbers: intervals beside them, and what cannot be a prediction of a number."""

import json
import math

import pytest

from mlops_core.errors import StepError
from mlops_core.evaluation.evaluation_file import read_evaluation, write_evaluation
from mlops_core.evaluation.metrics import Direction, Metric, MetricReport, MetricValue, Unit
from mlops_core.predictions import (
    Prediction,
    Predictions,
    digest_test_set,
    merge_predictions,
    read_predictions,
    write_predictions,
)
from mlops_core.predictors import Interval

INTERVAL = Interval(low=7.5, high=12.0, level=0.9)


def number(sample="row 1", label=9.0, score=9.4, interval=INTERVAL):
    return Prediction(sample=sample, group=sample, label=label, scores=(score,), interval=interval)


def test_a_number_with_its_interval_is_read_as_it_was_written(tmp_path):
    rows = (number(), number("row 2", interval=None))
    write_predictions(tmp_path, (), rows)
    assert read_predictions(tmp_path).rows == rows


def test_a_row_without_an_interval_has_no_key_for_it(tmp_path):
    write_predictions(tmp_path, (), [number(interval=None)])
    row = json.loads((tmp_path / "predictions.jsonl").read_text().splitlines()[1])
    assert set(row) == {"sample", "part", "group", "label", "scores"}


def test_intervals_survive_the_merge_of_shards(tmp_path):
    parts = [tmp_path / name for name in ("a", "b")]
    for part, sample in zip(parts, ("row 2", "row 1"), strict=True):
        part.mkdir()
        write_predictions(part, (), [number(sample)])
    merge_predictions(parts, tmp_path)
    assert [(row.sample, row.interval) for row in read_predictions(tmp_path).rows] == [
        ("row 1", INTERVAL),
        ("row 2", INTERVAL),
    ]


@pytest.mark.parametrize("label", [math.nan, math.inf, "nine", True])
def test_a_label_without_classes_must_be_a_finite_number(tmp_path, label):
    with pytest.raises(StepError, match="prediction of 'row 1' has the label .*finite number"):
        write_predictions(tmp_path, (), [number(label=label)])


def test_an_interval_around_a_class_is_refused(tmp_path):
    row = Prediction(sample="a", group="a", label="x", scores=(0.5, 0.5), interval=INTERVAL)
    with pytest.raises(StepError, match="'a' has an interval"):
        write_predictions(tmp_path, ("x", "y"), [row])


@pytest.mark.parametrize("interval", ["[1, 2]", "[3, 2, 0.9]", "[1, 2, 1.5]", '"wide"', "null"])
def test_a_damaged_interval_is_named_with_its_line(tmp_path, interval):
    header = '{"format": "mlops-predictions/1", "classes": []}'
    row = f'{{"sample": "a", "part": 0, "group": "a", "label": 1.0, "scores": [1.0], "interval": {interval}}}'
    (tmp_path / "predictions.jsonl").write_text(f"{header}\n{row}\n")
    with pytest.raises(StepError, match="line 2.*is not a prediction"):
        read_predictions(tmp_path)


@pytest.mark.parametrize(("low", "high", "level"), [(2, 1, 0.9), (math.nan, 1, 0.9), (1, math.inf, 0.9), (1, 2, 90)])
def test_impossible_interval_is_refused(low, high, level):
    with pytest.raises(ValueError, match="^interval "):
        Interval(low=low, high=high, level=level)


def test_a_standard_deviation_is_written_with_the_value_and_read_back(tmp_path):
    metric = Metric(
        name="mse",
        section="regression_metrics",
        unit=Unit.TARGET_SQUARED,
        minimum=0,
        maximum=math.inf,
        direction=Direction.LOWER,
    )
    value = MetricValue(value=4.5, low=4.0, high=5.0, count=10, standard_deviation=2.1)
    write_evaluation(tmp_path, MetricReport(values={"mse": value}), [metric])
    data = json.loads((tmp_path / "evaluation.json").read_text())
    assert data["regression_metrics"]["mse"]["standard_deviation"] == 2.1
    assert read_evaluation(tmp_path, [metric]).values["mse"] == value


def test_facts_of_a_model_travel_with_its_predictions(tmp_path):
    row = Prediction(sample="a", group="g", label="x", scores=(1.0, 0.0))
    write_predictions(tmp_path, ("x", "y"), [row], facts={"flash_bytes": 1024})
    merge_predictions((tmp_path,), tmp_path)
    assert read_predictions(tmp_path).facts == {"flash_bytes": 1024}
    text = (tmp_path / "predictions.jsonl").read_text().replace("1024", '"much"')
    (tmp_path / "predictions.jsonl").write_text(text)
    with pytest.raises(StepError, match="are not finite numbers"):
        read_predictions(tmp_path)


def test_predictions_survive_a_round_trip(tmp_path):
    rows = [Prediction(sample="ü.wav", part=1, group="g", label="x", scores=(0.25, 0.75))]
    write_predictions(tmp_path, ("x", "y"), rows)
    assert list(read_predictions(tmp_path).rows) == rows


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scores": (1.0,)}, "1 scores; expected 2"),
        ({"scores": (math.nan, 0.0)}, "not finite"),
        ({"label": "z"}, "none of"),
    ],
)
def test_bad_prediction_is_not_written(tmp_path, changes, message):
    row = Prediction(**{"sample": "s", "group": "g", "label": "x", "scores": (1.0, 0.0), **changes})
    with pytest.raises(StepError, match=message):
        write_predictions(tmp_path, ("x", "y"), [row])
    assert not (tmp_path / "predictions.jsonl").exists()


@pytest.mark.parametrize("text", ["", "{}", '{"format":"mlops-predictions/1","classes":[]}\n{"a":1}\n', "\x00"])
def test_damaged_predictions_file_is_named_with_its_line(tmp_path, text):
    (tmp_path / "predictions.jsonl").write_text(text)
    with pytest.raises(StepError, match=r"predictions.jsonl \(line [12]\)"):
        read_predictions(tmp_path)


def part_of(sample, *, part=0, group="g", label="x", model=""):
    return Prediction(sample=sample, part=part, group=group, label=label, scores=(1.0, 0.0), model=model)


def test_rows_of_a_compared_model_are_read_as_they_were_written_and_merged_after_the_evaluated_ones(tmp_path):
    rows = [part_of("a", model="float"), part_of("a"), part_of("b")]
    write_predictions(tmp_path, ("x", "y"), rows)
    assert list(read_predictions(tmp_path).rows) == rows
    merge_predictions((tmp_path,), tmp_path)
    assert list(read_predictions(tmp_path).rows) == [rows[1], rows[2], rows[0]]


def digest(*rows):
    return digest_test_set(Predictions(classes=("x", "y"), rows=rows))


def test_a_test_set_is_the_same_whatever_parts_and_models_are_scored():
    expected = digest(part_of("a"), part_of("b", label="y"))
    assert digest(part_of("b", label="y"), part_of("a"), part_of("a", part=1)) == expected
    assert digest(part_of("a"), part_of("b", label="y"), part_of("a", model="float")) == expected


@pytest.mark.parametrize(
    "rows",
    [
        (part_of("a"),),
        (part_of("a"), part_of("c", label="y")),
        (part_of("a"), part_of("b", label="x")),
        (part_of("a"), part_of("b", label="y", group="h")),
        (part_of("a"), part_of("b", label="y"), part_of("b", label="x")),
    ],
)
def test_other_samples_groups_and_labels_are_another_test_set(rows):
    assert digest(*rows) != digest(part_of("a"), part_of("b", label="y"))
