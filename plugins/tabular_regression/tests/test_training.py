"""Split, search, intervals and importance, on data with known properties."""

import numpy as np
import pytest
from mlops_tabular_regression.config import TrainingSection
from mlops_tabular_regression.model import boosting, search
from mlops_tabular_regression.model.boosting import Design, Setting
from mlops_tabular_regression.model.importance import permutation_losses
from mlops_tabular_regression.model.intervals import conformal_widening, widened
from mlops_tabular_regression.model.search import Folds
from mlops_tabular_regression.tables import collecting
from mlops_tabular_regression.tables.collecting import find_equal_rows, join_groups
from mlops_tabular_regression.tables.splitting import assign_folds

from mlops_core import ConfigError, DatasetError

QUICK = TrainingSection(rounds=60, leaves=(7,), bags=1)


def sine(count=600, noise=0.3, seed=0):
    draw = np.random.default_rng(seed)
    values = draw.uniform(0, 6, (count, 3))
    target = 5 + 2 * np.sin(values[:, 0]) + 0.2 * values[:, 1] + draw.normal(0, noise, count)
    return Design(values=values, target=target, categorical=())


def setting(**changes):
    plain = {"objective": "squared", "leaves": 7, "rounds": 60, "seed": 0, "training": QUICK}
    return Setting(**(plain | changes))


def test_folds_have_equal_sizes_and_equal_targets():
    target = np.random.default_rng(0).gamma(2, 3, 1003)
    fold = assign_folds(target, np.arange(1003), folds=5, seed=0)
    sizes = np.bincount(fold)[1:]
    assert sizes.max() - sizes.min() <= 1
    means = [target[fold == number].mean() for number in range(1, 6)]
    assert max(means) - min(means) < 0.2  # by chance alone: 0.7
    assert (fold != assign_folds(target, np.arange(1003), folds=5, seed=1)).any()


def test_rows_of_one_group_are_in_one_fold():
    draw = np.random.default_rng(0)
    groups = draw.integers(0, 50, 400)
    fold = assign_folds(draw.normal(size=400), groups, folds=4, seed=0)
    assert all(len(set(fold[groups == group])) == 1 for group in range(50))


def test_equal_rows_are_found_anywhere_and_missing_cells_are_equal():
    features = np.array([[1, np.nan], [2, 3], [1, np.nan], [2, 3], [0.0, 1], [-0.0, 1]])
    first, is_repeated = find_equal_rows(features, np.array([1.0, 2, 1, 9, 5, 5]))
    assert first.tolist() == [0, 1, 0, 3, 4, 4]
    assert is_repeated.tolist() == [False, False, True, False, False, True]


def test_rows_whose_hashes_are_equal_by_chance_are_compared(monkeypatch):
    features = np.array([[1.0, 2], [3, 4], [1, 2], [np.nan, 4], [3, 4]])
    target = np.array([1.0, 2, 1, 2, 3])
    expected = [0, 1, 0, 3, 4]
    assert collecting.find_equal_rows(features, target)[0].tolist() == expected
    monkeypatch.setattr(collecting, "_hashes", lambda features, target: np.zeros(len(target), dtype=np.uint64))
    assert collecting.find_equal_rows(features, target)[0].tolist() == expected


def test_groups_that_share_equal_rows_are_joined_directly_and_indirectly():
    groups = np.array([0, 0, 1, 1, 2, 2, 3])
    first = np.array([0, 1, 1, 3, 3, 5, 6])  # row 2 equals row 1, row 4 equals row 3
    joined = join_groups(groups, first)
    assert len(set(joined[:6])) == 1
    assert joined[6] != joined[0]


def test_a_model_depends_on_its_seed_alone():
    design = sine()
    texts = [boosting.fit(setting(seed=seed), design.binned(QUICK)).model_to_string() for seed in (3, 3, 4)]
    assert texts[0] == texts[1] != texts[2]


def test_a_model_predicts_the_same_after_a_round_trip(tmp_path):
    design = sine()
    model = boosting.fit(setting(), design.binned(QUICK))
    boosting.write_model(model, tmp_path / "model.txt")
    again = boosting.read_model(tmp_path / "model.txt")
    np.testing.assert_array_equal(boosting.predict(model, design.values), boosting.predict(again, design.values))


def test_a_damaged_model_file_is_refused_with_its_path(tmp_path):
    (tmp_path / "model.txt").write_text("nothing")
    with pytest.raises(DatasetError, match=r"model\.txt cannot be used"):
        boosting.read_model(tmp_path / "model.txt")


def test_cross_validation_prefers_the_setting_that_predicts_unseen_rows_better():
    design = sine(400, noise=1.5)
    folds = Folds(design=design, fold=assign_folds(design.target, np.arange(400), folds=4, seed=0))
    few, many = search.cross_validate(
        [setting(leaves=4), setting(leaves=200, rounds=60, training=TrainingSection(minimum_rows_in_leaf=1))],
        folds,
        threads=2,
        progress=lambda done, total: None,
    )
    assert few.loss < many.loss
    assert many.training[-1] < few.training[-1]
    result = folds.predictions(few)
    assert float(np.mean((result - design.target) ** 2)) == pytest.approx(few.loss)
    assert few.loss == pytest.approx(few.held_out.min())


def test_the_number_of_threads_does_not_change_the_result():
    design = sine(300)
    folds = Folds(design=design, fold=assign_folds(design.target, np.arange(300), folds=3, seed=0))
    losses = [
        [
            trial.loss
            for trial in search.cross_validate(
                [setting(), setting(leaves=3)], folds, threads=threads, progress=lambda done, total: None
            )
        ]
        for threads in (1, 4)
    ]
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    ("lowest", "expected"), [(1.0, {"squared", "gamma", "poisson"}), (0.0, {"squared", "poisson"}), (-1.0, {"squared"})]
)
def test_only_objectives_that_support_the_target_are_tried(lowest, expected):
    training = TrainingSection(objectives=("squared", "gamma", "poisson"), leaves=(3,))
    result = search.candidates(training, np.array([lowest, 5.0]), seed=0)
    assert {one.objective for one in result} == expected


def test_a_target_that_no_objective_supports_is_refused():
    with pytest.raises(ConfigError, match=r"training\.objectives: gamma cannot be trained on a target of -1"):
        search.candidates(TrainingSection(objectives=("gamma",)), np.array([-1.0, 5.0]), seed=0)


@pytest.mark.parametrize("shift", [-1.5, 0.0, 1.5])
def test_widened_intervals_contain_the_promised_share_even_for_wrong_quantiles(shift):
    draw = np.random.default_rng(2)
    shares = []
    for _ in range(200):
        expected, new = draw.normal(0, 1, 300), draw.normal(0, 1, 300)
        low, high = np.full(300, -0.5 - shift), np.full(300, 0.5 + shift)
        widening = conformal_widening(low, high, expected, level=0.9)
        ends = widened(low, high, np.zeros(300), widening=widening)
        shares.append(np.mean((ends[0] <= new) & (new <= ends[1])))
    assert np.mean(shares) == pytest.approx(0.9, abs=0.01)


def test_an_interval_is_in_order_and_contains_its_prediction():
    low, high = widened(np.array([2.0, 0.0]), np.array([1.0, 1.0]), np.array([1.5, 9.0]), widening=-0.2)
    assert (low <= high).all()
    assert low.tolist() == pytest.approx([1.2, 0.2])
    assert high.tolist() == pytest.approx([1.8, 9.0])


def test_shuffling_an_important_feature_costs_more_than_shuffling_an_unimportant_one():
    design = sine()
    model = boosting.fit(setting(), design.binned(QUICK))
    losses = permutation_losses(design.values, design.target, lambda values: boosting.predict(model, values), seed=0)
    assert losses[0] > 10 * abs(losses[2])
