"""`GateEvidence`: the metrics of slices of the test set, and comparisons with the champion."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

from mlops_core.errors import MlopsError, did_you_mean
from mlops_core.evaluation.paired import PairedDifference, compare_pairs
from mlops_core.evaluation.proportions import proportion_by_group
from mlops_core.gates.clauses import LABEL
from mlops_core.gates.evidence.contributions import contributions_to
from mlops_core.gates.evidence.errors import EvidenceError
from mlops_core.gates.evidence.jackknife import difference_by_jackknife
from mlops_core.gates.evidence.sample_metric import SampleMetric
from mlops_core.gates.evidence.samples import digest_of_rows, identities_of, is_right, rows_by_sample, seed_of
from mlops_core.predictions.boxes import of_class

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mlops_core.evaluation.metrics import MetricValue
    from mlops_core.gates.clauses import Slice
    from mlops_core.gates.evidence.champion import ChampionPredictions
    from mlops_core.gates.evidence.sample_metric import ComputeMetrics
    from mlops_core.predictions import Prediction, Predictions

RECALL = "recall"
"""Computed by core on a class: the share of its samples whose highest total score is that of the class."""
FEWEST_SAMPLES = 10
"""A slice with fewer samples never decides."""


@dataclass(frozen=True)
class GateEvidence:
    """Slices and comparisons, from the predictions of one evaluation.

    Attributes:
        predictions: all rows of the evaluation.
        compute: the use case's metrics of predictions.
        evaluate: the same, with intervals that respect the groups of the test set.
        columns: sample -> column of the split -> value.
        champion: predictions of the present best version; None if there is no version yet.
        test_content: digest of the content of the test samples; empty if it is not known.
    """

    predictions: Predictions
    compute: ComputeMetrics
    evaluate: ComputeMetrics
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    champion: ChampionPredictions | None = None
    test_content: str = ""

    @cached_property
    def samples(self) -> Mapping[str, Sequence[Prediction]]:
        """Sample -> its rows."""
        return rows_by_sample(self.predictions)

    # --- Slices -------------------------------------------------------------------------------------------

    def require_slice(self, part: Slice) -> None:
        """Check that a part of the test set exists.

        Raises:
            EvidenceError: there is no such column or value.
        """
        self._slices(part)

    def slice_values(
        self, metric: str, part: Slice, *, declared: Iterable[str], needs_interval: bool
    ) -> dict[str, tuple[int, MetricValue]]:
        """Return value of the column -> number of samples and the metric on them.

        Of a class of detections, the samples that are counted are those whose truth shows it.

        Args:
            metric: declared, or `RECALL`.
            part: one slice, or all slices of a column.
            declared: names of the metrics of the use case.
            needs_interval: whether the intervals have to respect the groups, which takes many evaluations.

        Raises:
            EvidenceError: there is no such column or value, or the metric cannot be computed on a slice.
        """
        slices = self._slices(part)
        is_recall = self._is_recall(metric, declared)
        compute = self.evaluate if needs_interval else self.compute
        return {
            value: (self._count(part, samples), self._value(metric, samples, is_recall=is_recall, compute=compute))
            for value, samples in slices.items()
        }

    def _count(self, part: Slice, samples: Mapping[str, Sequence[Prediction]]) -> int:
        """Return the number of samples of a slice; of a class of detections, of those with an object of it."""
        if self._is_class_of_boxes(part):
            return sum(any(row.label for row in rows) for rows in samples.values())
        return len(samples)

    def _is_class_of_boxes(self, part: Slice) -> bool:
        return self.predictions.has_boxes and part.column == LABEL

    def _is_recall(self, metric: str, declared: Iterable[str]) -> bool:
        """Return whether core computes the metric.

        Raises:
            EvidenceError: it does, but there are no classes.
        """
        is_recall = metric == RECALL and metric not in declared
        if is_recall and not self.predictions.classes:
            raise EvidenceError("there are no classes: the predictions are numbers")
        if is_recall and self.predictions.has_boxes:
            raise EvidenceError(f"'{RECALL}' is not a metric of the use case, and core computes none of detections")
        return is_recall

    def _value(
        self, metric: str, samples: Mapping[str, Sequence[Prediction]], *, is_recall: bool, compute: ComputeMetrics
    ) -> MetricValue:
        if is_recall:
            groups: defaultdict[str, list[bool]] = defaultdict(list)
            for rows in samples.values():
                groups[rows[0].group].append(is_right(rows, self.predictions.classes))
            return proportion_by_group(groups)
        try:
            return self._metric(metric, compute).value(samples)
        except (MlopsError, KeyError) as error:
            raise EvidenceError(f"{metric} cannot be computed on part of the test set: {error}") from error

    @cached_property
    def _sliced(self) -> dict[Slice, dict[str, dict[str, Sequence[Prediction]]]]:
        return {}

    def _slices(self, part: Slice) -> dict[str, dict[str, Sequence[Prediction]]]:
        """Return value of the column -> sample -> its rows, of the evaluated model."""
        if part not in self._sliced:
            self._sliced[part] = self._find_slices(part)
        return self._sliced[part]

    def _find_slices(self, part: Slice) -> dict[str, dict[str, Sequence[Prediction]]]:
        slices: defaultdict[str, dict[str, Sequence[Prediction]]] = defaultdict(dict)
        if self._is_class_of_boxes(part):
            slices.update(self._slices_of_boxes())
        else:
            for sample, rows in self.samples.items():
                slices[self._column(sample, rows[0], part.column)][sample] = rows
        if part.value is None:
            return dict(sorted(slices.items()))
        if part.value not in slices:
            kind = "class" if part.column == LABEL else f"'{part.column}'"
            raise EvidenceError(
                f"the test set has no sample of {kind} '{part.value}'"
                f"{did_you_mean(part.value, slices) or ';'} there are: {', '.join(sorted(slices)[:20])}"
            )
        return {part.value: slices[part.value]}

    def _slices_of_boxes(self) -> dict[str, dict[str, Sequence[Prediction]]]:
        """Return class -> all samples, with the boxes of that class only."""
        labels = {box.label for rows in self.samples.values() for row in rows for box in row.truth if not box.is_crowd}
        return {
            label: {sample: [of_class(row, label) for row in rows] for sample, rows in self.samples.items()}
            for label in labels
        }

    def _column(self, sample: str, row: Prediction, column: str) -> str:
        if column == LABEL:
            return str(row.label)
        values = self.columns.get(sample, {})
        if column not in values:
            known = sorted({name for columns in self.columns.values() for name in columns})
            raise EvidenceError(
                f"sample '{sample}' has no column '{column}' in the split{did_you_mean(column, known) or ';'} "
                f"columns: {', '.join([LABEL, *known])}"
            )
        return values[column]

    # --- The champion -------------------------------------------------------------------------------------

    def difference(
        self, metric: str, part: Slice | None, *, limit: float, is_higher_better: bool, declared: Iterable[str]
    ) -> dict[str, PairedDifference]:
        """Return slice -> how much better this model is than the champion; one entry '' without a slice.

        Args:
            metric: declared, or `RECALL`.
            part: one slice, all slices of a column, or None for the whole test set.
            limit: smallest acceptable improvement, negative for a loss.
            is_higher_better: False negates all values, so that a positive difference is an improvement.
            declared: names of the metrics of the use case.

        Raises:
            EvidenceError: the champion's predictions are gone, or were made on another test set.
        """
        champion = self._comparable_champion()
        slices = self._slices(part) if part else {"": self.samples}
        sign = 1.0 if is_higher_better else -1.0
        is_recall = self._is_recall(metric, declared)
        seed = seed_of(digest_of_rows(self.predictions), champion.digest)
        found = {}
        for value, samples in slices.items():
            groups = {sample: rows[0].group for sample, rows in samples.items()}
            theirs = {sample: champion.samples[sample] for sample in samples}
            if part is not None and self._is_class_of_boxes(part):
                theirs = {sample: [of_class(row, value) for row in rows] for sample, rows in theirs.items()}
            ours = self._contributions(metric, samples, groups, is_recall=is_recall)
            find = partial(self._contributions, metric, theirs, groups, is_recall=is_recall)
            # Columns of the split may be others in another run; labels are those of the test set.
            is_lasting = part is None or part.column == LABEL
            before = champion.remembered((self.compute, metric, is_recall, value), find) if is_lasting else find()
            if ours is not None and before is not None:
                pairs = {sample: (sign * before[sample], sign * ours[sample]) for sample in samples}
                found[value] = compare_pairs(pairs, groups=groups, seed=seed, limit=limit)
            else:
                found[value] = difference_by_jackknife(
                    self._metric(metric, self.compute), theirs=theirs, ours=samples, groups=groups, sign=sign
                )
            if part is not None:
                found[value] = replace(found[value], count=self._count(part, samples))
        return found

    def _comparable_champion(self) -> ChampionPredictions:
        champion = self.champion
        assert champion is not None  # noqa: S101  for mypy: the caller asks for it first
        champion.require_same_test_set(identities_of(self.samples), test_content=self.test_content)
        return champion

    def _contributions(
        self, metric: str, samples: Mapping[str, Sequence[Prediction]], groups: Mapping[str, str], *, is_recall: bool
    ) -> dict[str, float] | None:
        """Return numbers of the samples whose mean is the metric; None if it is not the mean of any that are known."""
        if is_recall:
            return {sample: float(is_right(rows, self.predictions.classes)) for sample, rows in samples.items()}
        return contributions_to(self._metric(metric, self.compute), samples, groups)

    def _metric(self, name: str, compute: ComputeMetrics) -> SampleMetric:
        return SampleMetric(name=name, predictions=self.predictions, compute=compute)
