"""What a search for hyperparameters may vary, and the ranges that are searched by default."""

from __future__ import annotations

from mlops_core import RangeKind, SearchRange, SearchSpace, TunedParameter

SPACE = SearchSpace(
    parameters=(
        TunedParameter(name="learning_rate", key="training.learning_rate", minimum=1e-6, maximum=1),
        TunedParameter(name="weight_decay", key="training.weight_decay", minimum=0, maximum=1),
        TunedParameter(name="optimizer", key="training.optimizer", type="string", choices=("adamw", "adam", "sgd")),
        TunedParameter(name="model_size", key="training.model_size", type="string", choices=("small", "medium")),
        TunedParameter(
            name="number_of_epochs", key="training.number_of_epochs", type="integer", minimum=1, maximum=10_000
        ),
        TunedParameter(
            name="training_batch_size", key="training.training_batch_size", type="integer", minimum=1, maximum=1024
        ),
        TunedParameter(name="nms_iou_threshold", key="training.nms_iou_threshold", minimum=0.05, maximum=0.95),
        TunedParameter(name="copy_paste", key="data_augmentation.copy_paste", minimum=0, maximum=1),
    ),
    subspaces=(
        {
            "learning_rate": SearchRange(kind=RangeKind.LOG_UNIFORM, minimum=0.001, maximum=0.008),
            "weight_decay": SearchRange(kind=RangeKind.LOG_UNIFORM, minimum=0.002, maximum=0.1),
            "model_size": SearchRange(kind=RangeKind.CHOICE, values=("small", "medium")),
            "copy_paste": SearchRange(kind=RangeKind.UNIFORM, minimum=0.3, maximum=0.9),
        },
    ),
    predictions="val_predictions",
)
