"""The loss: focal for centres (Law and Deng, CornerNet, 2018), generalised IoU for boxes, cross-entropy for classes."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

Tensor = Any
_BOX_WEIGHT = 2.0
_LARGEST_LOG = 7.0
"""Limit of the logarithm of a side: exp of it is far above any tile."""
_TINY = 1e-6


def centre_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the penalty-reduced focal loss per centre; `targets` (..., 2) are bell and mask."""
    bell, mask = targets[..., 0], targets[..., 1]
    logits = logits[..., 0]
    log_p, log_not = -tf.nn.softplus(-logits), -tf.nn.softplus(logits)
    p = tf.sigmoid(logits)
    is_centre = tf.cast(bell >= 0.9999, tf.float32)
    hit = -is_centre * (1 - p) ** 2 * log_p
    miss = -(1 - is_centre) * (1 - bell) ** 4 * p**2 * log_not
    return tf.reduce_sum((hit + miss) * mask) / tf.maximum(tf.reduce_sum(is_centre), 1.0)


def side_loss(logs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean of 1 - GIoU over the cells that count; `targets` (..., 5) are sides and mask."""
    found = tf.exp(tf.minimum(logs, _LARGEST_LOG))
    truth, mask = targets[..., :4], targets[..., 4]
    truth = tf.where(mask[..., None] > 0, truth, tf.ones_like(truth))
    inner = tf.minimum(found, truth)
    outer = tf.maximum(found, truth)
    shared = (inner[..., 0] + inner[..., 2]) * (inner[..., 1] + inner[..., 3])
    hull = (outer[..., 0] + outer[..., 2]) * (outer[..., 1] + outer[..., 3])
    areas = [(box[..., 0] + box[..., 2]) * (box[..., 1] + box[..., 3]) for box in (found, truth)]
    union = areas[0] + areas[1] - shared
    giou = shared / tf.maximum(union, _TINY) - (hull - union) / tf.maximum(hull, _TINY)
    return tf.reduce_sum((1 - giou) * mask) / tf.maximum(tf.reduce_sum(mask), 1.0)


def class_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy over the cells whose class counts."""
    mask = tf.cast(targets >= 0, tf.float32)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(targets, 0), logits)
    return tf.reduce_sum(losses * mask) / tf.maximum(tf.reduce_sum(mask), 1.0)


def total_loss(answers: tuple[Tensor, Tensor, Tensor], targets: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Return the three parts of the loss, (3,): centres, boxes, classes."""
    return tf.stack(
        [
            centre_loss(answers[0], targets[0]),
            _BOX_WEIGHT * side_loss(answers[1], targets[1]),
            class_loss(answers[2], targets[2]),
        ]
    )
