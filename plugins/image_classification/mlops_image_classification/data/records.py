"""Prepared pictures on disk: TFRecord files, each with the pictures of one block.

A record is one picture as PNG, which is lossless, with its number. A file holds one block of pictures, so that its
contents do not depend on the number of processes.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

_FAST = 1


def write_block(path: Path, pictures: Iterable[tuple[int, NDArray[np.uint8]]]) -> None:
    """Write pictures, given as (number, pixels (size, size, 3)), into one file."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for number, pixels in pictures:
            stream = io.BytesIO()
            Image.fromarray(pixels).save(stream, "PNG", compress_level=_FAST)
            features = {
                "number": tf.train.Feature(int64_list=tf.train.Int64List(value=[number])),
                "png": tf.train.Feature(bytes_list=tf.train.BytesList(value=[stream.getvalue()])),
            }
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString(deterministic=True))


def read_records(folder: Path) -> tf.data.Dataset:
    """Return a data set of (number, PNG bytes), ordered by number."""
    files = sorted(str(path) for path in folder.glob("*.tfrecord"))
    return tf.data.TFRecordDataset(files, num_parallel_reads=None).map(_parsed, num_parallel_calls=tf.data.AUTOTUNE)


def _parsed(record: Any) -> tuple[Any, Any]:
    layout = {"number": tf.io.FixedLenFeature([], tf.int64), "png": tf.io.FixedLenFeature([], tf.string)}
    features = tf.io.parse_single_example(record, layout)
    return features["number"], features["png"]
