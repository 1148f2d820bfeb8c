"""Training by weight updates: what is validated and kept is a running average of the weights, not a single moment."""

import itertools

import keras
import numpy as np
import pytest
from mlops_aed.training.config import Training
from mlops_aed.training.fitting import TrainingData, fit

from mlops_core import Step, StepContext
from mlops_core.steps.context import StepRequest

pytestmark = pytest.mark.filterwarnings("ignore")  # TensorFlow's own
STEP = Step(name="train", run="mlops_aed.steps.train:train", outputs=("model",))


def context(tmp_path):
    return StepContext(
        StepRequest(
            use_case="AED", step=STEP, config={}, parameters={}, seed=0, inputs={}, outputs={}, scratch=tmp_path
        )
    )


def batches():
    draw = np.random.default_rng(0)
    while True:
        values = draw.normal(size=(8, 4)).astype("f4")
        yield values, np.eye(2, dtype="f4")[(values[:, 0] + draw.normal(size=8) > 0).astype(int)]


def linear_model():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    return keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(inputs))


def fitted(tmp_path, model, *, given=None, **settings):
    held = next(batches())
    data = TrainingData(batches=given or batches(), held=held, batches_per_epoch=1)
    return fit(context(tmp_path), model, data, Training(**settings))


def updated_weights(*, steps, rate, warm_up):
    """Return the weights after each update, with Keras's own schedule."""
    model = linear_model()
    schedule = keras.optimizers.schedules.CosineDecay(0.0, steps - warm_up, warmup_target=rate, warmup_steps=warm_up)
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)
    model.compile(optimizer=keras.optimizers.AdamW(schedule, weight_decay=0.0005), loss=loss)
    for batch in itertools.islice(batches(), steps):
        model.train_on_batch(*batch)
        yield model.get_weights()[0]


def test_the_weights_that_are_kept_are_the_running_mean_of_those_on_the_way(tmp_path):
    model = linear_model()
    (row,) = fitted(tmp_path, model, steps=40, learning_rate=0.1)
    first, *others = updated_weights(steps=40, rate=0.1, warm_up=4)
    expected = first
    for weights in others:
        expected = expected + (weights - expected) / 4  # looks back over a tenth of the updates
    assert row.step == 40
    np.testing.assert_allclose(model.get_weights()[0], expected, rtol=1e-3, atol=1e-5)
    assert np.abs(expected - others[-1]).max() > 1e-3


def test_checks_are_evenly_spaced_and_updates_are_at_most_steps(tmp_path):
    rows = fitted(tmp_path, linear_model(), steps=121)
    assert [row.step for row in rows] == [40, 80, 120]


def test_a_training_shorter_than_the_average_is_kept_as_it_ends(tmp_path):
    model = linear_model()
    before = model.get_weights()[0]
    fitted(tmp_path, model, steps=2, learning_rate=0.1)
    assert not np.array_equal(model.get_weights()[0], before)


def test_the_best_average_is_kept_and_training_ends_when_it_gets_no_better(tmp_path):
    model = linear_model()
    wrong = itertools.chain(
        itertools.islice(batches(), 100), ((values, targets[:, ::-1]) for values, targets in batches())
    )
    rows = fitted(tmp_path, model, given=wrong, steps=1000, patience=150, learning_rate=0.05, label_smoothing=0.0)
    losses = [row.validation_loss for row in rows]
    assert rows[-1].step < 1000
    assert rows[-1].step - rows[int(np.argmin(losses))].step == 150
    held = next(batches())
    found = -np.log((model.predict(held[0], verbose=0) * held[1]).sum(axis=1)).mean()
    assert found == pytest.approx(min(losses), abs=1e-4)
