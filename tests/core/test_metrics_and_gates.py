"""Metrics with intervals, and gates that fail closed."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_core import (
    AllOf,
    AnyOf,
    Comparison,
    Direction,
    Gate,
    Metric,
    MetricReport,
    MetricValue,
    Not,
    Operator,
    Prediction,
    Unit,
    Verdict,
    bootstrap_by_group,
    parse_condition,
    proportion,
    read_predictions,
    write_predictions,
)
from mlops_core.errors import PipelineError, StepError
from mlops_core.metrics import check_report, read_evaluation, write_evaluation


def metric(name, maximum=1.0):
    return Metric(name=name, section="m", unit=Unit.FRACTION, minimum=0, maximum=maximum, direction=Direction.HIGHER)


METRICS = (metric("a"), metric("b"), metric("c", math.inf))


def report(**values):
    return MetricReport(values={name: MetricValue(value=value, low=0, high=1) for name, value in values.items()})


def judge(text, parameters=None, **values):
    return Gate(parse_condition(text)).evaluate(report(**values), metrics=METRICS, parameters=parameters or {})


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    # Newcombe, Two-sided confidence intervals for the single proportion (1998), table I, method 3 (Wilson).
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_wilson_interval_equals_published_values(hits, count, low, high):
    found = proportion(hits, count)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


def test_the_bootstrap_resamples_groups_and_not_items():
    items = {str(group): [float(group % 2)] * 50 for group in range(10)}
    found = bootstrap_by_group(items, lambda values: sum(values) / len(values))
    assert found.value == 0.5
    assert found.high - found.low > 0.4  # 500 independent items would give 0.09
    assert found == bootstrap_by_group(items, lambda values: sum(values) / len(values))


@pytest.mark.parametrize(
    ("value", "reason"),
    [(math.nan, "a is NaN"), (math.inf, "a is infinite"), (94.0, "percent where a fraction"), (-0.1, "outside 0 to 1")],
)
@pytest.mark.parametrize("text", ["a >= 0.5", "not (a < 0.5)", "a >= 0.5 or b >= 0.1", "not (a >= 0.5)", "a < 0.5"])
def test_a_bad_value_fails_the_gate_whatever_stands_around_it(text, value, reason):
    verdict = judge(text, a=value, b=0.9)
    assert not verdict.accepted
    assert any(reason in clause.reason for clause in verdict.clauses)
    assert verdict.message


def test_a_missing_metric_fails_the_gate():
    verdict = judge("a >= 0.5 or b >= 0.1", b=0.9)
    assert not verdict.accepted
    assert verdict.message == "Execution failed: a is missing"


def test_a_missing_or_impossible_threshold_fails_the_gate():
    assert not judge("a >= q", a=0.9).accepted
    assert not judge("a >= q", {"q": math.nan}, a=0.9).accepted
    assert not judge("a >= q", {"q": 50.0}, a=0.9).accepted
    assert judge("a >= q", {"q": 0.9}, a=0.9).accepted


def test_the_message_names_the_threshold():
    gate = Gate(
        Comparison(
            metric="a", operator=Operator.AT_LEAST, threshold="q", message="Execution failed due to clip level acc <"
        )
    )
    verdict = gate.evaluate(report(a=0.4), metrics=METRICS, parameters={"q": 0.5})
    assert verdict.message == "Execution failed due to clip level acc < 0.5"
    assert Verdict.from_json(json.loads(json.dumps(verdict.to_json()))) == verdict


comparisons = st.builds(
    Comparison,
    metric=st.sampled_from("abc"),
    operator=st.sampled_from(Operator),
    threshold=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
)
conditions = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(AllOf, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(AnyOf, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)
values = st.dictionaries(st.sampled_from("abc"), st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0, -1.0, math.nan, math.inf]))


@given(conditions, values)
def test_the_gate_agrees_with_python_on_good_values_and_rejects_all_others(condition, found):
    gate = Gate(condition)
    verdict = gate.evaluate(report(**found), metrics=METRICS, parameters={})
    limits = {"a": 1.0, "b": 1.0, "c": math.inf}
    is_good = all(
        name in found and math.isfinite(found[name]) and 0 <= found[name] <= limits[name] for name in gate.metrics()
    )
    oracle = is_good and eval(str(condition), {}, dict(found))
    assert verdict.accepted is bool(oracle)
    assert bool(verdict.message) is not verdict.accepted


@given(conditions)
def test_a_condition_survives_json_and_text(condition):
    assert Gate.from_json(json.loads(json.dumps(Gate(condition).to_json()))) == Gate(condition)
    parsed = parse_condition(str(condition))
    assert str(parsed) == str(condition)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a == 1",
        "a >= f(1)",
        "__import__('os').system('x') >= 1",
        "a.b >= 1",
        "a >= 'x'",
        "1 >= 2",
        "a >= True",
        "a >= 1 if b else c",
        "a >= 1;",
        "not " * 100 + "a >= 1",
        "a >= 1 and " * 2000 + "a >= 1",
    ],
)
def test_anything_but_comparisons_is_refused(text):
    with pytest.raises(PipelineError):
        parse_condition(text)


def test_a_number_on_the_left_exchanges_the_sides():
    assert str(parse_condition("0.25 <= a < 0.5")) == "a >= 0.25 and a < 0.5"


def test_evaluation_json_has_the_layout_that_engines_read(tmp_path):
    written = MetricReport(values={"a": proportion(9, 10)}, notes={"clips": 10})
    write_evaluation(tmp_path, written, METRICS)
    data = json.loads((tmp_path / "evaluation.json").read_text())
    assert data["m"]["a"]["value"] == 0.9
    assert data["m"]["a"]["confidence_interval"]["method"] == "wilson"
    assert read_evaluation(tmp_path, METRICS) == written


def test_a_value_that_is_not_finite_is_null_in_the_file_and_rejected_when_read(tmp_path):
    write_evaluation(tmp_path, report(a=math.nan), METRICS)
    assert "NaN" not in (tmp_path / "evaluation.json").read_text().replace("is NaN", "")
    verdict = Gate(parse_condition("a >= 0")).evaluate(
        read_evaluation(tmp_path, METRICS), metrics=METRICS, parameters={}
    )
    assert not verdict.accepted


@pytest.mark.parametrize("value", ["NaN", "Infinity", '"0.9"', "true", "null", "[1]", "94", "1e999", "1" + "0" * 400])
def test_a_strange_value_in_the_file_reaches_the_gate_and_is_rejected(tmp_path, value):
    (tmp_path / "evaluation.json").write_text(f'{{"m": {{"a": {{"value": {value}}}}}}}')
    found = read_evaluation(tmp_path, METRICS)
    assert not Gate(parse_condition("a >= 0 or a < 0")).evaluate(found, metrics=METRICS, parameters={}).accepted


def test_an_undeclared_metric_cannot_be_written_and_faults_are_listed(tmp_path):
    with pytest.raises(StepError, match="'z' was computed but not declared"):
        write_evaluation(tmp_path, report(z=1.0), METRICS)
    assert check_report(report(a=2.0, b=0.5), METRICS) == (
        "a is 2, outside 0 to 1; a percent where a fraction is expected?",
        "c is missing",
    )


def test_predictions_survive_their_file(tmp_path):
    rows = [Prediction(sample="ü.wav", part=1, group="g", label="x", scores=(0.25, 0.75))]
    write_predictions(tmp_path, ("x", "y"), rows)
    assert list(read_predictions(tmp_path).rows) == rows


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scores": (1.0,)}, "1 scores; expected 2"),
        ({"scores": (math.nan, 0.0)}, "not finite"),
        ({"label": "z"}, "none of"),
    ],
)
def test_a_bad_prediction_is_not_written(tmp_path, changes, message):
    row = Prediction(**{"sample": "s", "group": "g", "label": "x", "scores": (1.0, 0.0), **changes})
    with pytest.raises(StepError, match=message):
        write_predictions(tmp_path, ("x", "y"), [row])
    assert not (tmp_path / "predictions.jsonl").exists()


@pytest.mark.parametrize("text", ["", "{}", '{"format":"mlops-predictions/1","classes":[]}\n{"a":1}\n', "\x00"])
def test_a_damaged_predictions_file_is_named_with_its_line(tmp_path, text):
    (tmp_path / "predictions.jsonl").write_text(text)
    with pytest.raises(StepError, match=r"predictions.jsonl \(line [12]\)"):
        read_predictions(tmp_path)
