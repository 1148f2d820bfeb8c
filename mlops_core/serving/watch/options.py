"""How a server watches for drift."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from mlops_core.errors import UsageError
from mlops_core.serving.drift.policy import DriftPolicy
from mlops_core.settings import expand_home

DEFAULT_RATE = "1 in 30 days"
DEFAULT_REQUESTS_PER_HOUR = 500.0
_RATE = re.compile(r"\s*(?P<alarms>\d+)\s+in\s+(?P<count>\d+(\.\d+)?)\s+(?P<unit>hour|day|week)s?\s*")
_UNITS = (("day", 1.0), ("hour", 1 / 24), ("minute", 1 / 1440))
_DAYS = {"hour": 1 / 24, "day": 1.0, "week": 7.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOptions:
    """Options of a server about drift.

    Attributes:
        policy: how often a false alarm is acceptable.
        folder: of the state; None for one below the workspace.
        workspace: folder of the workspace; None for the default one.
        is_required: the user asked for it, so that a server that cannot watch ends; otherwise it only says so.
    """

    policy: DriftPolicy = field(default_factory=DriftPolicy)
    folder: Path | None = None
    workspace: Path | str | None = None
    is_required: bool = False


def policy_of(rate: str = DEFAULT_RATE, *, requests_per_hour: float = DEFAULT_REQUESTS_PER_HOUR) -> DriftPolicy:
    """Return the policy for a rate that is written as text.

    Args:
        rate: acceptable rate of false alarms, such as ``1 in 30 days``.
        requests_per_hour: expected number of samples.

    Raises:
        UsageError: the rate is written in another way.
        ConfigError: a value is impossible.

    Example:
        >>> policy_of("2 in 4 weeks").days
        14.0
    """
    found = _RATE.fullmatch(rate)
    if found is None or not int(found["alarms"]):
        raise UsageError(f"false alarms {rate!r}; expected such as '{DEFAULT_RATE}' (hours, days or weeks)")
    days = float(found["count"]) * _DAYS[found["unit"]] / int(found["alarms"])
    return DriftPolicy(days=days, requests_per_hour=requests_per_hour)


def rate_in_words(days: float, requests_per_hour: float) -> str:
    """Return an acceptable rate of false alarms as text.

    Example:
        >>> rate_in_words(1, 50)
        'one in 1 day at 50 requests per hour'
    """
    unit, length = next((each for each in _UNITS if days >= each[1]), _UNITS[-1])
    count = days / length
    return f"one in {count:.3g} {unit}{'' if f'{count:.3g}' == '1' else 's'} at {requests_per_hour:g} requests per hour"


def watch_options(
    rate: str | None = None,
    requests_per_hour: float | None = None,
    *,
    folder: str | None = None,
    workspace: Path | str | None = None,
) -> WatchOptions:
    """Return the options that a user has set; a server that cannot follow one of them ends.

    Args:
        rate: acceptable rate of false alarms; None for the default.
        requests_per_hour: expected number of samples; None for the default.
        folder: of the state; None for one below the workspace.
        workspace: folder of the workspace; None for the default one.

    Raises:
        UsageError, ConfigError: see `policy_of`.
    """
    hourly = DEFAULT_REQUESTS_PER_HOUR if requests_per_hour is None else requests_per_hour
    policy = policy_of(rate or DEFAULT_RATE, requests_per_hour=hourly)
    return WatchOptions(
        policy=policy,
        folder=expand_home(Path(folder), what="--state-dir").absolute() if folder else None,
        workspace=workspace,
        is_required=bool(rate or folder) or requests_per_hour is not None,
    )
