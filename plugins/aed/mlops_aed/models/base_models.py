"""The base models of a configuration, with their licences: only that of the model zoo's weights is known here."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from mlops_aed.models.pretrained import ZOO_WEIGHTS, ZOO_WEIGHTS_SHA256
from mlops_core import PretrainedModel, normalise_path

if TYPE_CHECKING:
    from mlops_aed.config import AedConfig

YAMNET = PretrainedModel(name="YAMNet-256", licence="Apache-2.0", source=ZOO_WEIGHTS, sha256=ZOO_WEIGHTS_SHA256)
"""Trained on AudioSet; published by the model zoo under the licence of the original YAMNet."""


def base_models(config: AedConfig) -> tuple[PretrainedModel, ...]:
    """Return the weights that the run begins with; empty if it begins with random ones."""
    general, choice = config.general, config.training.model
    if general.model_path is not None:
        return (_file(general.model_path, general.model_sha256),)
    if not (general.is_trained and choice.name == "yamnet" and choice.pretrained):
        return ()
    return (YAMNET if choice.weights is None else _file(choice.weights, choice.weights_sha256),)


def _file(where: str, sha256: str | None) -> PretrainedModel:
    """Return a model of the user's own; its licence is known only if it is the published file."""
    if sha256 == YAMNET.sha256:
        return YAMNET
    path = normalise_path(where)
    source = where if "://" in where or path.startswith("~") else str(Path(path).absolute())
    return PretrainedModel(name=PurePosixPath(path).name or path, licence="", source=source, sha256=sha256 or "")
