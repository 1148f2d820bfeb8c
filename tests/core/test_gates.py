"""Gates: conditions as data, evaluated so that anything doubtful rejects the model."""

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
    PipelineError,
    Unit,
    Verdict,
    parse_condition,
)


def metric(name, maximum=1.0):
    return Metric(name=name, section="m", unit=Unit.FRACTION, minimum=0, maximum=maximum, direction=Direction.HIGHER)


METRICS = (metric("a"), metric("b"), metric("c", math.inf))


def report(**values):
    return MetricReport(values={name: MetricValue(value=value, low=0, high=1) for name, value in values.items()})


def judge(text, parameters=None, **values):
    return Gate(parse_condition(text)).evaluate(report(**values), metrics=METRICS, parameters=parameters or {})


@pytest.mark.parametrize(
    ("value", "reason"),
    [(math.nan, "a is NaN"), (math.inf, "a is infinite"), (94.0, "percent where a fraction"), (-0.1, "outside 0 to 1")],
)
@pytest.mark.parametrize("text", ["a >= 0.5", "not (a < 0.5)", "a >= 0.5 or b >= 0.1", "not (a >= 0.5)", "a < 0.5"])
def test_bad_value_fails_the_gate_whatever_surrounds_it(text, value, reason):
    verdict = judge(text, a=value, b=0.9)
    assert not verdict.accepted
    assert any(reason in clause.reason for clause in verdict.clauses)
    assert verdict.message


def test_missing_metric_fails_the_gate():
    verdict = judge("a >= 0.5 or b >= 0.1", b=0.9)
    assert not verdict.accepted
    assert verdict.message == "Execution failed: a is missing"


def test_missing_or_impossible_threshold_fails_the_gate():
    assert not judge("a >= q", a=0.9).accepted
    assert not judge("a >= q", {"q": math.nan}, a=0.9).accepted
    assert not judge("a >= q", {"q": 50.0}, a=0.9).accepted
    assert judge("a >= q", {"q": 0.9}, a=0.9).accepted


def test_message_names_the_threshold():
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
def test_gate_agrees_with_python_on_good_values_and_rejects_all_others(condition, found):
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
def test_condition_survives_a_round_trip_through_json_and_text(condition):
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


def test_number_on_the_left_exchanges_the_sides():
    assert str(parse_condition("0.25 <= a < 0.5")) == "a >= 0.25 and a < 0.5"


@pytest.mark.parametrize(
    ("operator", "opposite", "mirrored"), [(">=", "<", "<="), (">", "<=", "<"), ("<=", ">", ">="), ("<", ">=", ">")]
)
def test_operator_knows_its_opposite_and_its_mirror_image(operator, opposite, mirrored):
    assert (Operator(operator).opposite, Operator(operator).mirrored) == (Operator(opposite), Operator(mirrored))


@pytest.mark.parametrize("threshold", [math.nan, math.inf, -math.inf, True, None, "not a name", ""])
def test_threshold_that_no_number_can_be_compared_with_is_refused(threshold):
    with pytest.raises(PipelineError, match=r"^gate: the threshold of 'a' is "):
        Comparison(metric="a", operator=Operator.ABOVE, threshold=threshold)


@pytest.mark.parametrize("threshold", [0, -1, 0.5, "q_a"])
def test_threshold_may_be_a_number_or_the_name_of_a_parameter(threshold):
    assert Comparison(metric="a", operator=Operator.ABOVE, threshold=threshold).threshold == threshold


@pytest.mark.parametrize(("kind", "word"), [(AllOf, "and"), (AnyOf, "or")])
def test_empty_combination_is_refused(kind, word):
    with pytest.raises(PipelineError, match=f"^gate: '{word}' of nothing$"):
        kind(())


def test_gate_lists_the_metrics_and_parameters_that_it_mentions():
    gate = Gate(parse_condition("a >= q and not (b > 0.5 or c < r)"))
    assert gate.metrics() == {"a", "b", "c"}
    assert gate.parameters() == {"q", "r"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a >= 0.5 and d >= 0.5", "gate: unknown metric 'd'; metrics: a, b, c"),
        ("alpha >= 0.5", "gate: unknown metric 'alpha'; metrics: a, b, c"),
        ("a >= q_b", "gate: unknown numeric parameter 'q_b'; did you mean 'q_a'? parameters: q_a"),
        ("a >= 0.5 and b > 1.5", "gate: the threshold of 'b' is 1.5, outside 0 to 1"),
    ],
)
def test_names_and_thresholds_are_checked_before_a_run(text, message):
    with pytest.raises(PipelineError) as caught:
        Gate(parse_condition(text)).check(metrics=METRICS, parameters=["q_a"])
    assert str(caught.value).startswith(message)


def test_correct_gate_passes_the_check():
    Gate(parse_condition("a >= q_a and c < 7")).check(metrics=METRICS, parameters=["q_a"])
    with pytest.raises(PipelineError, match="parameters: none"):
        Gate(parse_condition("a >= q_a")).check(metrics=METRICS, parameters=[])


def test_accepting_verdict_has_a_clause_per_comparison_and_no_message():
    verdict = judge("a >= 0.5 and not b > q", {"q": 0.75}, a=0.5, b=0.75)
    assert verdict.accepted
    assert verdict.message == ""
    assert [(clause.clause, clause.metric, clause.value, clause.threshold) for clause in verdict.clauses] == [
        ("a >= 0.5", "a", 0.5, 0.5),
        ("not b > q", "b", 0.75, 0.75),
    ]
    assert [(clause.passed, clause.reason) for clause in verdict.clauses] == [
        (True, "0.5 meets it"),
        (True, "0.75 meets it"),
    ]


def test_rejecting_verdict_lists_each_failed_clause_once():
    verdict = judge("a >= 0.5 and a >= 0.5 and not b > q and c < 9", {"q": 0.25}, a=0.25, b=0.75, c=1)
    assert not verdict.accepted
    assert verdict.message == (
        "Execution failed: a is 0.25, which fails a >= 0.5 (0.5); "
        "Execution failed: b is 0.75, which fails not b > q (0.25)"
    )
    assert [clause.passed for clause in verdict.clauses] == [False, False, False, True]
    assert verdict.clauses[0].reason == "0.25 does not meet it"


def test_missing_threshold_is_named():
    verdict = judge("a >= q", {}, a=0.5)
    assert verdict.message == "Execution failed: threshold q of a is missing"
    assert (verdict.clauses[0].value, verdict.clauses[0].threshold, verdict.clauses[0].passed) == (0.5, None, False)


def test_metric_that_was_not_declared_is_named():
    verdict = Gate(parse_condition("z >= 0.5")).evaluate(report(z=0.9), metrics=METRICS, parameters={})
    assert verdict.message == "Execution failed: z is not a declared metric"
    assert not verdict.accepted


def test_one_of_two_alternatives_is_enough():
    assert judge("a >= 0.5 or b >= 0.5", a=0.25, b=0.5).accepted
    assert not judge("a >= 0.5 or b >= 0.5", a=0.25, b=0.25).accepted


def nested(depth):
    condition = parse_condition("a >= 0.5")
    for _ in range(depth):
        condition = Not(condition)
    return condition


def test_nesting_is_limited_in_data_and_in_text():
    assert Gate(nested(50)).metrics() == {"a"}
    with pytest.raises(PipelineError, match="^gate: nested more than 50 deep$"):
        Gate(nested(51))
    with pytest.raises(PipelineError, match="^gate: nested more than 50 deep$"):
        Gate(AllOf((AnyOf((nested(49), nested(1))), nested(1))))
    assert str(parse_condition("not " * 50 + "a >= 0.5")) == str(nested(50))
    with pytest.raises(PipelineError, match="^gate: nested more than 50 deep$"):
        parse_condition("not " * 51 + "a >= 0.5")
    with pytest.raises(PipelineError, match="^gate: nested more than 50 deep$"):
        parse_condition("(b > 0 and (b > 0 or " * 26 + "a >= 0.5" + "))" * 26)


def test_length_of_the_text_is_limited():
    text = "a >= 0.5" + " " * (10_000 - len("a >= 0.5"))
    assert str(parse_condition(text)) == "a >= 0.5"
    with pytest.raises(PipelineError, match=r"^gate: 10001 characters; at most 10000 are read$"):
        parse_condition(f"{text} ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a >= 0.5 and 7", "gate: 'a >= 0.5 and 7', column 14: expected a comparison"),
        ("a == 1", "gate: 'a == 1', column 1: expected >=, >, <= or < after this"),
        ("1 >= 2", "gate: '1 >= 2', column 6: expected a metric's name"),
        ("a >= 'x'", "gate: \"a >= 'x'\", column 6: expected a number or a parameter's name"),
        ("a >= True", "gate: 'a >= True', column 6: expected a number or a parameter's name"),
    ],
)
def test_refused_text_is_named_with_its_column(text, message):
    with pytest.raises(PipelineError) as caught:
        parse_condition(text)
    assert str(caught.value) == message


def test_text_may_have_parameters_negative_numbers_and_messages():
    condition = parse_condition("c > -2 or 0.5 < a <= q", messages={"c": "too small:"})
    assert str(condition) == "c > -2 or (a > 0.5 and a <= q)"
    assert condition.parts[0] == Comparison(metric="c", operator=Operator.ABOVE, threshold=-2, message="too small:")
    assert condition.parts[1].parts[1].message == ""


def test_condition_as_json_has_stable_keys():
    gate = Gate(AllOf((parse_condition("a >= q"), AnyOf((parse_condition("b < 1"), Not(parse_condition("c > 2")))))))
    clause = {"metric": "a", "operator": ">=", "threshold": "q", "message": ""}
    assert gate.to_json() == {
        "all": [
            clause,
            {
                "any": [
                    {"metric": "b", "operator": "<", "threshold": 1, "message": ""},
                    {"not": {"metric": "c", "operator": ">", "threshold": 2, "message": ""}},
                ]
            },
        ]
    }
    assert Gate.from_json({name: clause[name] for name in ("metric", "operator", "threshold")}) == Gate(
        parse_condition("a >= q")
    )
    with pytest.raises(PipelineError, match="is not a condition"):
        Gate.from_json({"metric": "a"})


def test_verdict_as_json_has_stable_keys():
    assert judge("a >= 0.5", a=0.25).to_json() == {
        "accepted": False,
        "outcome": "rejected",
        "message": "Execution failed: a is 0.25, which fails a >= 0.5 (0.5)",
        "clauses": [
            {
                "clause": "a >= 0.5",
                "metric": "a",
                "value": 0.25,
                "threshold": 0.5,
                "passed": False,
                "reason": "0.25 does not meet it",
                "outcome": "rejected",
                "further_samples": None,
            }
        ],
    }
