"""A configuration that was damaged in any way gives one clear error, or means what YAML says."""

import os
import random
import re

import pytest
import yaml

from mlops_core.errors import MlopsError
from mlops_core.use_cases.discovery import find_use_case
from mlops_core.use_cases.manager import load_use_case

MUTATIONS = int(os.environ.get("MLOPS_TEST_CONFIGURATIONS", "100"))
"""Number of damaged files, of all use cases together; `make test-all` tries 10,000."""
USE_CASES = {"TOY": 0.6, "AED": 0.1, "ROAD_SIGN": 0.1, "SCENE": 0.1, "ABALONE": 0.1}
"""Name -> its share; the file of TOY is the smallest."""
LONGEST_LINE = 1500
NASTY = (
    *("", "null", "~", "true", "yes", "off", "'true'", "0", "-1", "1e999", "1e-999", ".nan", ".inf", "-.inf", "NaN"),
    *(
        "9" * 30,
        "9" * 600,
        "0x1F",
        "0o17",
        "017",
        "1_000",
        "12:30:45",
        "2026-01-01",
        "!!int x",
        "!foo bar",
        "!!binary x",
    ),
    *("[]", "{}", "[1, [2, [3]]]", "{a: 1}", "[" * 60 + "]" * 60, "[" * 3000, "*nowhere", "&a 1", "&a [*a]", "|", ">-"),
    *(
        "'",
        '"',
        "\\",
        "${HOME}",
        "${NOT_SET}",
        "${",
        "a: b",
        "- x",
        "#",
        "%",
        "@",
        "`",
        "\t1",
        "é",
        "日本",
        "\u202e",
        "\ufeff",
    ),
    *(
        "😀",
        "\x7f",
        "\u2028",
        "../nowhere",
        "~nobody/x",
        "C:\\x",
        "a\\0b",
        '"\\0"',
        '"\\ud800"',
        "<<: 1",
        "{<<: [1]}",
        "?",
        "1.5.2",
    ),
    *("x" * 5000, "nul", "-0", "+1", "1.", ".5", "1e3", "''", "default", "default and", "acc >= ", "not default"),
)


def _line(draw, lines):
    return draw.randrange(len(lines)) if lines else 0


def _set_value(draw, lines):
    number = _line(draw, lines)
    key, colon, _ = lines[number].partition(":")
    lines[number] = f"{key}{colon or ':'} {draw.choice(NASTY)}"


def _mistype_key(draw, lines):
    number = _line(draw, lines)
    match = re.search(r"[\w-]+(?=:)", lines[number])
    if match:
        key = list(match[0])
        place = draw.randrange(len(key))
        key[place : place + draw.choice((0, 1))] = draw.choice(("", "x", "_", "-", "É", "\u200b", " ", "."))
        lines[number] = lines[number][: match.start()] + "".join(key) + lines[number][match.end() :]


def _insert_text(draw, lines):
    number = _line(draw, lines)
    place = draw.randrange(len(lines[number]) + 1)
    lines[number] = lines[number][:place] + draw.choice(NASTY) + lines[number][place:]


def _delete_text(draw, lines):
    number = _line(draw, lines)
    start = draw.randrange(len(lines[number]) + 1)
    lines[number] = lines[number][:start] + lines[number][start + draw.randrange(1, 9) :]


def _indent(draw, lines):
    number = _line(draw, lines)
    lines[number] = draw.choice((" ", "  ", "\t", "    ", "\u00a0")) + lines[number]


def _outdent(draw, lines):
    number = _line(draw, lines)
    lines[number] = lines[number][draw.randrange(1, 4) :]


def _swap(draw, lines):
    one, other = _line(draw, lines), _line(draw, lines)
    lines[one], lines[other] = lines[other], lines[one]


def _delete(draw, lines):
    start = _line(draw, lines)
    del lines[start : start + draw.randrange(1, 4)]


def _duplicate(draw, lines):
    start = _line(draw, lines)
    lines[start:start] = lines[start : start + draw.randrange(1, 6)]


def _insert_line(draw, lines):
    extra = (
        "---",
        "...",
        "<<: *a",
        "x-a: &a {epochs: 1}",
        "gate:",
        "  condition: acc >= 2",
        "? [1]",
        "- 1",
        "1: 2",
        "null: 1",
    )
    lines.insert(_line(draw, lines), draw.choice(extra))


def _nest(draw, lines):
    depth = draw.choice((5, 60, 500))
    number = _line(draw, lines)
    lines[number : number + 1] = [f"{' ' * level}k:" for level in range(depth)]


LINE_MUTATIONS = (
    *(_set_value,) * 4,
    *(_mistype_key,) * 2,
    *(_insert_text, _delete_text, _indent, _outdent, _swap, _delete, _duplicate, _insert_line, _nest),
)


def mutated(draw, text):
    """Return the bytes of a file with one to three kinds of damage."""
    lines = text.split("\n")
    for _ in range(draw.randrange(1, 4)):
        if lines:
            draw.choice(LINE_MUTATIONS)(draw, lines)
    content = "\n".join(lines)
    how = draw.randrange(12)
    if how == 0:
        content = content.replace("\n", "\r\n")
    elif how == 1:
        content = "\ufeff" + content
    elif how == 2:
        content = content.replace("\n", "\r")
    data = content.encode("utf-8", "surrogatepass")
    if how == 3:
        data = content.encode("utf-16")
    elif how == 4 and data:
        place = draw.randrange(len(data))
        data = data[:place] + bytes([draw.randrange(256)]) + data[place + 1 :]
    return data


def fault_of(error):
    """Return why an error is not one clear message; empty if it is."""
    text = str(error)
    lines = text.split("\n")
    if len(lines) != 1 + len(error.problems):
        return f"{len(lines)} lines for {len(error.problems)} problems"
    shown = error.problems or lines
    for line in (*lines, *shown):
        if len(line) > LONGEST_LINE:
            return f"a line of {len(line)} characters"
        if any(not letter.isprintable() for letter in line):
            return f"a control character in {line!r}"
    for line in shown:
        if "Traceback" in line or "pydantic" in line or "validation error" in line:
            return f"a dump: {line}"
        if not re.search(r"c\.yaml|\b[a-z_]+(\.[a-z_]+)*\b", line):
            return f"neither a file nor a key: {line}"
    return ""


def merged(base, other):
    if not isinstance(base, dict) or not isinstance(other, dict):
        return other
    return {**base, **{name: merged(base.get(name), value) for name, value in other.items()}}


def is_same(written, meant):
    """Return whether a value of the model is what was written, as YAML 1.1 or 1.2 reads it."""
    if isinstance(written, dict):
        return isinstance(meant, dict) and all(
            is_same(value, meant.get(str(name), meant.get(name))) for name, value in written.items()
        )
    if isinstance(written, list):
        return isinstance(meant, list) and len(written) == len(meant) and all(map(is_same, written, meant))
    if isinstance(written, bool):
        return written is meant
    if isinstance(meant, bool):  # a number or a quoted word
        return str(written).lower() in ({"1", "1.0", "true"} if meant else {"0", "0.0", "false"})
    if isinstance(meant, int | float) and isinstance(written, str):  # 1e3 is a text to YAML 1.1, a number to YAML 1.2
        written = float(written)
    return written == meant or str(written).replace("\\", "/") == str(meant)


def judge(use_case, name, content, path):
    """Return what is wrong with the answer to a damaged file; empty if nothing is."""
    path.write_bytes(content)
    try:
        loaded = use_case.load_config(path, environ={"HOME": "/home/somebody"})
        use_case.pipeline(loaded.model)
        use_case.dataset_choice(loaded.model)
    except MlopsError as error:
        return fault_of(error)
    except Exception as error:  # noqa: BLE001  each is a defect
        return f"{type(error).__name__}: {error}"
    if loaded.is_imported:
        return ""
    default = use_case.default_config_path()
    base = yaml.safe_load(default.read_text("utf-8")) if default else {}
    text = content.decode("utf-8-sig").replace("${HOME}", "/home/somebody")
    written = yaml.safe_load(text) or {}
    written = {key: value for key, value in written.items() if not str(key).startswith(("x-", "."))}
    wanted, sections = merged(base, written), loaded.sections()
    wrong = [key for key, value in wanted.items() if not is_same(value, sections.get(key))]
    return f"{wrong[0]} is {sections.get(wrong[0])}, not {wanted[wrong[0]]}" if wrong else ""


@pytest.mark.parametrize("name", USE_CASES)
def test_a_damaged_configuration_gives_one_clear_error_or_means_what_yaml_says(toy, tmp_path, name):
    try:
        find_use_case(name)
    except MlopsError:
        pytest.skip(f"{name} is not installed")
    use_case = load_use_case(name)
    text = use_case.default_config_path().read_text("utf-8")
    draw = random.Random(f"{name} {os.environ.get('MLOPS_TEST_SEED', '1')}")
    faults = []
    for number in range(round(MUTATIONS * USE_CASES[name])):
        content = mutated(draw, text)
        if fault := judge(use_case, name, content, tmp_path / "c.yaml"):
            faults.append((number, fault, content))
            if len(faults) == 20:
                break
    assert not faults, "\n\n".join(f"{number}: {fault}\n{content[:3000]!r}" for number, fault, content in faults)
