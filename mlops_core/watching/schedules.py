"""Schedule expressions: ``rate(12 hours)``, ``cron(0 3 ? * MON *)`` and ``at(2027-01-31T03:00:00)``, checked."""

from __future__ import annotations

import datetime as dt
import re

from mlops_core.errors import did_you_mean

_UNITS = ("minute", "minutes", "hour", "hours", "day", "days")
_FORMS = "rate(N minutes|hours|days), cron(six fields) or at(yyyy-mm-ddThh:mm:ss)"
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"), start=1
    )
}
_DAYS = {"SUN": 1, "MON": 2, "TUE": 3, "WED": 4, "THU": 5, "FRI": 6, "SAT": 7}
_FIELDS: tuple[tuple[str, int, int, dict[str, int], str], ...] = (
    ("minutes", 0, 59, {}, ""),
    ("hours", 0, 23, {}, ""),
    ("day of month", 1, 31, {}, "?LW"),
    ("month", 1, 12, _MONTHS, ""),
    ("day of week", 1, 7, _DAYS, "?L#"),
    ("year", 1970, 2199, {}, ""),
)


def schedule_fault(expression: str) -> str:
    """Return what is wrong with a schedule expression, as the end of a sentence; empty for nothing.

    Example:
        >>> schedule_fault("rate(1 hours)")
        "needs the singular for 1: write rate(1 hour)"
    """
    form = re.fullmatch(r"(rate|cron|at)\((.*)\)", expression)
    if not form:
        return f"is not a schedule; expected {_FORMS}"
    kind, content = form.groups()
    if kind == "rate":
        return _rate_fault(content)
    return _cron_fault(content) if kind == "cron" else _at_fault(content)


def _rate_fault(content: str) -> str:
    form = re.fullmatch(r"([0-9]+) ([a-z]+)", content)
    if not form or int(form[1]) == 0:
        return "is not a rate; expected a whole number above 0 and a unit, such as rate(12 hours)"
    number, unit = int(form[1]), form[2]
    if unit not in _UNITS:
        return f"has the unit '{unit}'{did_you_mean(unit, _UNITS)}; units: minutes, hours, days"
    if number == 1 and unit.endswith("s"):
        return f"needs the singular for 1: write rate(1 {unit.removesuffix('s')})"
    if number > 1 and not unit.endswith("s"):
        return f"needs the plural: write rate({number} {unit}s)"
    return ""


def _at_fault(content: str) -> str:
    try:
        dt.datetime.strptime(content, "%Y-%m-%dT%H:%M:%S")  # noqa: DTZ007  the zone is a field of its own
    except ValueError:
        return "is not a time; expected at(yyyy-mm-ddThh:mm:ss), without a zone: set timezone"
    return ""


def _cron_fault(content: str) -> str:
    texts = content.split()
    if len(texts) != len(_FIELDS):
        return f"has {len(texts)} fields; expected six: {', '.join(field[0] for field in _FIELDS)}"
    if (texts[2] == "?") == (texts[4] == "?"):
        return "must have ? in exactly one of day of month and day of week"
    for text, (name, low, high, names, extra) in zip(texts, _FIELDS, strict=True):
        for part in text.split(","):
            if not _is_cron_part(part, low, high, names, extra):
                return f"has {text!r} for {name}; expected {low}-{high}, *, a list, a range or /step"
    return ""


def _is_cron_part(part: str, low: int, high: int, names: dict[str, int], extra: str) -> bool:
    if part in {"*", *(each for each in extra if each in "?L")} or (part == "LW" and "W" in extra):
        return True
    base, separator, step = part.partition("/")
    if separator and not (step.isdecimal() and int(step) > 0):
        return False
    if "W" in extra and base.endswith("W"):
        base = base.removesuffix("W")
    if "#" in extra and "#" in base:
        base, _, nth = base.partition("#")
        if nth not in {"1", "2", "3", "4", "5"}:
            return False
    if "L" in extra and base.endswith("L"):
        base = base.removesuffix("L")
    if base == "*":
        return bool(separator)
    numbers = [names.get(each.upper(), int(each) if each.isdecimal() else -1) for each in base.split("-")]
    return 1 <= len(numbers) <= 2 and all(low <= number <= high for number in numbers)
