"""A model that is not better than a constant answer is said to be so, whatever the gate accepts."""

import random

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
