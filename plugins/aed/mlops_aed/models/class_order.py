"""Check of the order of the scores of a model that another program trained.

No file format stores which score belongs to which class. A wrong order looks like a bad model; but reordering the
scores makes a model in the wrong order good, and a bad model not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlops_core import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_GOOD, _BETTER = 0.5, 0.3


def ordered_classes(order: Sequence[str] | None, classes: Sequence[str], *, key: str) -> tuple[str, ...]:
    """Return the classes in the order of the scores: `order`, else the order of the data set.

    Args:
        order: order in the configuration; None for that of the data set.
        classes: classes of the data set.
        key: key of the configuration, for messages.

    Raises:
        ConfigError: `order` does not hold the classes of the data set.
    """
    if order is None:
        return tuple(classes)
    odd, lacking = sorted(set(order) - set(classes)), sorted(set(classes) - set(order))
    if odd or lacking or len(order) != len(classes):
        faults = [f"{word} {', '.join(names)}" for word, names in (("unknown", odd), ("missing", lacking)) if names]
        raise ConfigError(
            f"{key}: {'; '.join(faults) or 'a class appears twice'}; expected in any order: {', '.join(classes)}"
        )
    return tuple(order)


def require_order(
    scores: NDArray[np.float32], labels: Sequence[str], classes: Sequence[str], *, key: str, name: str
) -> float:
    """Return the share of patches whose class has the highest score.

    Args:
        scores: (patches, classes).
        labels: label of each patch.
        classes: assumed order of the scores.
        key: key of the configuration that sets the order, for messages.
        name: name of the model, for messages.

    Raises:
        ConfigError: far more patches are right in another order, which the message names.
    """
    from scipy.optimize import linear_sum_assignment

    counts = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(counts, ([list(classes).index(label) for label in labels], scores.argmax(axis=1)), 1)
    rows, columns = linear_sum_assignment(-counts)
    right, best = float(np.trace(counts) / len(labels)), float(counts[rows, columns].sum() / len(labels))
    if best >= _GOOD and best - right >= _BETTER:
        order = [classes[row] for row in rows[np.argsort(columns)]]
        raise ConfigError(
            f"{name} returns its scores in another order: of {len(labels)} patches {right:.0%} are right with "
            f"{', '.join(classes)}, and {best:.0%} with {', '.join(order)}; if this is its order, set {key}: "
            f"[{', '.join(order)}]"
        )
    return right
