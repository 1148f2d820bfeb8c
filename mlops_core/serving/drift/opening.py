"""Opening a monitor: its calibration, made once for a reference and a policy, and the state of the last time."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from mlops_core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from mlops_core.serving.drift.alarms import DriftAlarm
    from mlops_core.serving.drift.monitor import DriftMonitor
    from mlops_core.serving.drift.policy import DriftPolicy
    from mlops_core.serving.drift.preparation import Calibrate, PreparedReference
    from mlops_core.serving.drift.reference import DriftReference


def require_numpy() -> None:
    """Check that the extra is installed.

    Raises:
        UsageError: it is not.
    """
    if importlib.util.find_spec("numpy") is None:
        raise UsageError("drift detection needs NumPy, which is not installed; pip install 'mlops-usecases[serve]'")


def prepare(reference: DriftReference, policy: DriftPolicy, folder: Path | None = None) -> PreparedReference:
    """Return the calibration of a policy for a reference, with the rate of false alarms on data that was held out.

    It takes seconds (docs/serving.md). With a folder, it is written there once and read afterwards: call it where a
    model is registered or packaged, so that a server starts at once.

    Args:
        reference: the reference.
        policy: the policy.
        folder: for ``calibration.json``; created where it is missing. None keeps nothing.

    Raises:
        UsageError: NumPy is not installed.
        DatasetError: the reference is too small, not finite, constant, or has too few groups.
        ConfigError: the run length cannot be reached.
        StoreError: the folder cannot be read or written.
    """
    require_numpy()
    from mlops_core.serving.drift.preparation import prepared

    return prepared(reference, policy, folder)


def open_monitor(  # noqa: PLR0913  each part has a default
    reference: DriftReference,
    policy: DriftPolicy,
    folder: Path | None = None,
    *,
    model: str = "",
    on_alarm: Callable[[DriftAlarm], None] | None = None,
    clock: Callable[[], datetime] | None = None,
    calibrate: Calibrate | None = None,
) -> DriftMonitor:
    """Return a monitor that continues where the last one in this folder ended.

    It satisfies `mlops_core.serving.DriftDetector`. `observe` belongs into one thread at a time.

    Args:
        reference: the reference.
        policy: the policy.
        folder: for calibration, state and ``alarms.jsonl``, one per server process; None keeps nothing.
        model: what alarms and proposals say about the model.
        on_alarm: called with each alarm, in the thread of `observe`; it must return at once. ``alarm.proposal`` is the
            proposal to retrain, where one is due. A thread writes the alarm to ``alarms.jsonl`` meanwhile.
        clock: returns the present time, UTC; None for the clock of the system.
        calibrate: used in place of `prepare`, such as one that calibrates in another process.

    Raises:
        UsageError, DatasetError, ConfigError: see `prepare`.
        StoreError: the folder holds the state of another reference or policy, is used by another process, or cannot
            be read or written.
    """
    require_numpy()
    from mlops_core.serving.drift.monitor import DriftMonitor

    return DriftMonitor.open(
        reference, policy, folder, model=model, on_alarm=on_alarm, clock=clock, calibrate=calibrate
    )
