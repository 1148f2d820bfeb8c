"""Prediction for image files with a trained network, loaded from its folder alone."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from mlops_core import SampleScores
from mlops_image_classification.config import Preprocessing
from mlops_image_classification.data.decoding import read_pixels
from mlops_image_classification.data.describing import DESCRIPTION_NAMES, describe_picture
from mlops_image_classification.data.perturbing import PERTURBATIONS
from mlops_image_classification.model.classifier import Classifier

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from mlops_core import Perturbation

_BATCH = 32


class ImagePredictor:
    """Scores image files; a picture is prepared exactly as for the training, without a region of interest."""

    def __init__(self, folder: Path) -> None:
        """Load the output of the step ``train``."""
        self._classifier = Classifier.load(folder)
        self._preprocessing = Preprocessing.model_validate(self._classifier.metadata["preprocessing"])

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the scores."""
        return tuple(self._classifier.metadata["classes"])

    def predict(self, paths: Iterable[Path]) -> Iterator[SampleScores]:
        """Yield the scores of each file; files are scored in batches.

        Raises:
            DatasetError: a file cannot be decoded.
        """
        return self._answers(paths, is_described=False)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the numbers that describe a picture."""
        return DESCRIPTION_NAMES

    def describe(self, paths: Iterable[Path]) -> Iterator[SampleScores]:
        """Yield the answers of `predict`, each with colour, detail and certainty."""
        return self._answers(paths, is_described=True)

    @property
    def perturbations(self) -> tuple[Perturbation, ...]:
        """Blur, brightness and noise."""
        return PERTURBATIONS

    def _answers(self, paths: Iterable[Path], *, is_described: bool) -> Iterator[SampleScores]:
        remaining = iter(paths)
        while batch := list(islice(remaining, _BATCH)):
            pixels = np.stack([read_pixels(path, self._preprocessing) for path in batch])
            images = pixels.astype(np.float32) / np.float32(255.0)
            for path, own, scores in zip(batch, pixels, self._classifier.scores(images), strict=True):
                description = describe_picture(own, scores) if is_described else ()
                yield SampleScores(path=str(path), scores=scores, description=description)

    def warm_up(self) -> None:
        """Score a black picture, which builds the graph of the network."""
        size = self._preprocessing.image_size
        self._classifier.scores(np.zeros((1, size, size, 3), dtype=np.float32))
