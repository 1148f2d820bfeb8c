"""Whether the scores of a model that another program trained are in the order that they are said to be in.

No file format says which score is whose. A wrong order looks like a bad model; but a bad model is not good after its
scores are put into another order, and one in the wrong order is.
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
    """Return the classes in the order of the scores: as given, else those of the data set.

    Args:
        given: the order that the configuration says; None for that of the data set.
        known: the data set's classes.
        key: of the configuration, for messages.

    Raises:
        ConfigError: `given` are not the data set's classes.
    """
    if order is None:
        return tuple(classes)
    odd, lacking = sorted(set(order) - set(classes)), sorted(set(classes) - set(order))
    if odd or lacking or len(order) != len(classes):
        faults = [f"{word} {', '.join(names)}" for word, names in (("no class", odd), ("lacking", lacking)) if names]
        raise ConfigError(f"{key}: {'; '.join(faults) or 'a class twice'}; expected in any order: {', '.join(classes)}")
    return tuple(order)


def require_order(
    scores: NDArray[np.float32], labels: Sequence[str], classes: Sequence[str], *, key: str, name: str
) -> float:
    """Return the share of patches whose class has the highest score.

    Args:
        scores: (patches, classes).
        labels: of each patch.
        classes: in the order that the scores are said to be in.
        key: of the configuration that can say another order, for messages.
        name: of the model, for messages.

    Raises:
        ConfigError: in another order, which is named, far more patches are right.
    """
    from scipy.optimize import linear_sum_assignment

    counts = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(counts, ([list(classes).index(label) for label in labels], scores.argmax(axis=1)), 1)
    rows, columns = linear_sum_assignment(-counts)
    right, best = float(np.trace(counts) / len(labels)), float(counts[rows, columns].sum() / len(labels))
    if best >= _GOOD and best - right >= _BETTER:
        order = [classes[row] for row in rows[np.argsort(columns)]]
        raise ConfigError(
            f"{name} gives its scores in another order: of {len(labels)} patches {right:.0%} are right with "
            f"{', '.join(classes)}, and {best:.0%} with {', '.join(order)}; if that is its order, set {key}: "
            f"[{', '.join(order)}]"
        )
    return right
