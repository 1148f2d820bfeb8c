"""What a search for hyperparameters may vary, and the ranges that are searched by default."""

from __future__ import annotations

from mlops_core import RangeKind, SearchRange, SearchSpace, TunedParameter

SPACE = SearchSpace(
    parameters=(
        TunedParameter(name="learning_rate", key="training.learning_rate", minimum=1e-4, maximum=1),
        TunedParameter(
            name="minimum_rows_in_leaf", key="training.minimum_rows_in_leaf", type="integer", minimum=1, maximum=10_000
        ),
        TunedParameter(name="row_share", key="training.row_share", minimum=0.05, maximum=1),
        TunedParameter(name="column_share", key="training.column_share", minimum=0.05, maximum=1),
        TunedParameter(name="l2", key="training.l2", minimum=0, maximum=1e6),
        TunedParameter(name="rounds", key="training.rounds", type="integer", minimum=1, maximum=100_000),
        TunedParameter(name="bags", key="training.bags", type="integer", minimum=1, maximum=100),
    ),
    subspaces=(
        {
            "learning_rate": SearchRange(kind=RangeKind.LOG_UNIFORM, minimum=0.015, maximum=0.12),
            "minimum_rows_in_leaf": SearchRange(kind=RangeKind.QUNIFORM, minimum=5, maximum=60, step=5),
            "row_share": SearchRange(kind=RangeKind.UNIFORM, minimum=0.4, maximum=1),
            "column_share": SearchRange(kind=RangeKind.UNIFORM, minimum=0.3, maximum=1),
            "l2": SearchRange(kind=RangeKind.LOG_UNIFORM, minimum=0.01, maximum=100),
        },
    ),
)
