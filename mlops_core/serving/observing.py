"""Where a drift detector is attached to a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class DriftDetector(Protocol):
    """Observes the answers of a server, in the front process; each call must take well below a millisecond.

    ``mlops serve`` uses a `mlops_core.serving.watch.watching.DriftWatch`, unless another one is passed to
    `mlops_core.serving.serve`. What raises an exception is not called again. An attribute ``source`` with the value
    ``"description"`` asks for the descriptions of a `DescribingPredictor` instead of the scores.
    """

    def observe(self, features: Sequence[Sequence[float | None]]) -> Mapping[str, object]:
        """Take the features of the samples of one request, and return what the request's log line says about drift.

        Args:
            features: one sequence per sample: the scores of the classes or the predicted number, or its description.
                At most 256 samples; None for a number that is not finite.
        """

    def state(self) -> Mapping[str, float]:
        """Return the current statistics and thresholds by name, for the page and the metrics."""
