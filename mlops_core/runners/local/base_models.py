"""The base models of a run on this machine: whether their files are here, before anything runs."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlops_core.datasets.licences import PretrainedModel
    from mlops_core.runners.request import RunRequest


def require_base_models_of(request: RunRequest) -> None:
    """Check the base models of a run that leaves no step out.

    Raises:
        ConfigError: as `require_base_models`.
    """
    pipeline = request.pipeline
    is_whole = not any(request.selection.is_left_out(step.name, pipeline) for step in pipeline.ordered())
    if is_whole and pipeline.licences is not None:
        require_base_models(pipeline.licences.base_models or ())


def require_base_models(models: Iterable[PretrainedModel]) -> None:
    """Check the models whose source is a whole path.

    Raises:
        ConfigError: one is not there, cannot be read, or has another digest than the configuration says.
    """
    for model in models:
        if not model.source.startswith(("/", "~")):
            continue
        try:
            path = Path(model.source).expanduser()
            if not path.exists():
                raise ConfigError(
                    f"base model '{model.name}': no file {path} on this machine, where the steps run; expected a file, "
                    "a folder or an https address"
                )
            digest = _sha256(path) if model.sha256 and path.is_file() else model.sha256
        except (OSError, RuntimeError) as error:  # no such home folder
            reason = getattr(error, "strerror", None) or str(error)
            raise ConfigError(f"base model '{model.name}': {model.source} cannot be read: {reason}") from error
        if digest != model.sha256:
            raise ConfigError(f"base model '{model.name}': {path} has the SHA-256 {digest}; expected {model.sha256}")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
