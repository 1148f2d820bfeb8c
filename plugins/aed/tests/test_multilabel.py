"""Several labels per clip: mAP and d-prime against their definitions, and the predictions file."""

import json
import math

import numpy as np
import pytest
from mlops_aed.data.feature_store import PatchRow
from mlops_aed.data.synthetic_fsd50k import PARENTS
from mlops_aed.evaluation.multilabel import (
    METRICS,
    area_under_curve,
    average_precision,
    clip_predictions,
    compute_metrics,
    multi_hot,
)
from mlops_aed.evaluation.votes import FLOAT_MODEL
from mlops_aed.training.head import PENALTIES, choose_penalty, fit_head

import mlops_core
from mlops_core import ConfigError, Prediction, Predictions, load_use_case, read_predictions, write_predictions
from mlops_core.evaluation.metrics import check_report


def rows(labels, patches=2):
    return [
        PatchRow(index=0, part="test", label=label, group=f"g{n}", clip=f"{n}.wav", patch=patch)
        for n, label in enumerate(labels)
        for patch in range(patches)
    ]


def test_average_precision_is_the_mean_precision_at_each_hit():
    scores, truth = np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, False])
    assert average_precision(scores, truth) == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert average_precision(-scores, truth) == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert average_precision(np.zeros(4), truth) == pytest.approx(0.5)  # all equal: the share of hits


def test_the_area_under_the_curve_is_the_share_of_pairs_in_order():
    draw = np.random.default_rng(0)
    scores, truth = np.round(draw.uniform(size=60), 1), draw.uniform(size=60) < 0.3
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[truth] for b in scores[~truth]]
    assert area_under_curve(scores, truth) == pytest.approx(np.mean(pairs))


def test_labels_become_targets_of_one_or_several_classes():
    np.testing.assert_array_equal(multi_hot(["b", "a|c"], ("a", "b", "c")), [[0, 1, 0], [1, 0, 1]])


def test_metrics_survive_the_predictions_file(tmp_path):
    draw = np.random.default_rng(1)
    labels = [("a", "b", "c", "a|b", "b|c")[n % 5] for n in range(60)]
    classes = ("a", "b", "c")
    scores = np.repeat(multi_hot(labels, classes), 2, axis=0) + draw.normal(0, 0.8, (120, 3))
    write_predictions(tmp_path, classes, clip_predictions(rows(labels), scores))
    report = compute_metrics(read_predictions(tmp_path))
    mean = scores.reshape(60, 2, 3).mean(axis=1)
    truth = multi_hot(labels, classes) > 0
    areas = [area_under_curve(mean[:, k], truth[:, k]) for k in range(3)]
    expected = np.mean([average_precision(mean[:, k], truth[:, k]) for k in range(3)])
    assert report.values["map"].value == pytest.approx(expected, abs=1e-4)
    area = 0.5 * (1 + math.erf(report.values["d_prime"].value / 2))  # the definition, turned round
    assert area == pytest.approx(np.mean(areas), abs=1e-4)
    for value in report.values.values():
        assert value.low < value.value < value.high
        assert value.count == 60
    assert report.notes["labels"] == 84
    assert check_report(report, METRICS) == ()


def test_a_perfect_ranking_has_a_finite_d_prime_and_a_class_without_clips_is_left_out():
    labels = ["a", "b"] * 10
    scores = np.repeat(multi_hot(labels, ("a", "b", "c")), 2, axis=0)
    report = compute_metrics(Predictions(classes=("a", "b", "c"), rows=tuple(clip_predictions(rows(labels), scores))))
    assert report.values["map"].value == 1.0
    assert 3 < report.values["d_prime"].value < 10
    assert report.notes["classes_ranked"] == 2


def test_one_class_in_all_clips_cannot_be_ranked_and_fails_a_gate():
    scores = np.ones((4, 1))
    report = compute_metrics(Predictions(classes=("a",), rows=tuple(clip_predictions(rows(["a", "a"]), scores))))
    assert math.isnan(report.values["map"].value)
    assert check_report(report, METRICS)


def test_rows_that_contradict_each_other_are_refused():
    contradiction = tuple(
        Prediction(sample="x", part=n, group="x", label="a", scores=(float(n), 0.0)) for n in range(2)
    )
    with pytest.raises(ValueError, match="'x' have different scores"):
        compute_metrics(Predictions(classes=("a", "b"), rows=contradiction))


def test_the_table_names_every_class_and_what_cannot_be_ranked():
    labels = ["a", "b"] * 10
    scores = np.repeat(multi_hot(labels, ("a", "b", "c")), 2, axis=0)
    report = compute_metrics(Predictions(classes=("a", "b", "c"), rows=tuple(clip_predictions(rows(labels), scores))))
    (table,) = report.tables
    assert table.rows == (("a", 10, 1.0, 1.0), ("b", 10, 1.0, 1.0), ("c", 0, "-", "-"))


def test_a_quantized_model_is_compared_with_the_float_one():
    labels = ["a", "b"] * 20
    draw = np.random.default_rng(0)
    good = np.repeat(multi_hot(labels, ("a", "b")), 2, axis=0) + draw.normal(0, 0.2, (80, 2))
    worse = good + draw.normal(0, 1.0, (80, 2))
    found = (*clip_predictions(rows(labels), worse), *clip_predictions(rows(labels), good, model=FLOAT_MODEL))
    values = compute_metrics(Predictions(classes=("a", "b"), rows=found)).values
    alone = compute_metrics(Predictions(classes=("a", "b"), rows=tuple(clip_predictions(rows(labels), good)))).values
    assert values["float_map"].value == alone["map"].value
    assert values["int8_map_drop"].value == pytest.approx(alone["map"].value - values["map"].value)
    assert values["int8_map_drop"].value > 0.05


def test_a_head_for_several_labels_converges_to_the_log_odds_of_each_class():
    draw = np.random.default_rng(0)
    values = draw.normal(size=(4000, 2)).astype(np.float32)
    weights, biases = np.array([[2.0, 0.0], [-1.0, 1.5]]), np.array([-0.5, 1.0])
    chances = 1 / (1 + np.exp(-(values @ weights + biases)))
    targets = (draw.uniform(size=chances.shape) < chances).astype(np.float32)
    head = fit_head(values, targets, importance=np.ones(4000, np.float32), penalty=1e-5, is_multi_label=True)
    np.testing.assert_allclose(head.weights, weights, atol=0.25)
    np.testing.assert_allclose(head.biases, biases, atol=0.2)
    found = choose_penalty(
        values,
        targets,
        clips=[str(n) for n in range(4000)],
        folds=np.arange(4000) % 3,
        is_multi_label=True,
    )
    assert found == min(PENALTIES)  # there is enough of it that no weight need be held back


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("dataset.folds=all", "folds and multi_label exclude each other"),
        ("dataset.use_garbage_class=true", "use_garbage_class"),
    ],
)
def test_options_for_single_labels_are_refused_with_several_labels(override, message):
    with pytest.raises(ConfigError, match=message):
        load_use_case("AED").load_config(
            overrides=["dataset.multi_label=true", "dataset.class_names=[a, b]", override],
        )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_several_labels_pass_the_whole_pipeline_to_a_quantized_model(tmp_path):
    record = mlops_core.run(
        "AED",
        workspace=tmp_path,
        overrides=[
            "dataset.name=AED_Dataset_FSD50K",
            "dataset.multi_label=true",
            "general.operation_mode=chain_tqe",
            "training.steps=60",
            "training.patience=60",
            "training.model.filters=[8, 16]",
        ],
    )
    assert str(record.status) == "accepted"
    folder = tmp_path / "runs" / record.run_id
    evaluation = json.loads((folder / "evaluation.json").read_text())
    section = evaluation["multilabel_classification_metrics"]
    assert set(section) == {"map", "d_prime", "float_map", "float_d_prime", "int8_map_drop"}
    assert 0.3 < section["map"]["value"] < 1
    assert abs(section["int8_map_drop"]["value"]) < 0.1
    assert evaluation["notes"]["clips"] == 40
    assert evaluation["notes"]["labels"] > 100
    assert [row[0] for row in evaluation["tables"][0]["rows"]] == sorted(PARENTS)
    assert "Mean average precision on test set : 0." in (folder / "logs" / "evaluate.log").read_text()
