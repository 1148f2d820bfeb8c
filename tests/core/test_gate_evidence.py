"""Gates that rest on evidence: bounds, slices of the test set, and the paired comparison with the champion."""

import json
import math
import random
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_core import (
    Bound,
    Champion,
    Comparison,
    Direction,
    Gate,
    GateOutcome,
    Metric,
    MetricReport,
    MetricValue,
    NoRegression,
    Operator,
    PipelineError,
    Prediction,
    Predictions,
    Slice,
    StepError,
    Unit,
    bootstrap_by_group,
    parse_condition,
    proportion,
    proportion_by_group,
)
from mlops_core.gates.conditions import condition_from_json, condition_to_json
from mlops_core.gates.evidence import ChampionPredictions, GateEvidence
from mlops_core.runners.evidence import read_champion, write_champion

ACC = Metric(name="acc", section="m", unit=Unit.FRACTION, minimum=0, maximum=1, direction=Direction.HIGHER)
MSE = Metric(name="mse", section="m", unit=Unit.NONE, minimum=0, maximum=math.inf, direction=Direction.LOWER)
SPREAD = Metric(name="spread", section="m", unit=Unit.NONE, minimum=0, maximum=math.inf, direction=Direction.LOWER)
METRICS = (ACC, MSE, SPREAD)
CLASSES = ("cat", "siren")


def compute(predictions):
    """Accuracy, a mean squared error, and a metric that is not a mean over samples."""
    if not predictions.rows:
        raise StepError("no samples")
    if not predictions.classes:
        errors = [float(row.label) - row.scores[0] for row in predictions.rows]
        squares = [error**2 for error in errors]
        mse = MetricValue(value=sum(squares) / len(squares), low=0, high=9, method="bootstrap", count=len(squares))
        spread = MetricValue(value=max(errors) - min(errors), low=0, high=9, count=len(errors))
        return MetricReport(values={"mse": mse, "spread": spread})
    groups = {}
    for row in predictions.rows:
        answer = CLASSES[max(range(2), key=row.scores.__getitem__)]
        groups.setdefault(row.group, []).append(answer == row.label)
    return MetricReport(values={"acc": proportion_by_group(groups)})


def classified(hits, *, label="cat", prefix="", groups=None):
    """Rows with a right answer where `hits` says so."""
    other = CLASSES[1 - CLASSES.index(label)]
    return [
        Prediction(
            sample=f"{prefix}{number:04}",
            group=groups[number] if groups else f"{prefix}{number:04}",
            label=label,
            scores=tuple(float(name == (label if hit else other)) for name in CLASSES),
        )
        for number, hit in enumerate(hits)
    ]


def both(cat, siren):
    """Predictions with `cat` and `siren` = (right answers, samples) of the two classes."""
    rows = [
        row
        for label, (right, count) in {"cat": cat, "siren": siren}.items()
        for row in classified([number < right for number in range(count)], label=label, prefix=label)
    ]
    return Predictions(classes=CLASSES, rows=tuple(rows))


def judge(text, predictions, *, champion=None, columns=None, parameters=None):
    evidence = GateEvidence(
        predictions=predictions, compute=compute, evaluate=compute, columns=columns or {}, champion=champion
    )
    return Gate(parse_condition(text)).evaluate(
        compute(predictions), metrics=METRICS, parameters=parameters or {}, evidence=evidence
    )


def best(predictions, version=1):
    return ChampionPredictions(version=version, predictions=predictions)


# --- Bounds -----------------------------------------------------------------------------------------------


def test_bound_on_the_right_side_is_accepted():
    verdict = judge("acc.lower >= 0.7", both((40, 50), (45, 50)))
    assert verdict.outcome is GateOutcome.ACCEPTED
    assert verdict.clauses[0].value == pytest.approx(proportion(85, 100).low)


def test_bound_that_is_not_reached_yet_needs_more_samples():
    verdict = judge("acc.lower >= 0.8", both((40, 50), (45, 50)))
    assert verdict.outcome is GateOutcome.UNDECIDED
    assert not verdict.accepted
    further = verdict.clauses[0].further_samples
    rate, count = 0.85, 100 + further
    assert proportion(round(rate * 1000 * count), 1000 * count).value == pytest.approx(rate, abs=1e-3)
    assert wilson_low(rate, count) >= 0.8 > wilson_low(rate, count - 2)
    assert verdict.message.startswith("Not enough evidence for acc.lower >= 0.8")


def wilson_low(rate, count):
    from mlops_core.evaluation.intervals import wilson_interval

    return wilson_interval(rate, count)[0]


def test_value_on_the_wrong_side_is_rejected_not_undecided():
    verdict = judge("acc.lower >= 0.9", both((40, 50), (45, 50)))
    assert verdict.outcome is GateOutcome.REJECTED
    assert verdict.clauses[0].further_samples is None


def test_upper_bound_limits_a_metric_that_is_better_when_lower():
    report = MetricReport(values={"mse": MetricValue(value=4.0, low=3.0, high=5.0, method="bootstrap", count=100)})

    def outcome(text):
        return Gate(parse_condition(text)).evaluate(report, metrics=METRICS, parameters={}).outcome

    assert outcome("mse.upper <= 5") is GateOutcome.ACCEPTED
    assert outcome("mse.upper <= 4.5") is GateOutcome.UNDECIDED
    assert outcome("mse.upper <= 3.5") is GateOutcome.REJECTED
    assert outcome("mse.upper <= 4.5 or mse <= 4") is GateOutcome.ACCEPTED
    assert outcome("mse.upper <= 4.5 and mse <= 3") is GateOutcome.REJECTED
    assert outcome("not mse.upper <= 4.5") is GateOutcome.UNDECIDED
    verdict = Gate(parse_condition("mse.upper <= 4.5")).evaluate(report, metrics=METRICS, parameters={})
    assert verdict.clauses[0].further_samples == 300  # half the width needs four times the samples


def test_metric_without_an_interval_cannot_be_bounded():
    report = MetricReport(values={"acc": MetricValue(value=0.9, low=math.nan, high=math.nan)})
    verdict = Gate(parse_condition("acc.lower >= 0.1")).evaluate(report, metrics=METRICS, parameters={})
    assert verdict.outcome is GateOutcome.REJECTED
    assert "acc has no confidence interval" in verdict.message


# --- Slices -----------------------------------------------------------------------------------------------


def test_slice_by_class_counts_its_samples_only():
    predictions = both((50, 50), (30, 50))
    assert judge("recall[siren] >= 0.6", predictions).accepted
    verdict = judge("recall[siren] >= 0.61", predictions)
    assert verdict.outcome is GateOutcome.REJECTED
    assert verdict.clauses[0].value == pytest.approx(0.6)
    assert judge("acc[siren] >= 0.6 and acc['cat'] >= 1", predictions).accepted


def test_worst_slice_decides():
    predictions = both((50, 50), (30, 50))
    assert judge("worst(recall) >= 0.6", predictions).accepted
    verdict = judge("worst(recall) >= 0.7", predictions)
    assert verdict.outcome is GateOutcome.REJECTED
    assert "on 'siren'" in verdict.message
    assert judge("worst(recall).lower >= 0.5", predictions).outcome is GateOutcome.UNDECIDED


def test_slice_with_few_samples_never_decides():
    verdict = judge("recall[siren] >= 0.5", both((50, 50), (9, 9)))
    assert verdict.outcome is GateOutcome.UNDECIDED
    assert verdict.clauses[0].further_samples == 1
    assert judge("recall[siren] >= 0.5", both((50, 50), (0, 9))).outcome is GateOutcome.UNDECIDED
    assert judge("worst(recall) >= 0.9", both((50, 50), (0, 9))).accepted


def test_slice_by_a_column_of_the_split():
    predictions = both((30, 30), (15, 30))
    columns = {row.sample: {"fold": row.sample[-1]} for row in predictions.rows}
    verdict = judge("acc[fold == 9] >= 0.9", predictions, columns=columns)
    assert verdict.outcome is GateOutcome.UNDECIDED  # six samples
    columns = {row.sample: {"fold": str(int(row.sample[-1]) % 2)} for row in predictions.rows}
    assert judge("acc[fold == 1] >= 0.7", predictions, columns=columns).accepted
    assert judge("worst(acc, by=fold) >= 0.8", predictions, columns=columns).outcome is GateOutcome.REJECTED


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("recall[sirene] >= 0.5", "no sample of class 'sirene'; did you mean 'siren'?"),
        ("acc[folds == 1] >= 0.5", "no column 'folds' in the split; did you mean 'fold'?"),
        ("acc[fold == 7] >= 0.5", "no sample of 'fold' '7'"),
    ],
)
def test_unknown_slice_rejects_and_suggests(text, message):
    predictions = both((30, 30), (30, 30))
    columns = {row.sample: {"fold": "1"} for row in predictions.rows}
    verdict = judge(f"{text} or acc >= 0", predictions, columns=columns)
    assert verdict.outcome is GateOutcome.REJECTED
    assert message in verdict.message


# --- The champion -----------------------------------------------------------------------------------------


def test_without_a_champion_the_clause_is_met():
    verdict = judge("acc >= best.acc - 0.01", both((30, 50), (30, 50)))
    assert verdict.accepted
    assert "no best version yet" in verdict.clauses[0].reason


def test_clear_gain_over_the_champion_is_accepted_and_a_loss_rejected():
    good, bad = both((50, 50), (50, 50)), both((30, 50), (30, 50))
    verdict = judge("acc >= best.acc", good, champion=best(bad, version=7))
    assert verdict.accepted
    assert "+0.4 against version 7" in verdict.clauses[0].reason
    assert judge("acc >= best.acc - 0.01", bad, champion=best(good)).outcome is GateOutcome.REJECTED


def test_tie_with_the_champion_is_not_enough_evidence():
    same = both((45, 50), (45, 50))
    verdict = judge("acc >= best.acc - 0.01", same, champion=best(same))
    assert verdict.outcome is GateOutcome.UNDECIDED
    assert verdict.clauses[0].further_samples > 0
    assert judge("acc >= best.acc - 0.1", same, champion=best(same)).accepted


def test_different_test_sets_are_refused():
    verdict = judge("acc >= best.acc - 1", both((45, 50), (45, 50)), champion=best(both((45, 50), (45, 51))))
    assert verdict.outcome is GateOutcome.REJECTED
    assert "different test sets" in verdict.message


@pytest.mark.parametrize(("theirs", "ours", "is_refused"), [("a", "b", True), ("a", "a", False), ("", "b", False)])
def test_the_same_samples_with_other_content_are_another_test_set(tmp_path, theirs, ours, is_refused):
    predictions = both((45, 50), (45, 50))
    write_champion(tmp_path, replace(best(predictions), test_content=theirs))
    evidence = GateEvidence(
        predictions=predictions,
        compute=compute,
        evaluate=compute,
        champion=read_champion(tmp_path),
        test_content=ours,
    )
    gate = Gate(parse_condition("acc >= best.acc - 1"))
    verdict = gate.evaluate(compute(predictions), metrics=METRICS, parameters={}, evidence=evidence)
    assert (verdict.outcome is GateOutcome.REJECTED) is is_refused
    assert ("different test sets, of the same samples with other content" in verdict.message) is is_refused


def test_champion_whose_predictions_are_gone_is_named():
    gone = ChampionPredictions(version=3, predictions=None, problem="its predictions are gone (no artifact)")
    verdict = judge("acc >= best.acc - 1 or acc >= 0", both((45, 50), (45, 50)), champion=gone)
    assert verdict.outcome is GateOutcome.REJECTED
    assert "best, version 3: its predictions are gone" in verdict.message


def test_lower_is_better_is_compared_in_its_own_direction():
    draw = random.Random(1)
    labels = [draw.gauss(0, 1) for _ in range(200)]

    def model(noise):
        rows = tuple(
            Prediction(sample=str(n), group=str(n), label=label, scores=(label + noise * draw.gauss(0, 1),))
            for n, label in enumerate(labels)
        )
        return Predictions(classes=(), rows=rows)

    good, bad = model(0.1), model(1.0)
    assert judge("mse <= best.mse", good, champion=best(bad)).accepted
    assert judge("mse <= best.mse + 0.1", bad, champion=best(good)).outcome is GateOutcome.REJECTED
    assert judge("mse <= best.mse + 2", bad, champion=best(good)).accepted
    verdict = judge("spread <= best.spread", good, champion=best(bad))
    assert verdict.accepted
    assert "interval" in verdict.clauses[0].reason


def test_no_regression_is_shown_for_every_slice_or_for_none():
    before = both((900, 1000), (900, 1000))
    assert judge("no_regression(recall, margin=0.05)", before, champion=best(before)).accepted
    worse = both((900, 1000), (700, 1000))
    verdict = judge("no_regression(recall, margin=0.05)", worse, champion=best(before))
    assert verdict.outcome is GateOutcome.REJECTED
    assert "on 'siren'" in verdict.message
    small = both((900, 1000), (27, 30))
    verdict = judge("no_regression(recall, margin=0.05)", small, champion=best(small))
    assert verdict.outcome is GateOutcome.UNDECIDED
    assert "'siren'" in verdict.clauses[0].reason


def test_gate_that_needs_predictions_rejects_without_them():
    gate = Gate(parse_condition("recall[siren] >= 0"))
    verdict = gate.evaluate(compute(both((30, 30), (30, 30))), metrics=METRICS, parameters={})
    assert verdict.outcome is GateOutcome.REJECTED
    assert "there are no predictions" in verdict.message


# --- Numbers that are not finite --------------------------------------------------------------------------


def undefined_in_resamples(share):
    """A metric whose bootstrap has no value on a share of its resamples."""
    calls = []

    def statistic(items):
        calls.append(items)
        return math.nan if len(calls) > 1 and len(calls) % round(1 / share) == 0 else sum(items) / len(items)

    value = bootstrap_by_group({str(n): [float(n % 2)] for n in range(200)}, statistic)
    return MetricReport(values={"acc": value})


@pytest.mark.parametrize("share", [1, 0.5, 0.1, 0.03])
@pytest.mark.parametrize("text", ["acc.lower >= 0.1", "acc.upper <= 0.9", "acc.upper >= 0.1", "not acc.lower < 0.1"])
def test_bound_of_a_bootstrap_that_often_has_no_value_is_not_accepted(share, text):
    gate = Gate(parse_condition(text))
    verdict = gate.evaluate(undefined_in_resamples(share), metrics=METRICS, parameters={})
    assert verdict.outcome is GateOutcome.REJECTED
    assert re.search(r"acc has no confidence interval; its (lower|upper) bound is nan", verdict.message)
    assert gate.evaluate(undefined_in_resamples(0.01), metrics=METRICS, parameters={}).accepted


@pytest.mark.parametrize("text", ["acc >= 0.1", "acc.lower >= 0.1", "not acc < 0.1", "acc >= 0 or acc < 1"])
def test_statistic_that_is_nan_is_not_accepted(text):
    report = MetricReport(values={"acc": bootstrap_by_group({"a": [1.0], "b": [0.0]}, lambda _: math.nan)})
    verdict = Gate(parse_condition(text)).evaluate(report, metrics=METRICS, parameters={})
    assert verdict.outcome is GateOutcome.REJECTED
    assert "acc is NaN" in verdict.message


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("is_champions", [True, False])
@pytest.mark.parametrize("text", ["no_regression({}, margin=0.5)", "not no_regression({}, margin=0.5)"])
@pytest.mark.parametrize("metric", ["mse", "spread"])
def test_change_that_is_not_finite_is_not_accepted(number, is_champions, text, metric):
    def regression(score):
        rows = [Prediction(sample=f"{n:02}", group=f"{n:02}", label=7.0, scores=(7.1,)) for n in range(30)]
        rows[0] = replace(rows[0], scores=(score,))  # max() and min() pass over a NaN that is not the first
        return Predictions(classes=(), rows=tuple(rows))

    good, bad = regression(7.0), regression(number)
    earlier, later = (bad, good) if is_champions else (good, bad)
    evidence = GateEvidence(predictions=later, compute=compute, evaluate=compute, champion=best(earlier))
    gate = Gate(parse_condition(text.format(metric)))
    verdict = gate.evaluate(MetricReport(values={}), metrics=METRICS, parameters={}, evidence=evidence)
    assert verdict.outcome is GateOutcome.REJECTED
    assert re.search(rf"on '7.0', the change of {metric} is (nan|-?inf), not a finite number", verdict.message)


def test_recall_of_numbers_is_refused_by_name():
    rows = tuple(Prediction(sample=str(n), group=str(n), label=1.0, scores=(1.0,)) for n in range(20))
    evidence = GateEvidence(predictions=Predictions(classes=(), rows=rows), compute=compute, evaluate=compute)
    for text in ("worst(recall) >= 0", "recall['1.0'] >= 0", "not worst(recall) < 0"):
        verdict = Gate(parse_condition(text)).evaluate(
            MetricReport(values={}), metrics=METRICS, parameters={}, evidence=evidence
        )
        assert verdict.outcome is GateOutcome.REJECTED
        assert "there are no classes" in verdict.message


# --- The grammar ------------------------------------------------------------------------------------------

_SLICES = st.builds(
    Slice,
    column=st.sampled_from(["label", "fold", "a column", "class"]),
    value=st.none() | st.sampled_from(["siren", "street music", "0", "007", "'", "None", "class"]),
)
_CLAUSES = st.builds(
    Comparison,
    metric=st.sampled_from(["acc", "recall"]),
    operator=st.sampled_from(list(Operator)),
    threshold=st.floats(0, 1) | st.just("q"),
    bound=st.none() | st.sampled_from(list(Bound)),
    slice=st.none() | _SLICES,
)
_CHAMPIONS = st.builds(
    Comparison,
    metric=st.just("acc"),
    operator=st.sampled_from(list(Operator)),
    threshold=st.builds(Champion, offset=st.floats(-1, 1).filter(lambda value: f"{value:.15g}" == repr(value))),
    slice=st.none() | _SLICES.filter(lambda part: part.value is not None),
)
_REGRESSIONS = st.builds(
    NoRegression, metric=st.just("acc"), column=st.sampled_from(["label", "a b"]), margin=st.sampled_from([0.0, 0.05])
)


@given(_CLAUSES | _CHAMPIONS | _REGRESSIONS)
@settings(max_examples=300)
def test_clause_survives_its_text_and_json(clause):
    assert parse_condition(str(clause)) == clause
    assert condition_from_json(json.loads(json.dumps(condition_to_json(clause)))) == clause


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("acc >= best.mse", "expected best.acc"),
        ("acc[siren] >= best.acc", "expected best.acc[siren]"),
        ("acc.lower >= best.acc", "acc.lower cannot be compared with the champion"),
        ("worst(acc) >= best.acc", "worst(acc) cannot be compared with the champion"),
        ("acc.middle >= 0.5", "expected .lower or .upper, not .middle"),
        ("no_regression(acc, margin=-0.1)", "expected 0 or more"),
        ("no_regression(acc, over=label)", "expected no_regression(METRIC, by=COLUMN, margin=NUMBER)"),
        ("worst(acc, label) >= 0.5", "expected a metric's name"),
        ("best(acc) >= 0.5", "expected a metric's name"),
        ("acc[fold > 1] >= 0.5", "expected a class or a value"),
        ("acc >= best.acc * 2", "expected a number or a parameter's name"),
        ("acc >= best.acc - 1e999", "not a finite number"),
        ("__import__('os').system('true')", "expected a comparison"),
    ],
)
def test_malformed_clause_is_refused_by_name(text, message):
    with pytest.raises(PipelineError) as refused:
        parse_condition(text)
    assert message in str(refused.value)


# --- Contradictions ---------------------------------------------------------------------------------------


def check(text, parameters=None):
    values = parameters or {}
    Gate(parse_condition(text)).check(metrics=METRICS, parameters=values, values=values)


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("acc >= 0.9 and acc < 0.8", {}),
        ("acc >= 0.9 and not acc > 0.8", {}),
        ("acc.lower >= 0.9 and acc <= 0.8", {}),
        ("acc >= 0.9 and acc.upper < 0.8", {}),
        ("acc > 1", {}),
        ("mse < 0", {}),
        ("(acc >= 0.9 or acc >= 0.8) and acc < 0.5", {}),
        ("acc >= q and acc <= 0.3", {"q": 0.5}),
        ("recall[siren] >= 0.9 and recall[siren] < 0.9", {}),
    ],
)
def test_contradiction_is_found_before_a_run(text, parameters):
    with pytest.raises(PipelineError, match="no model can be accepted: .* "):
        check(text, parameters)


@pytest.mark.parametrize(
    "text",
    [
        "acc >= 0.9 and acc <= 0.9",
        "acc.lower >= 0.8 and acc.upper <= 0.9",
        "acc.lower < 0.5 and acc >= 0.9",
        "acc >= 0.9 or acc < 0.1",
        "(acc >= 0.9 or mse < 1) and acc < 0.5",
        "recall[siren] >= 0.9 and recall[cat] < 0.5",
        "acc >= 0.9 and acc >= best.acc",
        "mse <= 1e300",
    ],
)
def test_gate_that_some_model_meets_is_no_contradiction(text):
    check(text)


@pytest.mark.parametrize("groups", [1, 2])
def test_bound_of_a_single_group_cannot_be_compared(groups):
    value = MetricValue(value=0.9, low=0.9, high=0.9, method="bootstrap", count=groups, groups=groups)
    report = MetricReport(values={"acc": value, "loss": value})
    verdict = Gate(parse_condition("acc.lower >= 0.1")).evaluate(report, metrics=METRICS, parameters={})
    assert verdict.accepted is (groups == 2)
    assert ("single group" in verdict.message) is (groups == 1)
