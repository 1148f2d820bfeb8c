"""A picture as eleven numbers that show when the data changes: colour, detail, and how sure the network is.

They come from the pixels as the network sees them and from its scores. The embedding is not among them: the network has
one output, the scores, so it would take a second pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_LINES = 64
_CHANNELS = ("red", "green", "blue")
DESCRIPTION_NAMES = (
    *(f"{name} mean" for name in _CHANNELS),
    *(f"{name} deviation" for name in _CHANNELS),
    "saturation",
    "horizontal detail",
    "vertical detail",
    "best score",
    "entropy of the scores",
)


def describe_picture(pixels: NDArray[np.uint8], scores: Sequence[float]) -> tuple[float, ...]:
    """Return the numbers that `DESCRIPTION_NAMES` names.

    Args:
        pixels: RGB, (height, width, 3).
        scores: of the classes; their entropy is in nats.

    The detail is the mean absolute difference of neighbouring pixels in the green channel, on a scale of 0 to 255: it
    falls when a lens is out of focus and rises with noise. Of a large picture, about 64 lines each way are used.
    """
    step = max(1, max(pixels.shape[:2]) // _LINES)
    planes = np.ascontiguousarray(pixels[::step, ::step].reshape(-1, 3).T)
    means = planes.mean(axis=1)
    deviations = planes.std(axis=1, dtype=np.float32)
    saturation = (planes.max(axis=0) - planes.min(axis=0)).mean()
    green = pixels[:, :, 1]
    details = (
        np.abs(np.diff(np.ascontiguousarray(lines, dtype=np.int16), axis=1)).mean()
        for lines in (green[::step], green[:, ::step].T)
    )
    probabilities = np.asarray(scores)
    positive = probabilities[probabilities > 0]
    entropy = -(positive * np.log(positive)).sum()
    return tuple(map(float, (*means, *deviations, saturation, *details, probabilities.max(), entropy)))
