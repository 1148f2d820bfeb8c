"""A trained network that predicts audio files and listens for events, loaded from its folder alone."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import wave
from pathlib import Path
from typing import IO, TYPE_CHECKING

from mlops_aed.audio.describing import describe_patches, description_names
from mlops_aed.audio.features import clip_patches
from mlops_aed.audio.listening import AudioListening, Hearing
from mlops_aed.audio.wav_headers import is_shorter_than_header
from mlops_aed.config import FeatureExtraction, Preprocessing
from mlops_aed.file_names import printable
from mlops_aed.models import model_folder, scorers
from mlops_core import SampleScores

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mlops_aed.audio.events import EventOptions
    from mlops_core import Perturbation

_LOG = logging.getLogger(__name__)
_PERIOD = b"\0\x10\0\x10\0\xf0\0\xf0"
"""Four samples of a square wave, 16 bits each."""


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
        return self._answers(paths, is_described=False)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the numbers that describe a clip: two per mel band."""
        return description_names(self._features.n_mels)

    def describe(self, paths: Iterable[Path]) -> Iterator[SampleScores]:
        """Yield the answers of `predict`, each with mean and deviation of the mel bands."""
        return self._answers(paths, is_described=True)

    @property
    def perturbations(self) -> tuple[Perturbation, ...]:
        """Gain, white noise and a lower sample rate."""
        from mlops_aed.audio.perturbing import perturbations

        return perturbations(seconds=self._preprocessing.max_length)

    def _answers(self, paths: Iterable[Path], *, is_described: bool) -> Iterator[SampleScores]:
        for path in paths:
            patches = clip_patches(path, self._preprocessing, self._features)
            _warn_if_cut_off(path)
            patch_scores = scorers.scores(self._scorer, patches, self._metadata)
            yield SampleScores(
                path=str(path),
                scores=tuple(map(float, patch_scores.mean(axis=0))),
                description=describe_patches(patches) if is_described else (),
            )

    def warm_up(self) -> None:
        """Predict a second of a tone; what features and network load on first use is loaded then."""
        with tempfile.TemporaryDirectory(prefix="mlops-warm-up-") as folder:
            path = Path(folder) / "tone.wav"
            with wave.open(str(path), "wb") as file:
                file.setparams((1, 2, self._preprocessing.target_rate, 0, "NONE", ""))
                file.writeframes(_PERIOD * (self._preprocessing.target_rate // 4))
            list(self.predict([path]))

    def listen(self, source: Path | IO[bytes], options: EventOptions) -> AudioListening:
        """Start to listen for events in a long recording or a stream; raises the errors of `predict`."""
        if isinstance(source, Path):
            _warn_if_cut_off(source)
        hearing = Hearing(
            classes=self.classes,
            scorer=lambda patches: scorers.scores(self._scorer, patches, self._metadata),
            preprocessing=self._preprocessing,
            features=self._features,
        )
        return AudioListening(source, hearing, options)


def _warn_if_cut_off(path: Path) -> None:
    """Log that a recording ends before the length that its header gives, as after a stopped download."""
    with contextlib.suppress(OSError):  # decoding names what cannot be read
        if is_shorter_than_header(path):
            _LOG.warning("%s is cut off: it ends before the length that its header gives", printable(str(path)))
