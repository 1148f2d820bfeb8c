"""Transfer learning: the phases of the training, and the layers of a pretrained network that each of them trains."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import keras

from mlops_image_classification.model.fitting import Phase
from mlops_image_classification.model.network import BACKBONE

if TYPE_CHECKING:
    from mlops_image_classification.config import Training

HEAD, FINE_TUNING, WHOLE, FINAL = "head", "fine tuning", "whole", "final"
_LEARNING_RATE_OF_FINAL = 0.3
"""Peak learning rate of the final phase, as a share of the one before."""


def phases(settings: Training) -> tuple[Phase, ...]:
    """Return the phases of a training: one for random weights, up to two for pretrained ones."""
    if settings.model.weights is None:
        return (
            Phase(
                name=WHOLE,
                epochs=settings.epochs,
                learning_rate=settings.learning_rate,
                warmup_epochs=settings.warmup_epochs,
                patience=settings.patience,
                perfect_epochs=settings.perfect_epochs,
            ),
        )
    tuning = settings.fine_tuning
    head = Phase(
        name=HEAD,
        epochs=tuning.head_epochs,
        learning_rate=settings.learning_rate,
        warmup_epochs=0,
        patience=settings.patience,
        perfect_epochs=settings.perfect_epochs,
    )
    rest = Phase(
        name=FINE_TUNING,
        epochs=settings.epochs,
        learning_rate=tuning.learning_rate,
        warmup_epochs=settings.warmup_epochs,
        patience=settings.patience,
        perfect_epochs=settings.perfect_epochs,
    )
    return (head, rest) if tuning.head_epochs else (rest,)


def final_phase(settings: Training, before: Phase, *, epochs: int) -> Phase | None:
    """Return the phase that trains on all pictures but those of the test; None if there is none.

    Args:
        settings: ``final_share`` is its length as a share of `epochs`.
        before: the last phase with validation.
        epochs: number of epochs that were needed with validation.
    """
    if not settings.final_share:
        return None
    return replace(
        before,
        name=FINAL,
        epochs=max(1, round(settings.final_share * epochs)),
        learning_rate=_LEARNING_RATE_OF_FINAL * before.learning_rate,
    )


def set_trainable(model: keras.Model, phase: Phase, *, trained_share: float) -> None:
    """Freeze the layers that `phase` does not train.

    The first phase trains the head only and freezes the backbone. Fine-tuning trains the upper `trained_share` of the
    backbone's layers; batch normalisations stay frozen, because small batches would degrade their statistics. The final
    phase trains what the phase before it trained.
    """
    if phase.name in (WHOLE, FINAL):
        return
    backbone = model.get_layer(BACKBONE)
    first = round(len(backbone.layers) * (1 - trained_share)) if phase.name == FINE_TUNING else len(backbone.layers)
    for position, layer in enumerate(backbone.layers):
        layer.trainable = position >= first and not isinstance(layer, keras.layers.BatchNormalization)
