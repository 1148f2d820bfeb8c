"""The trained model of a use case: the network and, if it has a share of the scores, a classifier of descriptors.

Their probabilities are averaged, then calibrated.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from mlops_image_classification.model import network
from mlops_image_classification.model.calibration import with_temperature
from mlops_image_classification.model.kernel_classifier import KERNEL_FILE, KernelClassifier

if TYPE_CHECKING:
    from pathlib import Path

    import keras
    from numpy.typing import NDArray

    from mlops_image_classification.config import Training


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Classifier:
    """A trained model.

    Attributes:
        model: the network.
        kernel: the classifier of descriptors; None for none.
        kernel_share: its share of the scores, 0 to 1.
        is_mirrored: whether the mirror image of each view of a picture is scored, too.
        centre: share of the side that a second view for the network shows, enlarged; 0 for no second view.
        metadata: what the file of the model says beyond that: at least ``temperature``.
    """

    model: keras.Model
    kernel: KernelClassifier | None = None
    kernel_share: float = 0.0
    is_mirrored: bool = False
    centre: float = 0.0
    metadata: dict[str, Any] = field(default_factory=lambda: {"temperature": 1.0})

    @classmethod
    def of(cls, model: keras.Model, kernel: KernelClassifier | None, settings: Training) -> Self:
        """Return the classifier that the settings describe, uncalibrated."""
        return cls(
            model=model,
            kernel=kernel,
            kernel_share=settings.kernel_share,
            is_mirrored=settings.mirrored_scores,
            centre=settings.centre_scores,
        )

    def with_metadata(self, metadata: dict[str, Any]) -> Self:
        """Return the classifier with `metadata`."""
        return replace(self, metadata=metadata)

    def probabilities(self, images: Any) -> NDArray[np.float64]:
        """Return the uncalibrated scores of `images` (batch, size, size, 3), float32, 0 to 1: (batch, classes)."""
        scores = network.probabilities(self.model, images, is_mirrored=self.is_mirrored, centre=self.centre)
        if self.kernel is None:
            return scores
        others = self.kernel.probabilities(np.asarray(images), is_mirrored=self.is_mirrored)
        return (1 - self.kernel_share) * scores + self.kernel_share * others

    def scores(self, images: Any) -> list[tuple[float, ...]]:
        """Return the calibrated scores of `images` (batch, size, size, 3), float32, 0 to 1: one per class and image."""
        calibrated = with_temperature(self.probabilities(images), self.metadata["temperature"])
        return [tuple(round(float(score), 6) for score in row) for row in calibrated]

    def save(self, folder: Path) -> None:
        """Write the classifier into `folder`; an equal one gives equal bytes."""
        settings = {
            "mirrored_scores": self.is_mirrored,
            "centre_scores": self.centre,
            "kernel_share": self.kernel_share,
        }
        network.save(self.model, folder, self.metadata | settings)
        if self.kernel is not None:
            self.kernel.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return what `save` wrote; a model of an earlier version has a network only."""
        model, metadata = network.load(folder)
        return cls(
            model=model,
            kernel=KernelClassifier.load(folder) if (folder / KERNEL_FILE).exists() else None,
            kernel_share=metadata.get("kernel_share", 0.0),
            is_mirrored=metadata.get("mirrored_scores", False),
            centre=metadata.get("centre_scores", 0.0),
            metadata=metadata,
        )
