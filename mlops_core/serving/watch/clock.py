"""A time of day that does not jump."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta


class SteadyClock:
    """The time of the system's clock at the start, advanced by a clock that neither jumps nor runs backwards.

    Alarms are in order, and a cool-down lasts as long as it says, whatever happens to the clock of the system while the
    server runs.

    Example:
        >>> clock = SteadyClock()
        >>> clock() <= clock()
        True
    """

    def __init__(self) -> None:
        """Begin at the present time of the system."""
        self._begin = datetime.now(UTC)
        self._begun = time.monotonic()

    def __call__(self) -> datetime:
        """Return the present time, UTC."""
        return self._begin + timedelta(seconds=time.monotonic() - self._begun)
