"""A classifier on the output of a frozen backbone: logistic regression, to convergence.

It is multinomial if a patch has one class; if it may have several, each class has its own binary regression.

The loss has one minimum, so the fit needs no learning rate, no epochs and no validation part, and does not depend on
the seed. The strength of the regularisation (`penalty`) is chosen by cross-validation over source recordings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from scipy import optimize, special

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

PENALTIES = (0.03, 0.01, 0.003)
"""Tried in descending order; each fit starts from the result of the one before."""
_OPTIONS = {"maxiter": 200, "ftol": 1e-7}
_ROUGH = {"maxiter": 100, "ftol": 1e-5}
"""Iterations per fit when penalties are compared."""
_LARGEST_LOSS = 16.0
"""Limit of the loss of a patch when penalties are compared, so that no single patch decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Weights (values, classes) and biases (classes,) of a dense layer on the raw output of the backbone."""

    weights: Floats
    biases: Floats

    def scores(self, values: Floats) -> Floats:
        """Return probabilities that sum to 1, shape (patches, classes)."""
        return cast("Floats", special.softmax(values @ self.weights + self.biases, axis=1))

    def losses(self, values: Floats, targets: Floats, *, is_multi_label: bool = False) -> Floats:
        """Return the cross-entropy of each patch, shape (patches,)."""
        losses, _ = _cross_entropy(values @ self.weights + self.biases, targets, is_multi_label=is_multi_label)
        return losses


def _cross_entropy(logits: Floats, targets: Floats, *, is_multi_label: bool) -> tuple[Floats, Floats]:
    """Return the loss of each patch, shape (patches,), and the probabilities, shape (patches, classes)."""
    if is_multi_label:
        losses = (np.logaddexp(0, logits) - targets * logits).sum(axis=1)
        return losses, cast("Floats", special.expit(logits))
    lower = logits - logits.max(axis=1, keepdims=True)
    exponents = np.exp(lower)
    sums = exponents.sum(axis=1, keepdims=True)
    return -(targets * (lower - np.log(sums))).sum(axis=1), exponents / sums


def fit_head(
    values: Floats, targets: Floats, *, importance: Floats, penalty: float, is_multi_label: bool = False
) -> Head:
    """Return the head with the smallest weighted cross-entropy plus `penalty` times the sum of squared weights.

    The values are standardised for the fit, so that the penalty is the same for each; the head takes raw values.

    Args:
        values: (patches, values).
        targets: (patches, classes); each row sums to 1 unless there are several labels.
        importance: (patches,); weight of each row, of which only the ratios matter.
        penalty: positive.
        is_multi_label: whether each class has its own probability.
    """
    problem = _Problem(values, targets, importance, is_multi_label=is_multi_label)
    return problem.head(problem.solution(penalty, options=_OPTIONS))


class _Problem:
    """The patches of one fit, standardised once."""

    def __init__(self, values: Floats, targets: Floats, importance: Floats, *, is_multi_label: bool) -> None:
        self._is_multi_label = is_multi_label
        self._mean, self._deviation = values.mean(axis=0), values.std(axis=0) + np.float32(1e-6)
        ones = np.ones(len(values), np.float32)
        self._rows = np.column_stack([(values - self._mean) / self._deviation, ones]).astype(np.float32)
        self._targets = targets
        self._share = (importance / importance.sum()).astype(np.float32)[:, None]
        self._shape = (self._rows.shape[1], targets.shape[1])

    def solution(self, penalty: float, *, options: dict[str, float], start: Floats | None = None) -> Floats:
        """Return standardised weights and, in the last row, biases."""
        held = np.full((self._shape[0], 1), penalty, dtype=np.float32)
        held[-1] = 0  # biases are free
        first = np.zeros(self._shape) if start is None else start
        minimum = optimize.minimize(
            self._loss, first.ravel(), args=(held,), jac=True, method="L-BFGS-B", options=options
        )
        return cast("Floats", minimum.x.reshape(self._shape))

    def _loss(self, flat: NDArray[np.float64], held: Floats) -> tuple[float, NDArray[np.float64]]:
        weights = flat.reshape(self._shape).astype(np.float32)
        losses, probabilities = _cross_entropy(self._rows @ weights, self._targets, is_multi_label=self._is_multi_label)
        value = float((held * weights**2).sum() + (self._share[:, 0] * losses).sum())
        gradient = self._rows.T @ (self._share * (probabilities - self._targets)) + 2 * held * weights
        return value, gradient.astype(np.float64).ravel()

    def head(self, fitted: Floats) -> Head:
        """Return the head for the raw output of the backbone."""
        weights = fitted[:-1] / self._deviation[:, None]
        biases = fitted[-1] - self._mean @ weights
        return Head(weights=weights.astype(np.float32), biases=biases.astype(np.float32))


def clip_importance(clips: Sequence[str]) -> Floats:
    """Return the importance of each patch; a clip counts by the square root of its number of patches.

    A compromise: with equal patches long clips dominate, with equal clips the single patch of a short clip does.
    """
    _, inverse, counts = np.unique(np.asarray(clips), return_inverse=True, return_counts=True)
    return (1.0 / np.sqrt(counts[inverse])).astype(np.float32)


def choose_penalty(
    values: Floats,
    targets: Floats,
    *,
    clips: Sequence[str],
    folds: NDArray[np.int64],
    is_multi_label: bool = False,
) -> float:
    """Return the penalty with the smallest loss on source recordings that were left out.

    Args:
        values: (patches, values).
        targets: (patches, classes); one-hot unless there are several labels.
        clips: the clip of each patch.
        folds: the part with which each patch is left out; a source recording is in one part.
        is_multi_label: whether each class has its own probability.
    """
    importance = clip_importance(clips)
    losses = np.zeros(len(PENALTIES))
    for fold in np.unique(folds):
        out = folds == fold
        problem = _Problem(values[~out], targets[~out], importance[~out], is_multi_label=is_multi_label)
        start: Floats | None = None
        for position, penalty in enumerate(PENALTIES):
            start = problem.solution(penalty, options=_ROUGH, start=start)
            held_losses = problem.head(start).losses(values[out], targets[out], is_multi_label=is_multi_label)
            losses[position] += float((importance[out] * np.minimum(held_losses, _LARGEST_LOSS)).sum())
    return PENALTIES[int(np.argmin(losses))]


def group_folds(groups: Sequence[str], labels: Sequence[str], *, count: int = 3) -> NDArray[np.int64]:
    """Return a part, 0 to `count` - 1, for each patch; whole groups are assigned in turn, class by class."""
    place: dict[str, int] = {}
    dealt: dict[str, int] = {}
    for group, label in sorted(set(zip(groups, labels, strict=True)), key=lambda pair: (pair[1], pair[0])):
        if group not in place:
            place[group] = dealt.get(label, 0) % count
            dealt[label] = dealt.get(label, 0) + 1
    return np.array([place[group] for group in groups], dtype=np.int64)
