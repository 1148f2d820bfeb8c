"""The matcher agrees with the service's own library."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import pytest
from mlops_sagemaker.triggers.patterns import EventPattern, PatternError, RuleIndex

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text(encoding="utf-8"))


def verdict(pattern: str, event: str) -> str:
    try:
        compiled = EventPattern.parse(pattern)
    except PatternError as error:
        return f"ERROR {error.reason}"
    return "MATCH" if compiled.matches(json.loads(event)) else "no"


@pytest.mark.parametrize(("name", "pattern", "event", "expected"), VECTORS, ids=[row[0] for row in VECTORS])
def test_the_verdict_is_that_of_the_service(name, pattern, event, expected):
    assert verdict(pattern, event) == expected


@pytest.mark.parametrize(("pattern", "event", "expected"), [
    ({"a": [{"prefix": ""}]}, {"a": 3}, False),
    ({"a": [{"suffix": ".zip"}]}, {"a": "intel.zip"}, True),
    ({"a": [{"suffix": {"equals-ignore-case": ".ZIP"}}]}, {"a": "intel.zip"}, True),
    ({"a": [{"wildcard": "a*b*c"}]}, {"a": "abbc"}, True),
    ({"a": [{"wildcard": "ab*ba"}]}, {"a": "aba"}, False),
    ({"a": [{"wildcard": "a\\**"}]}, {"a": "a*x"}, True),
    ({"a": [{"anything-but": ["x"]}]}, {"a": ["x", "y"]}, True),
    ({"a": [{"anything-but": {"prefix": "3"}}]}, {"a": 300}, True),
    ({"a": [{"anything-but": {"wildcard": ["*.tmp", "*.part"]}}]}, {"a": "b.part"}, False),
    ({"a": [{"anything-but": "x"}]}, {}, False),
    ({"a": {"b": [{"exists": False}]}}, {}, True),
    ({"a": {"b": [{"exists": False}]}}, {"a": [{"c": 1}, {"b": 1}]}, False),
    ({"a": {"b": ["1"], "c": ["2"]}}, {"a": [{"b": "1"}, {"c": "2"}]}, False),
    ({"a": {"b": ["1"], "c": ["2"]}}, {"a": [{"b": "1", "c": "2"}]}, True),
    ({"a": {"b": {"c": ["1"]}, "d": ["2"]}}, {"a": [{"b": [{"c": "0"}, {"c": "1"}], "d": "2"}]}, True),
    ({"a": {"b": ["1"]}, "c": ["2"]}, {"a": [{"b": "0"}, {"b": "1"}], "c": ["1", "2"]}, True),
    ({"a": [1.0]}, {"a": True}, False),
    ({"a": [{"numeric": [">=", 0, "<", 5]}]}, {"a": 5}, False),
    ({"a": [{"cidr": "2001:db8::/32"}]}, {"a": "2001:db8::1"}, True),
    ({"a": [{"exactly": "x"}]}, {"a": "x"}, True),
    ({"a": {"b": ["x"]}}, {"a": "x"}, False),
    ({"a": ["x"], "b": {"$or": [{"c": [1]}, {"d": [2], "$or": [{"e": [3]}, {"f": [4]}]}]}},
     {"a": "x", "b": {"d": 2, "f": 4}}, True),
    ({"a": [10**400]}, {"a": 10**400}, True),
    ({"a": [10**400]}, {"a": 10**401}, False),
])  # fmt: skip
def test_rules_of_the_user_guide_beyond_the_vectors(pattern, event, expected):
    assert EventPattern.of(pattern).matches(event) is expected
    assert (EventPattern.of(pattern).mismatch(event) is None) is expected
    assert bool(RuleIndex({"rule": EventPattern.of(pattern)}).match(event)) is expected


@pytest.mark.parametrize(("pattern", "words"), [
    ("[", "not JSON"),
    ("[]", "Filter is not an object"),
    ('{"a": "x"}', 'write ["x"]'),
    ('{"a": []}', "Empty arrays"),
    ('{"a": [{"prefx": "x"}]}', "did you mean 'prefix'?"),
    ('{"a": [{"numeric": ["<", 5, ">", 0]}]}', "lower bound first"),
    ('{"a": [{"numeric": [">", 5, "<", 0]}]}', "Bottom must be less than top"),
    ('{"a": [{"wildcard": "a**"}]}', "Consecutive wildcard"),
    ('{"a": [{"wildcard": ["a*"]}]}', "must be a string"),
    ('{"a": [{"cidr": "10.0.0.0"}]}', "one '/' required"),
    ('{"a": [{"exists": "yes"}]}', "true or false"),
    ('{"a": [{"anything-but": [true]}]}', "Value of anything-but"),
    ('{"a": [NaN]}', "NaN is not a JSON value"),
    ("[" * 100_000, "nested too deeply"),
])  # fmt: skip
def test_a_pattern_that_the_service_refuses_says_what_to_do_on_one_line(pattern, words):
    with pytest.raises(PatternError) as caught:
        EventPattern.parse(pattern)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def _memberships(node, path=(), indexes=()):
    """Yield each value with its path and the element of each list that it is in: the reference's view of an event."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _memberships(value, (*path, *name.split(".")), indexes)
    elif isinstance(node, list):
        for position, value in enumerate(node):
            yield from _memberships(value, path, (*indexes, (id(node), position)))
    else:
        yield path, node, dict(indexes)


def _reference(alternative, event) -> bool:
    """Try every choice of one value for each field; a choice is valid if no list is in two elements at once."""
    values = list(_memberships(event))
    choices = []
    for field in alternative.fields:
        at_path = [each for each in values if each[0] == field.path]
        if not at_path and field.takes_absent:
            continue
        choices.append([where for _, value, where in at_path if field.matches(value)])
    for chosen in itertools.product(*choices):
        positions: dict[int, int] = {}
        if all(positions.setdefault(item, at) == at for where in chosen for item, at in where.items()):
            return True
    return False


def test_random_patterns_match_as_in_a_search_of_all_combinations():
    draw = random.Random(7)
    names = ["a", "b", "c", "a.b"]

    def value(depth):
        kind = draw.random()
        if depth and kind < 0.45:
            return {name: value(depth - 1) for name in draw.sample(names, draw.randint(0, 3))}
        if depth and kind < 0.7:
            return [value(depth - 1) for _ in range(draw.randint(0, 3))]
        return draw.choice(["x", "y", 1, None, True])

    def pattern(depth):
        fields = {}
        for name in draw.sample(names, draw.randint(1, 3)):
            tests = [["x"], ["y", 1], [{"exists": False}], [{"exists": True}], [{"anything-but": "x"}], [None, "x"]]
            fields[name] = pattern(depth - 1) if depth and draw.random() < 0.5 else draw.choice(tests)
        return fields

    outcomes = {True: 0, False: 0}
    for _ in range(3000):
        compiled = EventPattern.of(pattern(2))
        event = {name: value(3) for name in draw.sample(names, 3)}
        expected = any(_reference(each, event) for each in compiled.alternatives)
        assert compiled.matches(event) is expected
        outcomes[expected] += 1
    assert min(outcomes.values()) > 100


def test_an_index_of_many_rules_finds_what_each_rule_matches():
    draw = random.Random(11)
    fields = ["a", "b", "detail-type"]
    words = ["in/a", "in/b", "out/a", "10.0.0.1", "::1"]
    tests = [
        lambda: draw.choice(words),
        lambda: {"prefix": draw.choice(["in/", "out/", "i"])},
        lambda: {"suffix": draw.choice(["/a", "b"])},
        lambda: {"anything-but": draw.choice(words)},
        lambda: {"exists": False},
        lambda: draw.choice([1, 2, True, None]),
    ]
    patterns = {
        f"rule-{number}": EventPattern.of(
            {name: [draw.choice(tests)() for _ in range(draw.randint(1, 2))] for name in draw.sample(fields, 2)}
        )
        for number in range(300)
    }
    index = RuleIndex(patterns)
    values = [*words, 1, 2.0, True, None, "0:0:0:0:0:0:0:1", ["in/a", "x"], [], {}, [{"z": 1}]]
    total = 0
    for _ in range(300):
        event = {name: draw.choice(values) for name in draw.sample(fields, draw.randint(1, 3))}
        expected = tuple(name for name, each in patterns.items() if each.matches(event))
        assert index.match(event) == expected
        total += len(expected)
    assert total > 1000


def test_a_list_of_ten_thousand_objects_is_matched_in_linear_time():
    pattern = EventPattern.of({"a": {"b": ["x"], "c": ["y"], "d": ["z"]}})
    items = [{"b": "x", "c": "y"} for _ in range(10_000)]
    assert not pattern.matches({"a": items})
    assert pattern.matches({"a": [*items, {"b": "x", "c": "y", "d": "z"}]})
