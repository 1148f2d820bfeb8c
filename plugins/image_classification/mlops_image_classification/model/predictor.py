"""Prediction for image files with a trained network, loaded from its folder alone."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from mlops_core import SampleScores
from mlops_image_classification.config import Preprocessing
from mlops_image_classification.data.decoding import read_pixels
from mlops_image_classification.model import network

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_BATCH = 32


class ImagePredictor:
    """Scores image files; a picture is prepared exactly as for the training, without a region of interest."""

    def __init__(self, folder: Path) -> None:
        """Load the output of the step ``train``."""
        self._model, self._metadata = network.load(folder)
        self._preprocessing = Preprocessing.model_validate(self._metadata["preprocessing"])

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the scores."""
        return tuple(self._metadata["classes"])

    def predict(self, paths: Iterable[Path]) -> Iterator[SampleScores]:
        """Yield the scores of each file; files are scored in batches.

        Raises:
            DatasetError: a file cannot be decoded.
        """
        remaining = iter(paths)
        while batch := list(islice(remaining, _BATCH)):
            pixels = np.stack([read_pixels(path, self._preprocessing) for path in batch])
            images = pixels.astype(np.float32) / np.float32(255.0)
            scores_of_batch = network.scores(self._model, images, self._metadata)
            for path, scores in zip(batch, scores_of_batch, strict=True):
                yield SampleScores(path=str(path), scores=scores)
