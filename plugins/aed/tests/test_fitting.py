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


class Recorded:
    """Batches which note the weights that the model has when each is asked for."""

    def __init__(self, model):
        self.model, self.weights, self._batches = model, [], batches()

    def __iter__(self):
        return self

    def __next__(self):
        self.weights.append(self.model.get_weights()[0])
        return next(self._batches)


def test_the_weights_that_are_kept_are_the_mean_of_those_on_the_way(tmp_path):
    model = linear_model()
    given = Recorded(model)
    (row,) = fitted(tmp_path, model, given=given, steps=21, learning_rate=0.5)
    after = dict(enumerate(given.weights))  # asked before the update: those of `step`
    kept = model.get_weights()[0]
    # In the mean are every fifth and the last; each counts as much as those before it, so that the start is forgotten.
    expected = after[5]
    for step in (10, 15, 20):
        expected = expected + (after[step] - expected) * 5 / step
    assert row.step == 21
    last = (kept - expected * (1 - 5 / 21)) / (5 / 21)
    assert np.abs(last - after[20]).max() < 0.5 * 1.5  # one update of the optimizer away
    assert np.abs(kept - after[20]).max() > 1e-3


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
