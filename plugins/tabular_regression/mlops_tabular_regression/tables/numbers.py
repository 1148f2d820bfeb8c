"""Numbers as text: the decimal and thousands separators that the schema declares, and no others.

A point in a table with decimal commas may be a thousands separator or a mistake. It is never guessed: without
``table.thousands`` such a cell is not a number.
"""

from __future__ import annotations

import math
import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlops_tabular_regression.config import TableSection

_VARIANTS = {" ": " \u00a0\u2009\u202f", "'": "'\u2019"}
"""Separators that look the same: no-break spaces and the typographic apostrophe."""


def plain_number(text: str, table: TableSection) -> str | None:
    """Return a number as Python writes it; None if its separators are not those of the table.

    Groups of digits have three digits and do not start with 0, so that ``0.500`` is not 500.
    """
    if table.thousands is not None and re.search(f"[{_separators(table.thousands)}]", text):
        if not _grouped(table.decimal, table.thousands).fullmatch(text):
            return None
        text = re.sub(f"[{_separators(table.thousands)}]", "", text)
    if table.decimal == ".":
        return text
    return None if "." in text else text.replace(table.decimal, ".")


def has_plain_separators(texts: str, table: TableSection) -> bool:
    """Return whether `texts` has no separator but the decimal one, so that cells need not be checked one by one."""
    if table.decimal != "." and "." in texts:
        return False
    return table.thousands is None or not re.search(f"[{_separators(table.thousands)}]", texts)


def missing_numbers(table: TableSection) -> tuple[float, ...]:
    """Return the numbers among ``table.missing_values``: a missing cell may be -999, however that is written."""
    texts = (text.strip() for text in table.missing_values)
    numbers = (float(plain_number(text, table) or "nan") for text in texts if is_number(text, table))
    return tuple(number for number in numbers if math.isfinite(number))


def is_number(text: str, table: TableSection) -> bool:
    """Return whether a cell is a number by the separators of the table."""
    plain = plain_number(text.strip(), table)
    try:
        return plain is not None and float(plain) is not None
    except ValueError:
        return False


@cache
def _grouped(decimal: str, thousands: str) -> re.Pattern[str]:
    separators = _separators(thousands)
    return re.compile(rf"[+-]?[1-9]\d{{0,2}}(?:[{separators}]\d{{3}})+(?:{re.escape(decimal)}\d*)?(?:[eE][+-]?\d+)?")


def _separators(thousands: str) -> str:
    return re.escape(_VARIANTS.get(thousands, thousands))
