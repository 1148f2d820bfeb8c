"""Feature importance: the share of the gain in the trees, and the loss when the values of a feature are shuffled.

The loss is measured out of fold, on rows that the models have not seen. Columns derived from a feature are computed
from its shuffled values.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import lightgbm as lgb
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

IMPORTANCE_FILE = "feature_importance.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """Importance of one column.

    Attributes:
        feature: its name.
        gain: its share of the gain of all splits of all trees, 0 to 1.
        permutation: increase of the out-of-fold mean squared error when the feature is shuffled; None for a derived
            column, which changes with the features it is computed from.
    """

    feature: str
    gain: float
    permutation: float | None


def gain_shares(models: Sequence[lgb.Booster]) -> Numbers:
    """Return the share of each column in the gain of all trees, (columns,); 0 if no tree has a split."""
    gains = np.sum([model.feature_importance("gain") for model in models], axis=0, dtype=np.float64)
    total = gains.sum()
    return np.asarray(gains / total if total > 0 else gains)


def permutation_losses(
    features: Numbers, target: Numbers, predicted: Callable[[Numbers], Numbers], *, seed: int
) -> Numbers:
    """Return the increase of the mean squared error when a declared feature is shuffled, (declared features,).

    Args:
        features: (rows, declared features).
        target: (rows,).
        predicted: returns the out-of-fold predictions for features of this shape.
        seed: seed of the shuffling.
    """
    draw = np.random.default_rng(seed)
    before = float(np.mean((predicted(features) - target) ** 2))
    losses = []
    for position in range(features.shape[1]):
        shuffled = features.copy()
        shuffled[:, position] = draw.permutation(shuffled[:, position])
        losses.append(float(np.mean((predicted(shuffled) - target) ** 2)) - before)
    return np.array(losses)


def write_importance(folder: Path, importance: Sequence[Importance]) -> None:
    """Write ``feature_importance.csv``, the most important first."""
    ordered = sorted(importance, key=lambda item: (-item.gain, item.feature))
    with (folder / IMPORTANCE_FILE).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("feature", "gain_share", "permutation_mse_increase"))
        for item in ordered:
            permutation = "" if item.permutation is None else f"{item.permutation:.6g}"
            writer.writerow((item.feature, f"{item.gain:.6f}", permutation))
