"""A metric of a use case as a function of some of the predicted samples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mlops_core.evaluation.metrics import MetricReport, MetricValue
    from mlops_core.predictions import Prediction, Predictions

    ComputeMetrics = Callable[[Predictions], MetricReport]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleMetric:
    """A metric, computed on the samples with which it is called.

    Attributes:
        name: of the metric.
        predictions: of the evaluation, with the classes.
        compute: the use case's metrics of predictions.
    """

    name: str
    predictions: Predictions
    compute: ComputeMetrics

    def __call__(self, samples: Mapping[str, Sequence[Prediction]]) -> float:
        """Return the metric on these samples.

        Raises:
            MlopsError: the use case cannot compute it.
            KeyError: the use case does not compute it.
        """
        return self.value(samples).value

    def value(self, samples: Mapping[str, Sequence[Prediction]]) -> MetricValue:
        """Return the metric on these samples with its interval; raises the errors of a call."""
        rows = tuple(row for rows in samples.values() for row in rows)
        return self.compute(replace(self.predictions, rows=rows)).values[self.name]
