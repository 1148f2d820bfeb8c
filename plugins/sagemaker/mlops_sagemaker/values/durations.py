"""The age that a cached result may have: ``CacheConfig.ExpireAfter``, an ISO 8601 duration.

One grammar for the checker, the emulator, the compiler and the settings. The service documents it with the examples
``30d``, ``5y``, ``T16m``, ``30dT5h`` and, in the SDK, ``p30d``, ``PT1H``: the units of ISO 8601 in any case, with or
without the leading ``P``. Hours, minutes and seconds follow a ``T``; an ``m`` before it stands for months.

Source: "Turn on step caching" in the SageMaker developer guide.
"""

from __future__ import annotations

import datetime as dt
import re

_DIGITS = r"\d{1,6}"
_DURATION = re.compile(
    rf"P?(?:(?P<years>{_DIGITS})Y)?(?:(?P<months>{_DIGITS})M)?(?:(?P<weeks>{_DIGITS})W)?(?:(?P<days>{_DIGITS})D)?"
    rf"(?:T(?=\d)(?:(?P<hours>{_DIGITS})H)?(?:(?P<minutes>{_DIGITS})M)?(?:(?P<seconds>{_DIGITS})S)?)?",
    re.IGNORECASE | re.ASCII,
)
_TIME_WITHOUT_T = re.compile(r"P?(?P<time>\d+[HS].*)", re.IGNORECASE | re.ASCII)
EXAMPLES = "for example P30D, 30d, PT12H or 30dT5h"


def parse_duration(text: object) -> dt.timedelta | None:
    """Return a duration; None if it is not one. A year counts 365 days, a month 30."""
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None or not any(match.groups()):
        return None
    part = {name: int(value or 0) for name, value in match.groupdict().items()}
    return dt.timedelta(
        days=365 * part["years"] + 30 * part["months"] + part["days"],
        weeks=part["weeks"],
        hours=part["hours"],
        minutes=part["minutes"],
        seconds=part["seconds"],
    )


def duration_fix(text: object) -> str:
    """Return how to write a duration that `parse_duration` refuses."""
    match = _TIME_WITHOUT_T.fullmatch(text) if isinstance(text, str) else None
    if match and parse_duration(f"PT{match['time']}") is not None:
        return f"hours, minutes and seconds follow a T: write PT{match['time'].upper()}"
    return f"write it as ISO 8601, {EXAMPLES}"
