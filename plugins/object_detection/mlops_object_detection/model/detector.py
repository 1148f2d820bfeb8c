"""A trained detector: from a picture to boxes, with tiles where the picture does not fit into one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from mlops_object_detection.data.images import scaled_pixels
from mlops_object_detection.model import network
from mlops_object_detection.model.plan import CLASS_STRIDE, OUTPUT_STRIDE, Plan
from mlops_object_detection.model.tiles import Found, is_cut, merge, starts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image

_PEAKS_PER_TILE = 300
_LEAST_SCORE = 0.01
_LARGEST_LOG = 7.0
_ANY_CLASS = 0.75


class Detector:
    """A network with its plan and its classes."""

    def __init__(self, model: Any, metadata: Mapping[str, Any]) -> None:
        """Use a network as `network.load` returns it."""
        self.classes: tuple[str, ...] = tuple(metadata["classes"])
        self.plan = Plan.from_json(metadata["plan"])
        self.limit = int(metadata["box_detections_per_image"])
        self._channels = int(metadata["network"]["channels"])
        self._fill = np.asarray(metadata["fill"], np.uint8)
        self._notable = float(metadata["box_score_threshold"])
        self._overlap = float(metadata["nms_iou_threshold"])
        self._find = _peak_function(model, peaks=_PEAKS_PER_TILE)

    @classmethod
    def load(cls, folder: Path) -> Detector:
        """Return the detector in the output of the step ``train``.

        Raises:
            StepError: the folder does not hold one.
        """
        return cls(*network.load(folder))

    def detect(self, image: Image.Image) -> tuple[Found, bool]:
        """Return what is found in a picture, in its own pixels, and whether there was more than the limit."""
        pixels = scaled_pixels(image, self.plan.size(*image.size), channels=self._channels)
        found = self._detect_tiles(pixels)
        merged, is_truncated = merge(
            found, same_class=self._overlap, any_class=_ANY_CLASS, limit=self.limit, notable=self._notable
        )
        height, width = pixels.shape[:2]
        factors = np.array([image.width / width, image.height / height] * 2)
        edges = np.array([image.width, image.height] * 2, np.float64)
        boxes = np.clip(merged.boxes * factors, 0.0, edges)
        is_area = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        return (
            Found(boxes=boxes[is_area], labels=merged.labels[is_area], scores=merged.scores[is_area]),
            is_truncated,
        )

    def _detect_tiles(self, pixels: NDArray[np.uint8]) -> Found:
        height, width = pixels.shape[:2]
        side, overlap = self.plan.tile, self.plan.overlap
        boxes, labels, scores = [], [], []
        for top in starts(height, tile=side, overlap=overlap):
            for left in starts(width, tile=side, overlap=overlap):
                tile = np.empty((side, side, self._channels), np.float32)
                tile[:] = self._fill
                part = pixels[top : top + side, left : left + side]
                tile[: part.shape[0], : part.shape[1]] = part
                tile_boxes, tile_labels, tile_scores = (value.numpy() for value in self._find(tile[None]))
                tile_boxes = tile_boxes.astype(np.float64) + np.array([left, top, left, top])
                cut = is_cut(tile_boxes, left=left, top=top, tile=side, width=width, height=height)
                centre = (tile_boxes[:, :2] + tile_boxes[:, 2:]) / 2
                keep = ~cut & (tile_scores >= _LEAST_SCORE) & (centre < [width, height]).all(axis=1)
                boxes.append(tile_boxes[keep])
                labels.append(tile_labels[keep])
                scores.append(tile_scores[keep])
        return Found(
            boxes=np.concatenate(boxes),
            labels=np.concatenate(labels).astype(np.int64),
            scores=np.concatenate(scores).astype(np.float64),
        )


def _peak_function(model: Any, *, peaks: int) -> Any:
    """Return a function from a tile (1, side, side, channels) to boxes (peaks, 4), classes and scores."""

    @tf.function(autograph=False, reduce_retracing=True)  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def find(images: Any) -> tuple[Any, Any, Any]:
        objects, sides, classes = model(images, training=False)
        heat = tf.sigmoid(objects)
        is_peak = tf.equal(heat, tf.nn.max_pool2d(heat, 3, 1, "SAME"))
        heat = tf.where(is_peak, heat, tf.zeros_like(heat))[0, :, :, 0]
        columns = tf.shape(heat)[1]
        flat = tf.reshape(heat, [-1])
        values, places = tf.math.top_k(flat, k=tf.minimum(peaks, tf.size(flat)))
        rows, at = places // columns, places % columns
        extents = tf.exp(tf.minimum(tf.gather(tf.reshape(sides[0], [-1, 4]), places), _LARGEST_LOG))
        ratio = CLASS_STRIDE // OUTPUT_STRIDE
        logits = tf.gather_nd(classes[0], tf.stack([rows // ratio, at // ratio], axis=1))
        shares = tf.nn.softmax(logits)
        x = (tf.cast(at, tf.float32) + 0.5) * OUTPUT_STRIDE
        y = (tf.cast(rows, tf.float32) + 0.5) * OUTPUT_STRIDE
        boxes = tf.stack([x - extents[:, 0], y - extents[:, 1], x + extents[:, 2], y + extents[:, 3]], axis=1)
        return boxes, tf.argmax(shares, axis=1), values * tf.reduce_max(shares, axis=1)

    return find
