"""Metrics of known predictions, their place in the result file, and the gate."""

import json

import pytest
from mlops_image_classification.metrics import best_class, calibration_error, compute_metrics

from mlops_core import Prediction, Predictions, load_use_case
from mlops_core.evaluation.evaluation_file import write_evaluation

CLASSES = ("a", "b", "c")


def predictions(*rows):
    """Return predictions of rows given as (group, label, scores)."""
    return Predictions(
        classes=CLASSES,
        rows=tuple(
            Prediction(sample=str(k), group=group, label=label, scores=scores)
            for k, (group, label, scores) in enumerate(rows)
        ),
    )


def sure(name):
    return tuple(float(name == other) for other in CLASSES)


# a: 2 of 3 found, b: 1 of 1, c: 0 of 1 (taken for a)
KNOWN = predictions(
    ("1", "a", sure("a")), ("2", "a", sure("a")), ("3", "a", sure("b")), ("4", "b", sure("b")), ("5", "c", sure("a"))
)


def test_metrics_of_known_predictions():
    result = {name: value.value for name, value in compute_metrics(KNOWN, "SCENE").values.items()}
    assert result == pytest.approx(
        {
            "accuracy": 3 / 5,
            "macro_f1": (4 / 6 + 2 / 3 + 0) / 3,
            "macro_recall": (2 / 3 + 1 + 0) / 3,
            "lowest_recall": 0.0,
            "ece": 2 / 5,
        }
    )
    report = compute_metrics(KNOWN, "SCENE")
    assert report.confusion_matrices["test"].counts == ((2, 1, 0), (0, 1, 0), (1, 0, 0))
    assert {name: report.notes[f"recall {name}"] for name in CLASSES} == {"a": 0.666667, "b": 1.0, "c": 0.0}


def test_the_accuracy_of_ungrouped_pictures_has_a_wilson_interval_and_the_binomial_deviation():
    value = compute_metrics(KNOWN, "SCENE").values["accuracy"]
    assert value.method == "wilson"
    assert value.standard_deviation == pytest.approx((0.6 * 0.4 / 5) ** 0.5)


def test_pictures_of_one_track_count_as_one_draw():
    rows = [(str(k // 10), "a", sure("a" if k < 50 else "b")) for k in range(100)]
    value = compute_metrics(predictions(*rows), "ROAD_SIGN").values["accuracy"]
    assert (value.method, value.count, value.groups) == ("wilson by group", 100, 10)
    assert value.standard_deviation == pytest.approx((0.25 / 10) ** 0.5)  # ten draws, not a hundred
    assert value.high - value.low > 0.4


def test_the_calibration_error_is_the_mean_distance_between_confidence_and_accuracy():
    assert calibration_error([(0, 0, 0.8)] * 8 + [(1, 0, 0.8)] * 2) == pytest.approx(0)
    assert calibration_error([(0, 0, 0.9)] * 5 + [(1, 0, 0.9)] * 5) == pytest.approx(0.4)
    assert calibration_error([(0, 0, 1.0), (1, 0, 0.5)]) == pytest.approx(0.25)
    assert calibration_error([]) == 0


def test_ties_are_broken_by_the_order_of_the_classes():
    assert best_class([0.4, 0.4, 0.2]) == 0
    assert best_class([0.2, 0.4, 0.4]) == 1


@pytest.mark.parametrize(
    ("use_case", "section"),
    [("ROAD_SIGN", "classification_metrics"), ("SCENE", "multiclass_classification_metrics")],
)
def test_the_result_file_has_the_layout_that_existing_systems_read(tmp_path, use_case, section):
    result = load_use_case(use_case)
    report = result.compute_metrics(KNOWN)
    write_evaluation(tmp_path, report, result.metrics(result.load_config().model))
    data = json.loads((tmp_path / "evaluation.json").read_text())
    assert data[section]["accuracy"]["value"] == 0.6
    assert data[section]["accuracy"]["standard_deviation"] == pytest.approx(0.219, abs=0.001)
    assert data[section]["confusion_matrix"]["a"] == {"a": 2, "b": 1, "c": 0}
    assert not {"classification_metrics", "multiclass_classification_metrics"} - {section} & data.keys()


def verdict(use_case, result):
    loaded = load_use_case(use_case)
    config = loaded.load_config().model
    pipeline = loaded.pipeline(config)
    parameters = {item.name: item.default for item in pipeline.parameters}
    return pipeline.gate.evaluate(loaded.compute_metrics(result), metrics=pipeline.metrics, parameters=parameters)


def accurate(percent):
    return predictions(*[(str(k), "a", sure("a" if k < percent else "b")) for k in range(100)])


def test_the_gates_are_at_0_9_and_at_the_configured_value():
    assert verdict("ROAD_SIGN", accurate(90)).accepted
    assert verdict("ROAD_SIGN", accurate(89)).message == "Execution failed due to accuracy < 0.9"
    assert verdict("SCENE", accurate(75)).accepted
    assert verdict("SCENE", accurate(74)).message == "Execution failed due to accuracy < 0.75"
    scene = load_use_case("SCENE")
    config = scene.load_config(overrides=["gate.accuracy=0.95"]).model
    assert [item.default for item in scene.pipeline(config).parameters] == [0.95]
