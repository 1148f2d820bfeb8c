"""Learning rates of the zoo's schedules, and every allowed optimizer and callback of Keras."""

import inspect
import math

import pytest
from mlops_aed.config import Training
from mlops_aed.training.config import CALLBACKS, OPTIMIZERS, optimizer_arguments
from mlops_aed.training.schedules import SCHEDULES, learning_rate

from mlops_core import ConfigError, load_use_case

LINEAR = {"initial_lr": 0.1, "hold_steps": 3, "decay_steps": 4, "end_lr": 0.02}
HALF_WAY = 0.04 * math.sqrt(0.5)
WARM = {
    "initial_lr": 0.0,
    "warmup_steps": 4,
    "max_lr": 0.4,
    "hold_steps": 2,
    "decay_steps": 4,
    "end_lr": 0.0,
}


def rates(name, arguments, epochs):
    return [learning_rate(name, arguments, epoch) for epoch in range(epochs)]


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("LRLinearDecay", LINEAR, [0.1, 0.1, 0.1, 0.08, 0.06, 0.04, 0.02, 0.02]),
        (
            "LRExponentialDecay",
            {"initial_lr": 0.1, "hold_steps": 2, "decay_rate": 0.5, "min_lr": 0.03},
            [0.1, 0.1, 0.1 * math.exp(-0.5), 0.1 * math.exp(-1), 0.03, 0.03],
        ),
        ("LRStepDecay", {"initial_lr": 0.8, "step_size": 2, "decay_rate": 0.5}, [0.8, 0.4, 0.4, 0.2, 0.2, 0.1]),
        (
            "LRCosineDecay",
            LINEAR,
            [0.1, 0.1, 0.1, 0.06 + 0.04 * math.sqrt(0.5), 0.06, 0.06 - 0.04 * math.sqrt(0.5), 0.02],
        ),
        ("LRWarmupCosineDecay", WARM, [0.0, 0.1, 0.2, 0.4, 0.4, 0.4, 0.4]),
        (
            "LRCosineDecayRestarts",
            {"initial_lr": 0.2, "first_decay_steps": 2, "end_lr": 0.0, "t_mul": 2, "m_mul": 0.5},
            [0.2, 0.1, 0.1, 0.05 + 0.05 * math.sqrt(0.5), 0.05, 0.05 - 0.05 * math.sqrt(0.5), 0.05],
        ),
        ("LRPolynomialDecay", {**LINEAR, "power": 2}, [0.1, 0.1, 0.1, 0.065, 0.04, 0.025, 0.02, 0.02]),
        ("LRPolynomialDecayRestarts", {**LINEAR, "power": 1}, [0.1, 0.1, 0.1, 0.08, 0.06, 0.04, 0.02, 0.05]),
        ("LRPiecewiseConstantDecay", {"boundaries": [2, 4], "values": [0.3, 0.2, 0.1]}, [0.3, 0.3, 0.2, 0.2, 0.1]),
    ],
)
def test_each_schedule_gives_the_rates_that_were_worked_out_by_hand(name, arguments, expected):
    found = rates(name, arguments, len(expected))
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("LRExponentialDecayV1", lambda epoch: math.exp(-0.001 * epoch)),
        ("LRCosineDecayV1", lambda epoch: (1 - 1e-5) * 0.5 * (1 + math.cos(math.pi * min(epoch, 1000) / 1000)) + 1e-5),
    ],
)
def test_schedules_of_v1_multiply_the_rate_of_the_epoch_before_from_the_tenth_on(name, factor):
    found = rates(name, {"initial_lr": 0.005}, 60)
    assert found[:10] == [0.005] * 10
    for epoch in range(10, 60):
        assert found[epoch] == pytest.approx(found[epoch - 1] * factor(epoch), rel=1e-12)


def test_all_schedules_of_the_zoo_are_allowed():
    assert len(SCHEDULES) == 11
    assert set(SCHEDULES) < set(CALLBACKS)


def complete(name):
    values = {"boundaries": [2], "values": [0.2, 0.1], "step_size": 2, "decay_rate": 0.5}
    return {key: values.get(key, 0.1 if "lr" in key else 2) for key in SCHEDULES[name]}


@pytest.mark.representatives(3)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_sets_the_rate_of_a_network(name):
    import keras
    import numpy as np
    from mlops_aed.training.fitting import build_callbacks

    settings = Training.model_validate({"epochs": 3, "callbacks": {name: {**complete(name), "verbose": 1}}})
    (callback,) = build_callbacks(settings)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    callback.set_model(model)
    callback.on_epoch_begin(2, {})
    assert np.isclose(float(model.optimizer.learning_rate), learning_rate(name, complete(name), 2))


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_without_an_argument_is_refused(name):
    for key, default in SCHEDULES[name].items():
        lacking = {other: value for other, value in complete(name).items() if other != key}
        if default is None:
            with pytest.raises(ValueError, match=f"{name} needs {key}"):
                Training.model_validate({"epochs": 3, "callbacks": {name: lacking}})
        else:
            Training.model_validate({"epochs": 3, "callbacks": {name: lacking}})


@pytest.mark.representatives(3)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_is_built_with_every_argument_that_is_legal(name):
    import keras
    from mlops_aed.training.fitting import build_optimizer

    known = inspect.signature(getattr(keras.optimizers, name)).parameters
    missing = set(optimizer_arguments(name)) - set(known)
    assert missing == set()
    given = {key: known[key].default for key in optimizer_arguments(name) if not callable(known[key].default)}
    settings = Training.model_validate({"epochs": 1, "optimizer": {name: {**given, "learning_rate": 0.25}}})
    found = build_optimizer(settings)
    assert type(found).__name__ == name
    assert float(found.learning_rate) == 0.25


def test_no_optimizer_of_keras_is_forgotten():
    import keras

    base = keras.optimizers.Optimizer
    known = {name for name, item in vars(keras.optimizers).items() if inspect.isclass(item) and issubclass(item, base)}
    wrappers, newer = {"Optimizer", "LossScaleOptimizer", "MultiOptimizer"}, {"Muon", "ScheduleFreeAdamW"}
    assert known - wrappers - newer == set(OPTIMIZERS)  # newer than the oldest Keras that is supported


@pytest.mark.representatives(2)
@pytest.mark.parametrize("name", sorted(set(CALLBACKS) - set(SCHEDULES)))
def test_every_callback_is_built_with_every_argument_that_is_legal(name):
    import keras
    from mlops_aed.training.fitting import build_callbacks

    known = inspect.signature(getattr(keras.callbacks, name)).parameters
    given = {key: known[key].default for key in CALLBACKS[name] if key in known}
    assert set(given) == set(CALLBACKS[name])
    (found,) = build_callbacks(Training.model_validate({"epochs": 1, "callbacks": {name: given}}))
    assert type(found).__name__ == name


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.optimizer={Adamm: {}}", "'Adamm' is not an optimizer; did you mean 'Adam'? known: SGD, RMSprop"),
        ("training.optimizer={Adam: {lr: 0.1}}", "Adam has no argument 'lr'; known: learning_rate"),
        ("training.optimizer={Adam: {}, SGD: {}}", "expected one optimizer, not 2"),
        ("training.optimizer={Adam: {learning_rate: -1}}", "Adam.learning_rate is -1; expected a number above 0"),
        ("training.callbacks={EarlyStoping: {}}", "'EarlyStoping' is not a callback; did you mean 'EarlyStopping'?"),
        ("training.callbacks={EarlyStopping: {patient: 3}}", "did you mean 'patience'?"),
        ("training.callbacks={EarlyStopping: {monitor: f1}}", "legal: loss, accuracy, val_loss, val_accuracy"),
        ("training.callbacks={EarlyStopping: {mode: up}}", "legal: auto, min, max"),
        ("training.callbacks={LRStepDecay: {initial_lr: -1, step_size: 1, decay_rate: 1}}", "number of at least 0"),
        (
            "training.callbacks={LRStepDecay: {initial_lr: 1, step_size: 0, decay_rate: 1}}",
            "expected a positive number",
        ),
        ("training.callbacks={LRPiecewiseConstantDecay: {boundaries: [1], values: [1]}}", "1 boundaries need 2 values"),
        ("training.callbacks={LRPiecewiseConstantDecay: {boundaries: [2, 1], values: [1, 2, 3]}}", "must increase"),
        ("training.callbacks={LRPiecewiseConstantDecay: {boundaries: 1, values: 2}}", "must be lists"),
    ],
)
def test_a_wrong_optimizer_or_callback_is_named(override, message):
    with pytest.raises(ConfigError) as caught:
        load_use_case("AED").load_config(overrides=["training.epochs=2", override])
    assert message in str(caught.value)
