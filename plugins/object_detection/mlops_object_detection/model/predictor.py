"""Detection in image files with a trained model, loaded from its folder alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mlops_core import Detection
from mlops_object_detection.data.images import read_image
from mlops_object_detection.model.detector import Detector
from mlops_object_detection.steps.detections import answer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


class DetectionPredictor:
    """Finds objects in image files, exactly as the evaluation does."""

    def __init__(self, folder: Path) -> None:
        """Load the output of the step ``train``."""
        self._detector = Detector.load(folder)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self._detector.classes

    def predict(self, paths: Iterable[Path]) -> Iterator[Detection]:
        """Yield what is found in each file, best first, with boxes in pixels of the picture as it is displayed.

        Raises:
            DatasetError: a file cannot be decoded.
        """
        for path in paths:
            found, _ = self._detector.detect(read_image(path))
            boxes, labels, scores = answer(found, self.classes)
            yield Detection(path=str(path), scores=scores, labels=labels, boxes=boxes)

    def warm_up(self) -> None:
        """Look at a grey picture, which builds the graph of the network."""
        self._detector.detect(Image.fromarray(np.full((64, 64), 128, np.uint8)))
