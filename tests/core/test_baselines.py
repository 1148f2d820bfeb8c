"""A model that is not better than a constant answer is said to be so, whatever the gate accepts."""

import random
from dataclasses import replace

import pytest

import mlops_core
from mlops_core import Prediction, Predictions
from mlops_core.evaluation.baselines import constant_warning

TEN = tuple("abcdefghij")


def classified(labels, answers, classes=TEN):
    rows = tuple(
        Prediction(sample=str(n), group=str(n), label=label, scores=tuple(float(name == answer) for name in classes))
        for n, (label, answer) in enumerate(zip(labels, answers, strict=True))
    )
    return Predictions(classes=classes, rows=rows)


def estimated(labels, answers):
    rows = tuple(
        Prediction(sample=str(n), group=str(n), label=label, scores=(answer,))
        for n, (label, answer) in enumerate(zip(labels, answers, strict=True))
    )
    return Predictions(classes=(), rows=rows)


def test_chance_among_ten_classes_is_not_better():
    warning = constant_warning(classified(TEN * 20, ["a"] * 200))
    assert warning == "the model is not better than a constant answer: accuracy 0.1, always 'a' has 0.1"


@pytest.mark.parametrize("seed", range(5))
def test_random_answers_are_not_better(seed):
    draw = random.Random(seed)
    assert "is not better" in constant_warning(classified(TEN * 20, draw.choices(TEN, k=200)))
    labels = [draw.gauss(10, 2) for _ in range(200)]
    assert "always" in constant_warning(estimated(labels, [draw.gauss(10, 2) for _ in labels]))


@pytest.mark.parametrize("share", [0.3, 0.6, 1.0])
def test_a_model_that_has_learned_is_better(share):
    draw = random.Random(0)
    answers = [label if draw.random() < share else draw.choice(TEN) for label in TEN * 20]
    assert constant_warning(classified(TEN * 20, answers)) == ""
    labels = [draw.gauss(10, 2) for _ in range(200)]
    assert constant_warning(estimated(labels, [10 + share * (label - 10) for label in labels])) == ""


def test_a_detector_of_a_rare_class_is_better_with_a_lower_accuracy():
    labels = ["a"] * 190 + ["b"] * 10
    answers = ["a"] * 178 + ["b"] * 12 + ["b"] * 9 + ["a"]
    assert constant_warning(classified(labels, answers, classes=("a", "b"))) == ""
    assert "always 'a' has 0.95" in constant_warning(classified(labels, ["a"] * 200, classes=("a", "b")))


def test_the_mean_is_not_better_than_itself():
    warning = constant_warning(estimated([1.0, 2.0, 3.0], [2.0, 2.0, 2.0]))
    assert warning == ("the model is not better than a constant answer: mean squared error 0.6667, always 2 has 0.6667")


def test_without_predictions_nothing_is_said():
    assert constant_warning(Predictions(classes=TEN, rows=())) == ""


def test_the_run_says_it_with_the_evaluation(toy, workspace):
    record = mlops_core.run("TOY", workspace=workspace, overrides=["training.bias=100"])
    evaluate = next(step for step in record.steps if step.name == "evaluate")
    assert evaluate.warning.startswith("the model is not better than a constant answer: accuracy 0.5")
    record = mlops_core.run("TOY", workspace=workspace)
    assert all(step.warning == "" for step in record.steps)


def test_a_compared_model_does_not_speak_for_the_evaluated_one():
    labels = ["a", "b"] * 50
    evaluated, other = classified(labels, ["a"] * 100, "ab"), classified(labels, labels, "ab")
    compared = tuple(replace(row, model="float") for row in other.rows)
    warning = constant_warning(Predictions(classes=("a", "b"), rows=evaluated.rows + compared))
    assert warning.endswith("accuracy 0.5, always 'a' has 0.5")
    numbers = [float(n) for n in range(100)]
    compared = tuple(replace(row, model="float") for row in estimated(numbers, numbers).rows)
    rows = estimated(numbers, [50.0] * 100).rows + compared
    assert "mean squared error" in constant_warning(Predictions(classes=(), rows=rows))
    assert constant_warning(Predictions(classes=(), rows=compared)) == ""


def test_one_sample_of_a_rare_class_proves_nothing():
    labels, answers = ["a"] * 99 + ["b"], ["a"] * 60 + ["b"] * 40
    assert "always 'a' has 0.99" in constant_warning(classified(labels, answers, "ab"))
    assert constant_warning(classified(["a", "b"] * 2, ["a", "b"] * 2, "ab")) == ""


def test_several_labels_of_a_sample_are_several_answers():
    def labelled(scores):
        rows = (
            Prediction(sample=str(n), part=part, group=str(n), label=label, scores=scores(n))
            for n in range(40)
            for part, label in enumerate(("a", "bc"[n % 2]))
        )
        return Predictions(classes=("a", "b", "c"), rows=tuple(rows))

    assert constant_warning(labelled(lambda n: (1.0, 1.0 - n % 2, float(n % 2)))) == ""
    warning = constant_warning(labelled(lambda n: (1.0, 0.5, 0.0)))
    assert warning.endswith("accuracy 0.75, always 'a' has 0.75")
