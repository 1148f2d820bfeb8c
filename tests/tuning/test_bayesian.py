"""The Bayesian search: generations, the same answers in every process, and better values than at random."""

import random

import pytest

from mlops_core import RangeKind, SearchRange, SearchSpace, TunedParameter, Tuning
from mlops_core.errors import ConfigError
from mlops_core.pipeline import Step, StepKind
from mlops_core.tuning.bayesian import EarlierTrial, ask
from mlops_core.use_cases.searches import earlier_trials, expanded

pytest.importorskip("optuna")

X = TunedParameter(name="x", key="training.x", minimum=0, maximum=1)
STEPS = TunedParameter(name="steps", key="training.steps", type="integer", minimum=1, maximum=9)
SPACE = SearchSpace(
    parameters=(X, STEPS),
    subspaces=(
        {
            "x": SearchRange(kind=RangeKind.UNIFORM, minimum=0, maximum=1),
            "steps": SearchRange(kind=RangeKind.QUNIFORM, minimum=1, maximum=9, step=2),
        },
    ),
)
TUNING = Tuning(space=SPACE, objective="acc", trials=32, concurrent=4, sampler="bayesian", seed=5)


def value_of(values):
    return -((values["x"] - 0.73) ** 2) - 0.01 * abs(values["steps"] - 7)


def carried_out(tuning, own):
    """Return the trials of a search, each drawn from the earlier generations in a shuffled order."""
    done: list[EarlierTrial] = []
    for index in range(tuning.trials):
        first = tuning.generation(index) * tuning.concurrent
        earlier = [trial for trial in done if trial.index < first]
        random.Random(index).shuffle(earlier)
        values = ask(tuning, index, earlier=earlier, is_higher_better=True) or own
        done.append(EarlierTrial(index=index, values=values, value=value_of(values)))
    return done


def test_a_search_in_generations_is_repeatable_and_finds_better_values_than_at_random():
    first, second = (carried_out(TUNING, {"x": 0.1, "steps": 1}) for _ in range(2))
    assert first == second
    assert all(SPACE.parameter(name).fault(value) == "" for trial in first for name, value in trial.values.items())
    assert {trial.values["steps"] for trial in first} <= {1, 2, 4, 6, 8}
    assert len({trial.values["x"] for trial in first}) > 20
    late = sorted(trial.value for trial in first[16:])
    early = sorted(trial.value for trial in first[1:10])
    assert late[len(late) // 2] > early[len(early) // 2]


def test_a_trial_waits_for_the_generations_before_its_own_and_for_no_other():
    step = Step(
        name="train",
        kind=StepKind.TRAINING,
        run="mlops_tuned.steps:train",
        outputs=("model", "validation"),
        config=("training",),
        tuning=TUNING,
    )
    trials = [each for each in expanded([step]) if each.trial is not None]
    assert sorted(earlier_trials(trials[3]).values()) == []
    assert sorted(earlier_trials(trials[11]).values()) == list(range(8))
    assert trials[11].packages == ("optuna",)


def test_ranges_without_limits_are_refused():
    normal = SearchRange(kind=RangeKind.NORMAL, mean=0.5, deviation=0.1)
    space = SearchSpace(parameters=(X,), subspaces=({"x": normal},))
    with pytest.raises(ConfigError, match="x has a normal distribution, which the sampler bayesian does not draw from"):
        Tuning(space=space, objective="acc", trials=30, sampler="bayesian")
