"""The paired tests of two runs: for each metric the difference on the same samples, with interval and p-value.

The statistics are those by which a gate compares a model with the champion (`mlops_core.gates.evidence`). A metric that
also rests on facts that no row shows (the size of a model) is not tested: it is recognised by values that differ from
the stored ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_core.errors import MlopsError
from mlops_core.evaluation.metrics import Direction, MetricReport
from mlops_core.gates.evidence import ChampionPredictions, EvidenceError, GateEvidence
from mlops_core.predictions import digest_test_set, read_predictions
from mlops_core.report.facts import Missing, predictions_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_core.evaluation.metrics import Metric
    from mlops_core.evaluation.paired import PairedDifference
    from mlops_core.gates.evidence.sample_metric import ComputeMetrics
    from mlops_core.predictions import Prediction, Predictions
    from mlops_core.report.comparison import RunComparison
    from mlops_core.report.facts import RunFacts
    from mlops_core.use_cases.manager import UseCase
    from mlops_core.workspace.records import RunRecord
    from mlops_core.workspace.store import Store

_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTest:
    """The test of one metric.

    Attributes:
        metric: its declaration.
        difference: later minus earlier, in the metric's unit.
    """

    metric: Metric
    difference: PairedDifference

    @property
    def words(self) -> str:
        """The result in plain words: better, worse, no detectable difference, or too few groups to test."""
        found = self.difference
        if not (math.isfinite(found.low) and math.isfinite(found.high)):
            return "too few groups to test"
        is_detectable = (found.low > 0 or found.high < 0) and not found.p_value >= 1 - found.level
        if not is_detectable:
            return "no detectable difference"
        return "better" if (found.value > 0) is (self.metric.direction is Direction.HIGHER) else "worse"

    def to_json(self) -> dict[str, Any]:
        """Return the test as JSON types only; numbers that are not finite become null."""
        found = self.difference
        numbers = {"difference": found.value, "low": found.low, "high": found.high, "p_value": found.p_value}
        return {
            **{name: number if math.isfinite(number) else None for name, number in numbers.items()},
            "level": found.level,
            "method": found.method,
            "samples": found.count,
            "groups": found.groups,
            "words": self.words,
        }


def paired_tests(
    store: Store, earlier: RunFacts, later: RunFacts, compared: RunComparison, *, use_case: UseCase | None
) -> dict[str, PairedTest | Missing]:
    """Return metric -> its test, or why there is none.

    Args:
        store: the workspace that holds both runs.
        earlier: facts of the earlier run.
        later: facts of the later run.
        compared: their comparison; a metric whose values must not be compared is not tested.
        use_case: of both runs; None to load it.
    """
    metrics = [entry.metric for entry in compared.metrics if entry.earlier and entry.later]
    if not metrics:
        return {}
    evidence = _evidence(store, earlier.record, later.record, use_case)
    if isinstance(evidence, Missing):
        return dict.fromkeys((metric.name for metric in metrics), evidence)
    return {metric.name: _test(metric, compared, evidence) for metric in metrics}


def _evidence(store: Store, earlier: RunRecord, later: RunRecord, use_case: UseCase | None) -> GateEvidence | Missing:
    if earlier.use_case != later.use_case:
        return Missing("the runs are of different use cases")
    old, new = _predictions(store, earlier), _predictions(store, later)
    for found in (old, new):
        if isinstance(found, Missing):
            return found
    assert not isinstance(old, Missing) and not isinstance(new, Missing)  # noqa: S101, PT018  for mypy
    if digest_test_set(old) != digest_test_set(new):
        return Missing("the test sets differ")
    if old.classes != new.classes:
        return Missing("the classes of the two runs are not the same, in the same order")
    try:
        loaded = use_case or _loaded(later)
    except MlopsError as error:
        return Missing(f"the metrics cannot be computed: {error}")
    champion = ChampionPredictions(version=0, predictions=old)
    compute = _remembered(loaded.compute_metrics)
    return GateEvidence(predictions=new, compute=compute, evaluate=compute, champion=champion)


def _remembered(compute: ComputeMetrics) -> ComputeMetrics:
    """Return `compute` with its values kept: each metric is tested on the same parts of the test set."""
    known: dict[tuple[Prediction, ...], MetricReport] = {}

    def values(predictions: Predictions) -> MetricReport:
        rows = tuple(predictions.rows)
        if rows not in known:
            known[rows] = MetricReport(values=compute(predictions).values)  # without matrices, which are large
        return known[rows]

    return values


def _loaded(record: RunRecord) -> UseCase:
    from mlops_core.use_cases.manager import load_use_case

    return load_use_case(record.use_case)


def _predictions(store: Store, record: RunRecord) -> Predictions | Missing:
    folder = predictions_folder(store, record)
    if isinstance(folder, Missing):
        return Missing(f"run {record.run_id}: {folder.reason[:1].lower()}{folder.reason[1:].rstrip('.')}")
    try:
        return read_predictions(folder)
    except (MlopsError, TypeError, ValueError) as error:
        return Missing(f"run {record.run_id}: {error}")


def _test(metric: Metric, compared: RunComparison, evidence: GateEvidence) -> PairedTest | Missing:
    entry = compared.metric(metric.name)
    if entry is None or not entry.is_comparable or entry.earlier is None or entry.later is None:
        return Missing(entry.incomparability if entry and entry.incomparability else "a value is not a number")
    try:
        found: Mapping[str, PairedDifference] = evidence.difference(
            metric.name, None, limit=0.0, is_higher_better=True, declared=[metric.name]
        )
    except (EvidenceError, MlopsError) as error:
        return Missing(str(error))
    difference = found[""]
    pairs = ((difference.earlier, entry.earlier.value), (difference.later, entry.later.value))
    if not all(math.isclose(now, stored, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE) for now, stored in pairs):
        return Missing("it cannot be computed again from the predictions alone")
    return PairedTest(metric=metric, difference=difference)
