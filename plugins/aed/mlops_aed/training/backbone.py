"""Training on top of a pretrained backbone: the head is fitted on the output of the frozen backbone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np

from mlops_aed.config import DataAugmentation, FeatureExtraction
from mlops_aed.data.feature_store import open_features
from mlops_aed.evaluation.multilabel import multi_hot
from mlops_aed.models.architectures import EMBEDDING_LAYER
from mlops_aed.training.crops import by_clip, dense_patches
from mlops_aed.training.head import choose_penalty, clip_importance, fit_head, group_folds
from mlops_aed.training.levels import Levels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mlops_aed.data.feature_store import PatchRow
    from mlops_core import StepContext

    Floats = NDArray[np.float32]

_OFFSETS = 4
"""Patches start every quarter of a patch, which gives three times as many as the features hold."""
_BLOCK_CLIPS = 64
_BATCH = 32
"""Maps of 32 patches stay in the processor's cache; larger batches take longer per patch."""


def fit_head_of(
    context: StepContext,
    model: keras.Model,
    rows: Sequence[PatchRow],
    *,
    classes: Sequence[str],
    penalty: float | None,
    is_multi_label: bool = False,
) -> None:
    """Fit the last layer of `model` to the patches `rows`, with all other layers frozen.

    Args:
        context: context of a step with the input ``features`` and the sections ``feature_extraction`` and
            ``data_augmentation``, of which only ``gain_db`` is used.
        model: network with a layer `EMBEDDING_LAYER` and a last layer ``scores``.
        rows: the patches to fit; those of one clip are adjacent.
        classes: class names in the order of the outputs.
        penalty: penalty of the weights; None to choose it by cross-validation over source recordings.
        is_multi_label: whether patches may have several classes and `model` ends in sigmoids.
    """
    values, origin = _dense_values(context, model, rows)
    targets = multi_hot((row.label for row in origin), classes)
    clips = [row.clip for row in origin]
    if penalty is None:
        folds = group_folds([row.group for row in origin], [row.label for row in origin])
        penalty = choose_penalty(values, targets, clips=clips, folds=folds, is_multi_label=is_multi_label)
    importance = clip_importance(clips)
    head = fit_head(values, targets, importance=importance, penalty=penalty, is_multi_label=is_multi_label)
    model.get_layer("scores").set_weights([head.weights, head.biases])
    context.log.info("fitted %d values of %d patches, penalty %g", values.shape[1], len(values), penalty)


def _dense_values(
    context: StepContext,
    model: keras.Model,
    rows: Sequence[PatchRow],
) -> tuple[Floats, list[PatchRow]]:
    """Return the backbone's output (patches, values) for patches at many offsets, and a row of the clip of each.

    With a gain, each patch is there three times: louder, as it is, and quieter.
    """
    features = open_features(context.input("features"))
    settings = context.section("feature_extraction", FeatureExtraction)
    gain = context.section("data_augmentation", DataAugmentation).gain_db
    levels = Levels(power=settings.power)
    backbone = keras.Model(model.input, model.get_layer(EMBEDDING_LAYER).output)
    clips = list(by_clip(rows))
    values: list[Floats] = []
    origin: list[PatchRow] = []
    step = max(1, settings.patch_length // _OFFSETS)
    for start in range(0, len(clips), _BLOCK_CLIPS):
        block = clips[start : start + _BLOCK_CLIPS]
        patches_of = [dense_patches(features[[row.index for row in clip]], settings, step=step) for clip in block]
        patches = np.concatenate(patches_of)
        for gain_db in (0.0, gain, -gain) if gain else (0.0,):
            batch = levels.amplified(patches, gain_db) if gain_db else patches
            values.append(backbone.predict(batch[..., None], batch_size=_BATCH, verbose=0))
            origin += [clip[0] for clip, own in zip(block, patches_of, strict=True) for _ in own]
        context.progress("clip", start + len(block), len(clips))
    return np.concatenate(values), origin


def freeze_statistics(model: keras.Model) -> None:
    """Keep the batch statistics of the pretrained backbone; those of a small data set are worse."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
