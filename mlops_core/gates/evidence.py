"""What a gate rests on beyond the metrics: the metrics of slices of the test set, and the champion's predictions.

Everything is computed from stored predictions with the use case's own metrics, on demand, so that a gate can be
evaluated again at any time, here and in a container, with the same result.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

from mlops_core.errors import MlopsError, did_you_mean
from mlops_core.evaluation.metrics import MetricReport, proportion_by_group
from mlops_core.evaluation.paired import PairedDifference, compare_pairs, compare_replicates
from mlops_core.gates.conditions import LABEL
from mlops_core.predictions.boxes import of_class
from mlops_core.predictions.merging import test_identity

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence

    from mlops_core.evaluation.metrics import MetricValue
    from mlops_core.gates.conditions import Slice
    from mlops_core.predictions import Prediction, Predictions

    ComputeMetrics = Callable[[Predictions], MetricReport]

RECALL = "recall"
"""Computed by core on a class: the share of its samples whose highest total score is that of the class."""
FEWEST_SAMPLES = 10
"""A slice with fewer samples never decides."""
_MOST_SINGLE = 20_000
_BLOCKS = 30
_DRAWS = 4
_FEWEST_DRAWN = 3
_TOLERANCE = 1e-9


class EvidenceError(MlopsError):
    """A clause cannot be decided on what there is; the gate then rejects the model, with this message."""


@dataclass(frozen=True, kw_only=True)
class ChampionPredictions:
    """The predictions of the model that a candidate is compared with.

    Attributes:
        version: number of the model version.
        predictions: of its evaluation; None if they are gone.
        problem: why they are gone, as the rest of a sentence.
        test_content: digest of the content of its test samples; empty if it is not known.
    """

    version: int
    predictions: Predictions | None
    problem: str = ""
    test_content: str = ""
    _contributions: dict[Hashable, dict[str, float] | None] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def samples(self) -> Mapping[str, Sequence[Prediction]]:
        """Sample -> its rows; empty where the predictions are gone."""
        return _rows_by_sample(self.predictions) if self.predictions else {}

    @cached_property
    def identities(self) -> frozenset[tuple[str, ...]]:
        """Each sample with its group and label."""
        return _identities(self.samples)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the rows."""
        return _digest(self.predictions) if self.predictions else b""

    def remembered(self, key: Hashable, find: Callable[[], dict[str, float] | None]) -> dict[str, float] | None:
        """Return what `find` returned for this key, so that a champion is evaluated once for many runs."""
        if key not in self._contributions:
            self._contributions[key] = find()
        return self._contributions[key]


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
        return _rows_by_sample(self.predictions)

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
                groups[rows[0].group].append(_is_right(rows, self.predictions.classes))
            return proportion_by_group(groups)
        try:
            return compute(self._part(samples)).values[metric]
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
        seed = _seed(_digest(self.predictions), champion.digest)
        found = {}
        for value, samples in slices.items():
            groups = {sample: rows[0].group for sample, rows in samples.items()}
            theirs = {sample: champion.samples[sample] for sample in samples}
            if part is not None and self._is_class_of_boxes(part):
                theirs = {sample: [of_class(row, value) for row in rows] for sample, rows in theirs.items()}
            ours = self._per_sample(metric, samples, groups, is_recall=is_recall)
            find = partial(self._per_sample, metric, theirs, groups, is_recall=is_recall)
            # Columns of the split may be others in another run; labels are those of the test set.
            is_lasting = part is None or part.column == LABEL
            before = champion.remembered((self.compute, metric, is_recall, value), find) if is_lasting else find()
            if ours is not None and before is not None:
                pairs = {sample: (sign * before[sample], sign * ours[sample]) for sample in samples}
                found[value] = compare_pairs(pairs, groups=groups, seed=seed, limit=limit)
            else:
                found[value] = self._by_jackknife(metric, theirs, samples, groups, sign)
            if part is not None:
                found[value] = replace(found[value], count=self._count(part, samples))
        return found

    def _comparable_champion(self) -> ChampionPredictions:
        champion = self.champion
        assert champion is not None  # noqa: S101  for mypy: the caller asks for it first
        if champion.predictions is None:
            raise EvidenceError(f"it cannot be compared with best, version {champion.version}: {champion.problem}")
        if champion.identities != _identities(self.samples):
            raise EvidenceError(
                f"it cannot be compared with best, version {champion.version}: different test sets; evaluate that "
                "version on this test set, or move best"
            )
        if champion.test_content and self.test_content and champion.test_content != self.test_content:
            raise EvidenceError(
                f"it cannot be compared with best, version {champion.version}: different test sets, of the same "
                "samples with other content; evaluate that version on this test set, or move best"
            )
        return champion

    def _per_sample(
        self,
        metric: str,
        samples: Mapping[str, Sequence[Prediction]],
        groups: Mapping[str, str],
        *,
        is_recall: bool,
    ) -> dict[str, float] | None:
        """Return numbers of the samples whose mean is the metric; None if it is not the mean of any that are known.

        A group may have its mean for each of its samples, which is all that drawing whole groups needs.
        """
        classes = self.predictions.classes
        if is_recall:
            return {sample: float(_is_right(rows, classes)) for sample, rows in samples.items()}
        try:
            whole = self._metric(metric, samples)
            for contributions in self._candidates(metric, samples, groups):
                if self._is_mean(metric, contributions, samples, groups, whole=whole):
                    return contributions
        except (MlopsError, KeyError, ArithmeticError, ValueError):
            pass
        return None

    def _candidates(
        self, metric: str, samples: Mapping[str, Sequence[Prediction]], groups: Mapping[str, str]
    ) -> Iterator[dict[str, float]]:
        """Yield numbers whose mean may be the metric; those that cost the most to compute come last."""
        if len(samples) > 2 * _BLOCKS and not self.predictions.has_boxes:
            yield from _known_contributions(samples, self.predictions.classes)
        alone = self._alone(metric, samples, groups)
        if alone is not None:
            yield alone

    def _is_mean(
        self,
        metric: str,
        contributions: Mapping[str, float],
        samples: Mapping[str, Sequence[Prediction]],
        groups: Mapping[str, str],
        *,
        whole: float,
    ) -> bool:
        """Return whether the metric is the mean of these numbers: on all samples, on blocks of groups, and on draws.

        Macro recall of as many samples of each class is accuracy on the whole, but not on the resamples of a
        bootstrap, whose classes are of different sizes; a few such resamples show it.
        """
        if not _has_mean(contributions.values(), whole):
            return False
        blocks = _blocks(groups)
        parts: defaultdict[int, dict[str, Sequence[Prediction]]] = defaultdict(dict)
        members: defaultdict[str, list[str]] = defaultdict(list)
        for sample, rows in samples.items():
            parts[blocks[groups[sample]]][sample] = rows
            members[groups[sample]].append(sample)
        drawn = ([(copy, sample) for copy, name in draw for sample in members[name]] for draw in _draws(members))
        return all(
            _has_mean([contributions[sample] for sample in part], self._metric(metric, part)) for part in parts.values()
        ) and all(
            _has_mean(
                [contributions[sample] for _, sample in copies],
                self._metric(metric, {f"{sample} {copy}": _copied(samples[sample], copy) for copy, sample in copies}),
            )
            for copies in drawn
        )

    def _alone(
        self, metric: str, samples: Mapping[str, Sequence[Prediction]], groups: Mapping[str, str]
    ) -> dict[str, float] | None:
        """Return the metric of each sample or, of many, of each group alone; None of too many."""
        units: defaultdict[str, dict[str, Sequence[Prediction]]] = defaultdict(dict)
        by_group = len(samples) > _MOST_SINGLE
        for sample, rows in samples.items():
            units[groups[sample] if by_group else sample][sample] = rows
        if len(units) > _MOST_SINGLE:
            return None
        values = {}
        for part in units.values():
            values.update(dict.fromkeys(part, self._metric(metric, part)))
        return values

    def _metric(self, metric: str, samples: Mapping[str, Sequence[Prediction]]) -> float:
        return self.compute(self._part(samples)).values[metric].value

    def _part(self, samples: Mapping[str, Sequence[Prediction]]) -> Predictions:
        return replace(self.predictions, rows=tuple(row for rows in samples.values() for row in rows))

    def _by_jackknife(
        self,
        metric: str,
        theirs: Mapping[str, Sequence[Prediction]],
        ours: Mapping[str, Sequence[Prediction]],
        groups: Mapping[str, str],
        sign: float,
    ) -> PairedDifference:
        """Return the difference of a metric that is not a mean over samples."""
        blocks = _blocks(groups)
        count = max(blocks.values()) + 1
        try:
            earlier, later = sign * self._metric(metric, theirs), sign * self._metric(metric, ours)
            replicates = []
            for block in range(count) if count > 1 else ():
                kept = [sample for sample in ours if blocks[groups[sample]] != block]
                replicates.append(
                    (
                        sign * self._metric(metric, {sample: theirs[sample] for sample in kept}),
                        sign * self._metric(metric, {sample: ours[sample] for sample in kept}),
                    )
                )
        except (MlopsError, KeyError, ArithmeticError) as error:
            raise EvidenceError(f"{metric} cannot be computed on part of the test set: {error}") from error
        return compare_replicates(earlier, later, replicates, count=len(ours), groups=len(blocks))


def _blocks(groups: Mapping[str, str]) -> dict[str, int]:
    """Return group -> number of its block, the same for every comparison of the same groups."""
    names = sorted(set(groups.values()), key=lambda name: hashlib.sha256(name.encode(errors="replace")).digest())
    return {name: position % _BLOCKS for position, name in enumerate(names)}


def _draws(groups: Iterable[str]) -> Iterator[Sequence[tuple[int, str]]]:
    """Yield numbered groups that are drawn with replacement, as in a bootstrap; the same ones for the same groups.

    All draws together are about as large as the test set.
    """
    names = sorted(groups)
    draw = random.Random(len(names))  # noqa: S311  statistics, not secrets
    for _ in range(_DRAWS):
        yield list(enumerate(draw.choices(names, k=max(_FEWEST_DRAWN, len(names) // _DRAWS))))


def _copied(rows: Sequence[Prediction], copy: int) -> list[Prediction]:
    """Return the rows of a sample whose group may be drawn twice."""
    return [replace(row, sample=f"{row.sample} {copy}", group=f"{row.group} {copy}") for row in rows]


def _known_contributions(
    samples: Mapping[str, Sequence[Prediction]], classes: Sequence[str]
) -> Iterator[dict[str, float]]:
    """Yield numbers of samples whose mean is a common metric: accuracy and error rate, or squared and absolute error.

    Whether a metric of a use case is one of them is for the caller to find out.
    """
    if classes:
        right = {sample: float(_is_right(rows, classes)) for sample, rows in samples.items()}
        yield right
        yield {sample: 1 - value for sample, value in right.items()}
        return
    errors = {}
    for sample, rows in samples.items():
        label = rows[0].label
        if len(rows) != 1 or isinstance(label, str):
            return
        errors[sample] = float(label) - rows[0].scores[0]
    yield {sample: error * error for sample, error in errors.items()}
    yield {sample: abs(error) for sample, error in errors.items()}


def _has_mean(numbers: Iterable[float], mean: float) -> bool:
    """Return whether the mean is that of the numbers, but for the rounding of their sum."""
    values = list(numbers)
    if not values or not math.isfinite(mean) or not all(map(math.isfinite, values)):
        return False
    tolerance = _TOLERANCE * max(map(abs, values))
    return abs(math.fsum(values) / len(values) - mean) <= tolerance


def _rows_by_sample(predictions: Predictions) -> dict[str, list[Prediction]]:
    samples: defaultdict[str, list[Prediction]] = defaultdict(list)
    for row in predictions.rows:
        samples[row.sample].append(row)
    return dict(samples)


def _is_right(rows: Sequence[Prediction], classes: Sequence[str]) -> bool:
    """Return whether the class with the highest total score over the parts of a sample is its label."""
    parts = [row.scores for row in rows if not row.model]
    totals = [math.fsum(scores) for scores in zip(*parts, strict=True)]
    return bool(totals) and classes[max(range(len(classes)), key=totals.__getitem__)] == rows[0].label


def _identities(samples: Mapping[str, Sequence[Prediction]]) -> frozenset[tuple[str, ...]]:
    """Return what makes a test set: each sample with its group, label and true boxes, as in `digest_test_set`."""
    return frozenset(test_identity(row) for rows in samples.values() for row in rows if not row.model)


def _digest(predictions: Predictions) -> bytes:
    digest = hashlib.sha256()
    for row in predictions.rows:
        digest.update(
            repr((row.sample, row.part, row.label, row.scores, row.model, *row.truth, *row.found)).encode(
                errors="replace"
            )
        )
    return digest.digest()


def _seed(*digests: bytes) -> int:
    """Return a seed that depends on the rows of both models only, so that a comparison can be repeated."""
    return int.from_bytes(hashlib.sha256(b"".join(digests)).digest()[:8], "big")
