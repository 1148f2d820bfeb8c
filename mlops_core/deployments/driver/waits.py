"""How long the driver waits before it asks an engine again."""

from __future__ import annotations

import time

ROLLBACK_S = 1800.0
"""How long an engine may take to bring the old configuration back."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.05, 1.0


class Waits:
    """Waits that become longer."""

    def __init__(self) -> None:
        self._next_s = _FIRST_WAIT_S

    def wait(self) -> None:
        """Wait, and the next time for longer."""
        time.sleep(self._next_s)
        self._next_s = min(_LONGEST_WAIT_S, 1.3 * self._next_s)
