"""Any text is a condition or gives one short line; a condition is the same after it was written and read."""

import json
import os
import random
import time

import pytest

from mlops_core.errors import PipelineError
from mlops_core.gates.conditions import condition_from_json, condition_to_json
from mlops_core.gates.parsing import parse_condition

TEXTS = int(os.environ.get("MLOPS_TEST_CONDITIONS", "500"))
"""Number of texts; `make test-all` tries 10,000."""
CLAUSES = (
    *("acc.lower >= 0.9", "worst(recall) >= 0.6", "acc >= best.acc - 0.01", "recall[siren] > 0.5", "0.1 < acc <= 0.9"),
    *("no_regression(recall, by=label, margin=0.05)", "recall['fold 1' == 3] < best.recall['fold 1' == 3] + 0.1"),
    *("worst(acc, by='a b').lower > q", "acc[1.5] <= 1e-7", "loss < -3"),
)
PIECES = (
    *CLAUSES,
    *("acc", "best", "worst", "recall", "by", "margin", "lower", "and", "or", "not", "(", ")", "[", "]", ".", ",", "="),
    *(">=", "<=", ">", "<", "==", "-", "+", "0.5", "1", "1e999", "-1", "'a b'", '"x"', "1_000", "0x1f", "True", "None"),
    *(
        "nan",
        "lambda",
        "é",
        "\n",
        "\t",
        "\0",
        "#",
        "default",
        "if",
        "*",
        "**",
        "@",
        ":=",
        "f'{a}'",
        "b'x'",
        "1j",
        "...",
    ),
    *("'\\d'", "0.5and", "\u202e", "\ud800", "\uff19"),
)


def text_of(draw):
    kind = draw.random()
    if kind < 0.4:
        return " ".join(draw.choice(PIECES) for _ in range(draw.randrange(1, 12)))
    if kind < 0.5:
        return "(" * draw.choice((1, 40, 60, 3000)) + draw.choice(PIECES) + ")" * draw.choice((1, 40, 60, 3000))
    if kind < 0.55:
        return "not " * draw.choice((1, 40, 60, 2000)) + "acc > 1"
    parts = [draw.choice(("{}", "not {}", "({})")).format(draw.choice(CLAUSES)) for _ in range(draw.randrange(1, 6))]
    text = draw.choice((" and ", " or ")).join(parts)
    for _ in range(draw.choice((0, 0, 1, 2, 4))):
        place = draw.randrange(len(text) + 1)
        text = text[:place] + draw.choice(("", " ", draw.choice(PIECES))) + text[place + draw.randrange(3) :]
    return text


def test_any_text_is_a_condition_or_gives_one_short_line():
    draw = random.Random(os.environ.get("MLOPS_TEST_SEED", "1"))
    parsed = 0
    for _ in range(TEXTS):
        text = text_of(draw)
        began = time.process_time()
        try:
            condition = parse_condition(text)
        except PipelineError as error:
            assert len(str(error)) < 600, text  # noqa: PT017  any other error is a failure
            assert str(error).isprintable(), text  # noqa: PT017
        else:
            parsed += 1
            assert parse_condition(str(condition)) == condition, text
            assert condition_from_json(json.loads(json.dumps(condition_to_json(condition)))) == condition, text
        assert time.process_time() - began < 1, text
    assert parsed > TEXTS // 20


@pytest.mark.parametrize("text", ["acc > 0.5and acc < 2", "acc['\\d'] > 0.5", "acc > 0x1for x"])
def test_text_of_which_python_warns_is_refused_without_a_warning(text, capfd):
    with pytest.raises(PipelineError, match="is not an expression"):
        parse_condition(text)
    assert capfd.readouterr() == ("", "")
