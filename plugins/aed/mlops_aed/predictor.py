"""A trained network ready to be asked about audio files, from its folder alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_aed import network
from mlops_aed.config import FeatureExtraction, Preprocessing
from mlops_aed.features import clip_patches
from mlops_core.prediction import SampleScores

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


class AedPredictor:
    """Gives each file the mean of its patches' scores; their order is that of the soft vote in the evaluation."""

    def __init__(self, folder: Path) -> None:
        """Load what the step ``train`` wrote."""
        self._model, self._metadata = network.load(folder)
        self._preprocessing = Preprocessing.model_validate(self._metadata["preprocessing"])
        self._features = FeatureExtraction.model_validate(self._metadata["feature_extraction"])

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the scores."""
        return tuple(self._metadata["classes"])

    def predict(self, paths: Iterable[Path]) -> Iterator[SampleScores]:
        """Yield the scores of each file.

        Raises:
            DatasetError: a file cannot be decoded.
        """
        for path in paths:
            found = network.scores(self._model, clip_patches(path, self._preprocessing, self._features), self._metadata)
            yield SampleScores(path=str(path), scores=tuple(map(float, found.mean(axis=0))))
