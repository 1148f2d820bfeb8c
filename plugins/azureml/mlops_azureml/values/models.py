"""Versions of models in a registry."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlops_core.runners import RunnerError

if TYPE_CHECKING:
    from collections.abc import Mapping

BEST_TAG = "best_model"


class VersionExistsError(RunnerError):
    """A version exists with another content; contents of versions never change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredModel:
    """A version of a model in a registry.

    Attributes:
        name: of the model.
        version: as text.
        uri: where its files are.
        tags: its tags.
    """

    name: str
    version: str
    uri: str
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_marked_best(self) -> bool:
        """Whether it has the mark of the best version."""
        return self.tags.get(BEST_TAG, "").strip().lower() == "true"
