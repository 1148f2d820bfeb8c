"""A loaded model: `Predictor`, and `DescribingPredictor`, which also describes the samples by numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from mlops_core.predictors.answers import SampleScores


@runtime_checkable
class Predictor(Protocol):
    """A trained model, loaded and ready to predict.

    A predictor may also have a method ``warm_up()``, which predicts a sample of its own making. Each process of
    ``mlops serve`` calls it once before the server reports that it is ready, so that no request waits for what is
    loaded on first use. It must import what any request may need: ``mlops package --serve`` leaves large packages out
    of an image if they were not imported by then.

    Example:
        >>> class Constant:
        ...     classes = ("no", "yes")
        ...
        ...     def predict(self, paths):
        ...         return (SampleScores(path=str(path), scores=(0.2, 0.8)) for path in paths)
        >>> isinstance(Constant(), Predictor)
        True
    """

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the scores; empty for a regression."""

    def predict(self, paths: Iterable[Path]) -> Iterator[SampleScores]:
        """Yield one answer per file, in order; for a file that holds many samples, one per sample, in order.

        A model that finds objects answers with `Detection`.

        Raises:
            DatasetError: a file cannot be used; the message names it.
        """


@runtime_checkable
class DescribingPredictor(Predictor, Protocol):
    """A predictor that also describes samples by numbers, so that ``mlops serve`` sees when they change.

    Without it, a server watches the scores. A description shows a change of the data that the scores hide, such as
    noise or another microphone. It is computed on the way to the prediction, from what has been decoded for it, and
    should cost no more than a few percent of it. The evaluation step describes the test samples in the same way and
    writes that with `mlops_core.write_descriptions`.

    Example:
        >>> class Loudness:
        ...     classes = ("no", "yes")
        ...     features = ("level",)
        ...
        ...     def predict(self, paths):
        ...         return self.describe(paths)
        ...
        ...     def describe(self, paths):
        ...         for path in paths:
        ...             yield SampleScores(path=str(path), scores=(0.2, 0.8), description=(0.5,))
        >>> isinstance(Loudness(), DescribingPredictor)
        True
    """

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the numbers of a description, at most 4096; empty if this model's samples are not described."""

    def describe(self, paths: Iterable[Path]) -> Iterator[SampleScores]:
        """Yield the answers of `predict`, each with a description; raises the errors of `predict`."""
