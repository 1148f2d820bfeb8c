"""The reference as arrays: checked, standardised, with its groups."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlops_core.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mlops_core.serving.drift.reference import DriftReference

_CONSTANT = 1e-9
_LARGEST_RAW = 1e100
_LARGEST = 1e6
"""In standard deviations; beyond it no statistic changes any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledReference:
    """A reference in units of its standard deviations.

    A feature that is constant in the reference cannot be scaled: its value becomes 1 above the constant, -1 below it
    and 0 at it, so that it does not change distances within the reference, and takes part in sums like any other.

    Attributes:
        features: names, d of them.
        values: standardised, N x d.
        means: d.
        deviations: d; 0 for a constant feature.
        groups: number of the group of each sample, N; `None` when samples are independent.
        digest: of features, values and groups.
    """

    features: tuple[str, ...]
    values: NDArray[np.float64]
    means: NDArray[np.float64]
    deviations: NDArray[np.float64]
    groups: NDArray[np.int64] | None
    digest: str

    @property
    def constant(self) -> tuple[str, ...]:
        """Names of the features that are constant in the reference."""
        return tuple(name for name, deviation in zip(self.features, self.deviations, strict=True) if deviation == 0)

    def scale(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return vectors, ... x d, in units of the reference."""
        return _scaled(raw, self.means, self.deviations)

    def vector(self, sample: Sequence[float | None]) -> NDArray[np.float64] | None:
        """Return a sample in units of the reference; None if a number is missing or not finite.

        Raises:
            DatasetError: it has another number of features.
        """
        if len(sample) != len(self.features):
            raise DatasetError(
                f"drift: a sample has {len(sample)} features; the reference has {len(self.features)} "
                f"({', '.join(self.features[:3])}{', ...' if len(self.features) > 3 else ''})"
            )
        if None in sample:
            return None
        raw = np.array(sample, np.float64)
        return self.scale(raw) if np.isfinite(raw).all() else None

    def subset(self, chosen: NDArray[np.int64]) -> ScaledReference:
        """Return the reference of some of its samples, scaled by themselves."""
        raw = self.values[chosen] * np.where(self.deviations == 0, 1.0, self.deviations) + self.means
        groups = None if self.groups is None else self.groups[chosen]
        return scaled_reference(self.features, raw, groups)


def reference_arrays(reference: DriftReference) -> ScaledReference:
    """Return a reference as arrays.

    Raises:
        DatasetError: it is empty, ragged, not finite or too large, or all of its features are constant.
    """
    names = tuple(reference.features)
    where = f"drift: reference of {reference.source or 'unknown source'}"
    if not names or not reference.vectors:
        raise DatasetError(f"{where} has {len(reference.vectors)} samples of {len(names)} features; expected some")
    for index, vector in enumerate(reference.vectors):
        if len(vector) != len(names):
            raise DatasetError(f"{where}: sample {index} has {len(vector)} features; expected {len(names)}")
    raw = np.array(reference.vectors, np.float64)
    if not np.isfinite(raw).all():
        row, column = (int(each[0]) for each in np.nonzero(~np.isfinite(raw)))
        raise DatasetError(f"{where}: sample {row}, feature '{names[column]}' is {raw[row, column]}; expected a number")
    if np.abs(raw).max() > _LARGEST_RAW:
        raise DatasetError(f"{where} has a number of {np.abs(raw).max():.3g}; expected at most {_LARGEST_RAW:g}")
    groups = None
    if reference.groups:
        if len(reference.groups) != len(raw):
            raise DatasetError(f"{where} has {len(reference.groups)} groups for {len(raw)} samples")
        _, numbers = np.unique(np.array(reference.groups), return_inverse=True)
        groups = numbers.astype(np.int64) if numbers.max() + 1 < len(raw) else None
    return scaled_reference(names, raw, groups)


def scaled_reference(
    features: tuple[str, ...], raw: NDArray[np.float64], groups: NDArray[np.int64] | None
) -> ScaledReference:
    """Return raw vectors, N x d, in units of their standard deviations.

    Raises:
        DatasetError: all features are constant.
    """
    means = raw.mean(axis=0)
    deviations = raw.std(axis=0)
    constant = np.ptp(raw, axis=0) <= _CONSTANT * np.maximum(1.0, np.abs(means))
    means[constant] = raw[0, constant]
    deviations[constant] = 0.0
    if constant.all():
        raise DatasetError(
            f"drift: all {len(features)} features are constant in the reference of {len(raw)} samples; expected some "
            "that vary"
        )
    values = _scaled(raw, means, deviations)
    digest = hashlib.sha256(repr((features, raw.shape)).encode())
    digest.update(np.ascontiguousarray(raw).tobytes())
    if groups is not None:
        digest.update(groups.tobytes())
    return ScaledReference(
        features=features,
        values=values,
        means=means,
        deviations=deviations,
        groups=groups,
        digest=digest.hexdigest(),
    )


def _scaled(
    raw: NDArray[np.float64], means: NDArray[np.float64], deviations: NDArray[np.float64]
) -> NDArray[np.float64]:
    constant = deviations == 0
    with np.errstate(over="ignore"):  # infinite ones are limited below
        difference = raw - means
        scaled = difference / np.where(constant, 1.0, deviations)
    if constant.any():
        near = np.abs(difference) <= 2 * _CONSTANT * np.maximum(1.0, np.abs(means))
        scaled = np.where(constant, np.where(near, 0.0, np.sign(difference)), scaled)
    return np.clip(scaled, -_LARGEST, _LARGEST)
