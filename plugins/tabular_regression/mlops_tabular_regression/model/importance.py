"""How much each feature matters: its share of the gain in the trees, and what is lost when its values are shuffled.

The loss is measured out of fold, on rows that the models have not seen; a shuffled feature is shuffled in the columns
that are derived from it too.
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
    """How much one column matters.

    Attributes:
        feature: its name.
        gain: its share of the loss that the splits of all trees saved, 0 to 1.
        permutation: by how much the out-of-fold mean squared error grows when the feature is shuffled; None for a
            derived column, which is shuffled with the features it comes from.
    """

    feature: str
    gain: float
    permutation: float | None


def gain_shares(models: Sequence[lgb.Booster]) -> Numbers:
    """Return the share of each column in the gain of all trees; 0 where there is no split at all."""
    gains = np.sum([model.feature_importance("gain") for model in models], axis=0, dtype=np.float64)
    total = gains.sum()
    return np.asarray(gains / total if total > 0 else gains)


def permutation_losses(
    features: Numbers, target: Numbers, predicted: Callable[[Numbers], Numbers], *, seed: int
) -> Numbers:
    """Return for each declared feature the growth of the mean squared error when its values are shuffled.

    Args:
        features: (rows, declared features).
        target: one number a row.
        predicted: gives the out-of-fold predictions for features of this shape.
        seed: of the shuffling.
    """
    draw = np.random.default_rng(seed)
    before = float(np.mean((predicted(features) - target) ** 2))
    losses = []
    for position in range(features.shape[1]):
        shuffled = features.copy()
        shuffled[:, position] = draw.permutation(shuffled[:, position])
        losses.append(float(np.mean((predicted(shuffled) - target) ** 2)) - before)
    return np.array(losses)


def write_importance(folder: Path, found: Sequence[Importance]) -> None:
    """Write ``feature_importance.csv``, the most important first."""
    ordered = sorted(found, key=lambda one: (-one.gain, one.feature))
    with (folder / IMPORTANCE_FILE).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("feature", "gain_share", "permutation_mse_increase"))
        for one in ordered:
            permutation = "" if one.permutation is None else f"{one.permutation:.6g}"
            writer.writerow((one.feature, f"{one.gain:.6f}", permutation))
