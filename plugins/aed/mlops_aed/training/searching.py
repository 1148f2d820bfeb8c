"""What a search for hyperparameters may vary, and the ranges that are searched by default.

Each way of training has its own space, so that a search varies nothing that has no effect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core import RangeKind, SearchRange, SearchSpace, TunedParameter

if TYPE_CHECKING:
    from mlops_aed.training.config import Training

_LOGARITHMIC, _UNIFORM = RangeKind.LOG_UNIFORM, RangeKind.UNIFORM
_GAIN = TunedParameter(name="gain_db", key="data_augmentation.gain_db", minimum=0, maximum=40)
_SHARED = (
    TunedParameter(name="label_smoothing", key="training.label_smoothing", minimum=0, maximum=0.9),
    TunedParameter(name="training_batch_size", key="training.batch_size", type="integer", minimum=1, maximum=4096),
    TunedParameter(name="mixup_alpha", key="data_augmentation.mixup_alpha", minimum=0, maximum=2),
    TunedParameter(name="time_mask", key="data_augmentation.time_mask", type="integer", minimum=0, maximum=10_000),
    TunedParameter(name="noise", key="data_augmentation.noise", minimum=0, maximum=1),
)
_SHARED_RANGES = {
    "label_smoothing": SearchRange(kind=_UNIFORM, minimum=0, maximum=0.2),
    "mixup_alpha": SearchRange(kind=_UNIFORM, minimum=0, maximum=0.4),
}
BY_STEPS = SearchSpace(
    parameters=(
        TunedParameter(name="learning_rate", key="training.learning_rate", minimum=1e-6, maximum=1),
        TunedParameter(name="weight_decay", key="training.weight_decay", minimum=0, maximum=1),
        *_SHARED,
    ),
    subspaces=(
        {
            "learning_rate": SearchRange(kind=_LOGARITHMIC, minimum=0.001, maximum=0.02),
            "weight_decay": SearchRange(kind=_LOGARITHMIC, minimum=0.00005, maximum=0.005),
            **_SHARED_RANGES,
        },
    ),
)
"""Training for a number of steps, whose learning rate and weight decay are the configuration's own."""
BY_EPOCHS = SearchSpace(parameters=_SHARED, subspaces=(_SHARED_RANGES,))
"""Training by epochs, whose optimizer has its own arguments."""
HEAD = SearchSpace(parameters=(_GAIN,), subspaces=({"gain_db": SearchRange(kind=_UNIFORM, minimum=0, maximum=20)},))
"""The head of a frozen backbone, whose penalty is chosen by a cross-validation of its own."""


def search_space(training: Training) -> SearchSpace:
    """Return the space of the configured way of training."""
    if training.epochs is not None:
        return BY_EPOCHS
    is_pretrained = training.model.name == "yamnet" and training.model.pretrained
    return HEAD if is_pretrained and not training.fine_tune else BY_STEPS
