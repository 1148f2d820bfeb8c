"""A metric that is a mean over samples is compared without being computed again; every other metric falls back."""

import math
import random
from collections import defaultdict
from dataclasses import replace

import pytest

from mlops_core import MetricReport, MetricValue, Prediction, Predictions, StepError
from mlops_core.evaluation.paired import compare_pairs
from mlops_core.gates.evidence import ChampionPredictions, GateEvidence
from mlops_core.gates.evidence.contributions import contributions_to
from mlops_core.gates.evidence.sample_metric import SampleMetric

CLASSES = ("cat", "dog", "siren")


def scores_of(row):
    return dict(zip(CLASSES, row.scores, strict=True))


def answers(rows):
    return [(row.label, CLASSES[max(range(len(CLASSES)), key=row.scores.__getitem__)]) for row in rows]


def accuracy(rows):
    return sum(label == answer for label, answer in answers(rows)) / len(rows)


def error_rate(rows):
    return 1 - accuracy(rows)


def recalls(rows):
    found = defaultdict(list)
    for label, answer in answers(rows):
        found[label].append(label == answer)
    return [sum(hits) / len(hits) for hits in found.values()]


def macro_recall(rows):
    each = recalls(rows)
    return sum(each) / len(each)


def thresholded_accuracy(rows):
    """The share of samples whose class has a score above 0.4, whatever the highest score is."""
    return sum(scores_of(row)[row.label] > 0.4 for row in rows) / len(rows)


def accuracy_without_dogs(rows):
    """Accuracy of the samples that are not dogs."""
    kept = [row for row in rows if row.label != "dog"]
    if not kept:
        raise StepError("only dogs")
    return accuracy(kept)


def capped_accuracy(rows):
    return min(accuracy(rows), 0.8)


def rounded_accuracy(rows):
    return round(accuracy(rows), 2)


def errors(rows):
    return [float(row.label) - row.scores[0] for row in rows]


def squared_error(rows):
    return sum(error**2 for error in errors(rows)) / len(rows)


def absolute_error(rows):
    return sum(map(abs, errors(rows))) / len(rows)


def root_of_squared_error(rows):
    return math.sqrt(squared_error(rows))


def clipped_squared_error(rows):
    """Each sample's squared error counts up to 1."""
    return sum(min(error**2, 1.0) for error in errors(rows)) / len(rows)


def clipped_mean_squared_error(rows):
    return min(squared_error(rows), 0.9)


def mean_of_groups(rows):
    """The mean of the groups' accuracies: large groups count as much as small ones."""
    found = defaultdict(list)
    for row in rows:
        found[row.group].append(row)
    return sum(map(accuracy, found.values())) / len(found)


def classified(seed, *, count=300, per_group=1, skill=0.7):
    draw = random.Random(seed)
    rows = []
    for number in range(count):
        label = CLASSES[number % 3]
        scores = [draw.uniform(0, 0.5) for _ in CLASSES]
        if draw.random() < skill - 0.2 * (label == "dog"):
            scores[CLASSES.index(label)] = draw.uniform(0.3, 1)
        group = draw.randrange(max(1, count // per_group)) if per_group > 1 else number
        rows.append(Prediction(sample=f"{number:04}", group=f"g{group}", label=label, scores=tuple(scores)))
    return rows


def regressed(seed, *, count=300, per_group=1, skill=1.0):
    draw = random.Random(seed)
    rows = []
    for number in range(count):
        label = math.sin(number)
        group = number % max(1, count // per_group)
        score = label + draw.gauss(0, 1.3 - skill / 2)
        rows.append(Prediction(sample=f"{number:04}", group=f"g{group}", label=label, scores=(score,)))
    return rows


def with_groups_of(rows, others):
    """Rows with the groups of others: two models on one test set."""
    return [replace(row, group=other.group) for row, other in zip(rows, others, strict=True)]


class Counted:
    """A metric, and how often it was computed."""

    def __init__(self, metric):
        self.metric = metric
        self.calls = 0
        self.samples = 0

    def __call__(self, predictions):
        self.calls += 1
        if not predictions.rows:
            raise StepError("no samples")
        self.samples += len(predictions.rows)
        value = self.metric(list(predictions.rows))
        return MetricReport(values={"m": MetricValue(value=value, low=value, high=value)})


def evidence_of(metric, earlier, later):
    classes = CLASSES if len(later[0].scores) > 1 else ()
    counted = Counted(metric)
    champion = ChampionPredictions(version=1, predictions=Predictions(classes=classes, rows=tuple(earlier)))
    predictions = Predictions(classes=classes, rows=tuple(later))
    return GateEvidence(predictions=predictions, compute=counted, evaluate=counted, champion=champion), counted


def difference(metric, earlier, later):
    evidence, counted = evidence_of(metric, earlier, later)
    [found] = evidence.difference("m", None, limit=-0.05, is_higher_better=True, declared=["m"]).values()
    return found, counted


def resampled(metric, earlier, later, *, draws=2000, seed=5):
    """The bootstrap interval of the difference, with the metric computed anew on every resample of whole groups."""
    draw = random.Random(seed)
    groups = defaultdict(list)
    for position, row in enumerate(later):
        groups[row.group].append(position)
    names = sorted(groups)
    found = []
    for _ in range(draws):
        chosen = [position for name in draw.choices(names, k=len(names)) for position in groups[name]]
        found.append(metric([later[n] for n in chosen]) - metric([earlier[n] for n in chosen]))
    found.sort()
    return found[round(0.025 * (draws - 1))], found[round(0.975 * (draws - 1))]


def models(kind, **options):
    earlier, later = kind(1, skill=0.6, **options), kind(2, skill=0.7, **options)
    return earlier, with_groups_of(later, earlier)


DECOMPOSABLE = [
    (accuracy, classified),
    (error_rate, classified),
    (thresholded_accuracy, classified),
    (squared_error, regressed),
    (absolute_error, regressed),
    (clipped_squared_error, regressed),
]
NOT_DECOMPOSABLE = [
    (macro_recall, classified),
    (accuracy_without_dogs, classified),
    (capped_accuracy, classified),
    (rounded_accuracy, classified),
    (root_of_squared_error, regressed),
    (clipped_mean_squared_error, regressed),
]
GROUPED = pytest.mark.parametrize("per_group", [1, 5], ids=["without groups", "with groups"])


def metric_of(evidence):
    return SampleMetric(name="m", predictions=evidence.predictions, compute=evidence.compute)


@GROUPED
@pytest.mark.parametrize(("metric", "kind"), DECOMPOSABLE)
def test_mean_over_samples_equals_the_metric_on_every_resample(metric, kind, per_group):
    _, later = models(kind, per_group=per_group)
    evidence, _ = evidence_of(metric, later, later)
    groups = {row.sample: row.group for row in later}
    contributions = contributions_to(metric_of(evidence), evidence.samples, groups)
    assert contributions is not None
    members = defaultdict(list)
    for row in later:
        members[row.group].append(row)
    draw = random.Random(7)
    for _ in range(100):
        rows = [row for name in draw.choices(sorted(members), k=len(members)) for row in members[name]]
        mean = math.fsum(contributions[row.sample] for row in rows) / len(rows)
        assert mean == pytest.approx(metric(rows), rel=1e-9)


@GROUPED
@pytest.mark.parametrize(("metric", "kind"), [*DECOMPOSABLE[:2], *DECOMPOSABLE[3:5]])
def test_interval_of_a_mean_is_that_of_a_bootstrap_that_computes_the_metric_anew(metric, kind, per_group):
    earlier, later = models(kind, per_group=per_group)
    found, counted = difference(metric, earlier, later)
    assert found.method == ("score" if kind is classified and per_group == 1 else "bootstrap by group")
    assert found.value == pytest.approx(metric(later) - metric(earlier), rel=1e-9)
    low, high = resampled(metric, earlier, later, draws=500)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.15 * (high - low))
    assert counted.samples < 8 * len(later)  # a bootstrap that computes the metric reads 4,000 times as many


@GROUPED
def test_accuracy_is_compared_like_the_answers_themselves(per_group):
    earlier, later = models(classified, per_group=per_group)
    found, _ = difference(accuracy, earlier, later)
    pairs = {
        after.sample: (float(accuracy([before])), float(accuracy([after])))
        for before, after in zip(earlier, later, strict=True)
    }
    groups = {row.sample: row.group for row in later}
    other = compare_pairs(pairs, groups=groups, seed=1, limit=-0.05)
    assert (found.earlier, found.later, found.method, found.count) == pytest.approx(
        (other.earlier, other.later, other.method, other.count)
    )
    assert (found.low, found.high) == pytest.approx((other.low, other.high), abs=0.02)


@GROUPED
@pytest.mark.parametrize(("metric", "kind"), NOT_DECOMPOSABLE)
def test_metric_that_only_looks_like_a_mean_is_computed_anew(metric, kind, per_group):
    earlier, later = models(kind, per_group=per_group)
    found, _ = difference(metric, earlier, later)
    assert found.method == "jackknife by group"
    assert found.value == pytest.approx(metric(later) - metric(earlier), rel=1e-9, abs=1e-12)


def test_mean_of_the_means_of_unequal_groups_is_computed_anew():
    earlier, later = models(classified, per_group=5)
    assert difference(mean_of_groups, earlier, later)[0].method == "jackknife by group"


@pytest.mark.parametrize("count", [12, 30, 60, 63, 300])
def test_macro_recall_of_as_many_samples_of_each_class_is_not_taken_for_accuracy(count):
    earlier, later = models(classified, count=count)
    assert macro_recall(later) == pytest.approx(accuracy(later), rel=1e-12)  # it looks like it on the whole test set
    assert difference(macro_recall, earlier, later)[0].method == "jackknife by group"


def test_coincidence_in_two_groups_that_mirror_each_other_is_not_taken_for_accuracy():
    def group(name, cats, sirens, *, is_right):
        return [
            Prediction(
                sample=f"{name}{number:02}",
                group=name,
                label=label,
                scores=tuple(float(one == (label if is_right(number) else "dog")) for one in CLASSES),
            )
            for number, label in enumerate(["cat"] * cats + ["siren"] * sirens)
        ]

    rows = group("a", 40, 20, is_right=lambda number: number % 2) + group("b", 20, 40, is_right=lambda _: True)
    for part in (rows, rows[:60], rows[60:]):
        assert macro_recall(part) == pytest.approx(accuracy(part), rel=1e-12)
    evidence, _ = evidence_of(macro_recall, rows, rows)
    groups = {row.sample: row.group for row in rows}
    assert contributions_to(metric_of(evidence), evidence.samples, groups) is None


def test_mean_over_samples_of_predictions_that_are_not_finite_is_not_taken_for_one():
    earlier = regressed(1)
    later = [replace(row, scores=(1e200,)) if number == 5 else row for number, row in enumerate(regressed(2))]
    found, _ = difference(lambda rows: 0.5, earlier, with_groups_of(later, earlier))
    assert found.value == 0
    evidence, _ = evidence_of(lambda rows: math.nan, earlier, earlier)
    groups = {row.sample: row.group for row in earlier}
    assert contributions_to(metric_of(evidence), evidence.samples, groups) is None
