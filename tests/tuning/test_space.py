"""Spaces and samplers: legal values only, pure functions of (space, seed, index), and the points of other libraries."""

import math
import random

import pytest

from mlops_core import RangeKind, SearchRange, SearchSpace, TunedParameter, Tuning
from mlops_core.errors import ConfigError, PipelineError
from mlops_core.tuning.sampling import draw, grid_size
from mlops_core.tuning.sobol import MAX_DIMENSIONS, sobol_point

RATE = TunedParameter(name="learning_rate", key="training.learning_rate", minimum=1e-6, maximum=1)
SIZE = TunedParameter(name="model_size", key="training.size", type="string", choices=("small", "medium"))
EPOCHS = TunedParameter(name="number_of_epochs", key="training.epochs", type="integer", minimum=1, maximum=100)
RATES = SearchRange(kind=RangeKind.LOG_UNIFORM, minimum=1e-4, maximum=1e-2)
SIZES = SearchRange(kind=RangeKind.CHOICE, values=("small", "medium"))
STEPPED = SearchRange(kind=RangeKind.QUNIFORM, minimum=10, maximum=50, step=10)
SPACE = SearchSpace(
    parameters=(RATE, SIZE, EPOCHS),
    subspaces=({"learning_rate": RATES, "model_size": SIZES}, {"number_of_epochs": STEPPED}),
)


def drawn(sampler, count, *, space=SPACE, seed=0):
    return [draw(space, sampler=sampler, seed=seed, index=index) for index in range(count)]


@pytest.mark.parametrize("sampler", ["random", "sobol"])
def test_trials_depend_on_space_seed_and_index_alone(sampler):
    values = drawn(sampler, 40)
    order = list(range(40))
    random.Random(1).shuffle(order)
    assert {index: draw(SPACE, sampler=sampler, seed=0, index=index) for index in order} == dict(enumerate(values))
    assert drawn(sampler, 12) == values[:12]
    assert drawn(sampler, 12, seed=1)[1:] != values[1:12]


@pytest.mark.parametrize("sampler", ["random", "sobol"])
def test_trial_0_is_the_configuration_and_the_others_take_the_sub_spaces_in_turn(sampler):
    first, *others = drawn(sampler, 9)
    assert first == {}
    assert [sorted(values) for values in others] == [["learning_rate", "model_size"], ["number_of_epochs"]] * 4


def test_values_have_the_parameters_type_and_are_legal():
    for values in drawn("random", 200):
        for name, value in values.items():
            assert SPACE.parameter(name).fault(value) == ""
        if "number_of_epochs" in values:
            assert type(values["number_of_epochs"]) is int


def test_a_further_parameter_leaves_the_random_values_of_the_others():
    more = SearchSpace(
        parameters=SPACE.parameters,
        subspaces=({**SPACE.subspaces[0], "number_of_epochs": STEPPED}, SPACE.subspaces[1]),
    )
    for before, after in zip(drawn("random", 20), drawn("random", 20, space=more), strict=True):
        assert before.items() <= after.items()


def test_a_grid_has_each_combination_once_and_ends():
    space = SearchSpace(parameters=(SIZE, EPOCHS), subspaces=({"model_size": SIZES, "number_of_epochs": STEPPED},))
    assert grid_size(space) == 11
    values = drawn("grid", 11, space=space)[1:]
    assert len({tuple(each.items()) for each in values}) == 10
    with pytest.raises(ConfigError, match="trial 11: the grid has fewer points"):
        draw(space, sampler="grid", seed=0, index=11)
    with pytest.raises(ConfigError, match="the grid has 11 trials, not 12; expected at most 11"):
        Tuning(space=space, objective="acc", sampler="grid", trials=12)


def test_sub_spaces_of_different_size_end_the_grid_at_the_same_place():
    space = SearchSpace(parameters=(SIZE, EPOCHS), subspaces=({"model_size": SIZES}, {"number_of_epochs": STEPPED}))
    size = grid_size(space)
    assert size == 5
    drawn("grid", size, space=space)
    with pytest.raises(ConfigError, match="fewer points"):
        draw(space, sampler="grid", seed=0, index=size)


def test_a_grid_of_a_continuous_range_is_refused():
    with pytest.raises(ConfigError, match="learning_rate: a grid search needs a range of separate values, and log_uni"):
        Tuning(space=SPACE, objective="acc", sampler="grid", trials=3)


def test_the_sobol_points_are_those_of_scipy():
    qmc = pytest.importorskip("scipy.stats.qmc")
    theirs = qmc.Sobol(MAX_DIMENSIONS, scramble=False, bits=32).random(256)
    shift = sobol_point(0, dimensions=MAX_DIMENSIONS, seed=7)
    for number in range(256):
        ours = sobol_point(number, dimensions=MAX_DIMENSIONS, seed=7)
        bits = [int(a * 2**32) ^ int(b * 2**32) for a, b in zip(ours, shift, strict=True)]
        assert [value / 2**32 for value in bits] == list(theirs[number])


def test_sobol_points_fill_every_interval():
    points = [sobol_point(number, dimensions=24, seed=3) for number in range(64)]
    for dimension in range(24):
        assert sorted(int(point[dimension] * 64) for point in points) == list(range(64))


@pytest.mark.parametrize(
    ("found", "low", "high"),
    [
        (SearchRange(kind=RangeKind.UNIFORM, minimum=2, maximum=3), 2, 3),
        (SearchRange(kind=RangeKind.LOG_UNIFORM, minimum=1e-4, maximum=1e-2), 1e-4, 1e-2),
        (SearchRange(kind=RangeKind.QUNIFORM, minimum=1, maximum=10, step=3), 3, 9),
        (SearchRange(kind=RangeKind.QLOG_UNIFORM, minimum=1, maximum=100, step=5), 5, 100),
        (SearchRange(kind=RangeKind.RANDINT, maximum=4), 0, 3),
    ],
)
def test_ranges_reach_both_ends_and_never_leave_them(found, low, high):
    values = [found.at(number / 1000) for number in range(1000)] + [found.at(1 - 2**-53)]
    assert min(values) == pytest.approx(low, rel=1e-9)
    assert max(values) == pytest.approx(high, rel=1e-2)
    assert all(low <= value <= high for value in values)
    assert values == sorted(values)


def test_normal_ranges_have_their_mean_and_deviation():
    source = random.Random(0)
    values = [SearchRange(kind=RangeKind.NORMAL, mean=5, deviation=2).at(source.random()) for _ in range(4000)]
    mean = sum(values) / len(values)
    assert mean == pytest.approx(5, abs=0.15)
    assert math.sqrt(sum((value - mean) ** 2 for value in values) / len(values)) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize(
    ("name", "found", "fault"),
    [
        ("learning_rate", SearchRange(kind=RangeKind.UNIFORM, minimum=2, maximum=1), "is empty: min_value 2 is not"),
        (
            "learning_rate",
            SearchRange(kind=RangeKind.UNIFORM, minimum=0.1, maximum=2),
            "2.0, which is not a number from 1e-06",
        ),
        (
            "learning_rate",
            SearchRange(kind=RangeKind.LOG_UNIFORM, minimum=0, maximum=1),
            "is logarithmic and begins at 0",
        ),
        ("learning_rate", SearchRange(kind=RangeKind.CHOICE, values=()), "has no values"),
        ("learning_rate", SearchRange(kind=RangeKind.CHOICE, values=(0.1, 0.1)), "has the value 0.1 twice"),
        ("learning_rate", SearchRange(kind=RangeKind.CHOICE, values=("x",)), "'x', which is not a number"),
        ("learning_rate", SearchRange(kind=RangeKind.NORMAL, mean=0.1, deviation=0), "expected a positive number"),
        (
            "model_size",
            SearchRange(kind=RangeKind.CHOICE, values=("large",)),
            "'large', which is not one of small, medium",
        ),
        ("model_size", SearchRange(kind=RangeKind.UNIFORM, minimum=0, maximum=1), "expected type: choice"),
        ("number_of_epochs", SearchRange(kind=RangeKind.UNIFORM, minimum=1, maximum=9), "gives fractions"),
        ("number_of_epochs", SearchRange(kind=RangeKind.QUNIFORM, minimum=1, maximum=2, step=5), "no multiple of q: 5"),
        (
            "number_of_epochs",
            SearchRange(kind=RangeKind.RANDINT, maximum=3),
            "may be 0, which is not a whole number from 1",
        ),
        ("number_of_epochs", SearchRange(kind=RangeKind.CHOICE, values=(True,)), "True, which is not a whole number"),
        ("learning_rates", RATES, "did you mean 'learning_rate'?"),
    ],
)
def test_ranges_that_cannot_be_searched_are_refused(name, found, fault):
    with pytest.raises(PipelineError) as refused:
        SearchSpace(parameters=(RATE, SIZE, EPOCHS), subspaces=({name: found},))
    assert fault in str(refused.value)


def test_searches_survive_json_and_bayesian_ones_need_enough_trials():
    tuning = Tuning(space=SPACE, objective="acc", trials=30, sampler="sobol", seed=4)
    assert Tuning.from_json(tuning.to_json()).values(17) == tuning.values(17)
    with pytest.raises(ConfigError, match="8 trials are too few for the sampler bayesian.* or the sampler random"):
        Tuning(space=SPACE, objective="acc", trials=8, sampler="bayesian")
    with pytest.raises(PipelineError, match="sampler 'randon'; did you mean 'random'"):
        Tuning(space=SPACE, objective="acc", sampler="randon")
