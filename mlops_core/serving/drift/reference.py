"""What a detector needs to know about the data that a model was tested with, and an error that needs no NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mlops_core.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence


class FolderInUseError(StoreError):
    """Another process keeps its state in the folder."""


class DriftReference(Protocol):
    """The data that a model was tested with, as a detector sees them.

    Attributes:
        features: names, d of them.
        vectors: N x d.
        groups: group of each sample, or empty where samples are independent.
        source: where they are from; for messages.
    """

    @property
    def features(self) -> Sequence[str]: ...  # noqa: D102

    @property
    def vectors(self) -> Sequence[Sequence[float]]: ...  # noqa: D102

    @property
    def groups(self) -> Sequence[str]: ...  # noqa: D102

    @property
    def source(self) -> str: ...  # noqa: D102
