"""What a loaded model can do: the `Predictor` protocol that a plugin's ``mlops_load_predictor`` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleScores:
    """The answer of a model for one file.

    Attributes:
        path: the file as it was given.
        scores: one score a class, in the order of `Predictor.classes`; one value for a regression.
    """

    path: str
    scores: tuple[float, ...]


@runtime_checkable
class Predictor(Protocol):
    """A trained model that is ready to be asked."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the scores; empty for a regression."""

    def predict(self, paths: Iterable[Path]) -> Iterator[SampleScores]:
        """Yield one answer a path, in their order.

        Raises:
            DatasetError: a file cannot be used; it is named.
        """
