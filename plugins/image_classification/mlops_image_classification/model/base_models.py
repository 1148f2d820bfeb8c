"""The pretrained weights of a configuration; nobody has said here under which licence they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core import PretrainedModel
from mlops_image_classification.config import IMAGENET

if TYPE_CHECKING:
    from mlops_image_classification.config import ModelChoice


def base_models(choice: ModelChoice) -> tuple[PretrainedModel, ...]:
    """Return the weights with which the network begins; empty if they are random."""
    if choice.weights is None:
        return ()
    if choice.weights == IMAGENET:
        return (PretrainedModel(name=f"{choice.name} of Keras, ImageNet", licence=""),)
    path = Path(choice.weights)
    source = choice.weights if choice.weights.startswith("~") else str(path.absolute())
    return (PretrainedModel(name=path.name, licence="", source=source, sha256=str(choice.weights_sha256)),)
