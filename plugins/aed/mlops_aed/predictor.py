"""A trained network that predicts audio files and listens for events, loaded from its folder alone."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from mlops_aed.audio.features import clip_patches
from mlops_aed.audio.listening import AudioListening, Hearing
from mlops_aed.config import FeatureExtraction, Preprocessing
from mlops_aed.models import model_folder, scorers
from mlops_core import SampleScores

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from mlops_aed.audio.events import EventOptions


class AedPredictor:
    """Returns for each file the mean of its patches' scores; their order is that of the soft vote in the evaluation."""

    def __init__(self, folder: Path) -> None:
        """Load a float or a quantized model; the latter without TensorFlow."""
        self._scorer = scorers.open_scorer(folder)
        self._metadata = model_folder.read_metadata(folder)
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
            patches = clip_patches(path, self._preprocessing, self._features)
            patch_scores = scorers.scores(self._scorer, patches, self._metadata)
            yield SampleScores(path=str(path), scores=tuple(map(float, patch_scores.mean(axis=0))))

    def listen(self, source: Path | IO[bytes], options: EventOptions) -> AudioListening:
        """Start to listen for events in a long recording or a stream; raises the errors of `predict`."""
        hearing = Hearing(
            classes=self.classes,
            scorer=lambda patches: scorers.scores(self._scorer, patches, self._metadata),
            preprocessing=self._preprocessing,
            features=self._features,
        )
        return AudioListening(source, hearing, options)
