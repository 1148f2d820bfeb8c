"""What a search for hyperparameters may vary, and the ranges that are searched by default."""

from __future__ import annotations

from mlops_core import RangeKind, SearchRange, SearchSpace, TunedParameter

_LOGARITHMIC, _UNIFORM = RangeKind.LOG_UNIFORM, RangeKind.UNIFORM
SPACE = SearchSpace(
    parameters=(
        TunedParameter(name="learning_rate", key="training.learning_rate", minimum=1e-6, maximum=1),
        TunedParameter(name="weight_decay", key="training.weight_decay", minimum=0, maximum=1),
        TunedParameter(name="label_smoothing", key="training.label_smoothing", minimum=0, maximum=0.9),
        TunedParameter(name="dropout", key="training.model.dropout", minimum=0, maximum=0.9),
        TunedParameter(name="training_batch_size", key="training.batch_size", type="integer", minimum=1, maximum=4096),
        TunedParameter(name="number_of_epochs", key="training.epochs", type="integer", minimum=1, maximum=10_000),
        TunedParameter(name="rotation_deg", key="data_augmentation.rotation_deg", minimum=0, maximum=180),
        TunedParameter(name="erase", key="data_augmentation.erase", minimum=0, maximum=0.9),
    ),
    subspaces=(
        {
            "learning_rate": SearchRange(kind=_LOGARITHMIC, minimum=0.0005, maximum=0.01),
            "weight_decay": SearchRange(kind=_LOGARITHMIC, minimum=0.005, maximum=0.2),
            "label_smoothing": SearchRange(kind=_UNIFORM, minimum=0, maximum=0.2),
            "dropout": SearchRange(kind=_UNIFORM, minimum=0, maximum=0.5),
        },
    ),
)
