"""The alarms that servers of a workspace have recorded, and the proposals to retrain that came with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.serving.drift.alarms import DriftAlarm
from mlops_core.serving.watch.folders import DRIFT_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ALARMS_FILE = "alarms.jsonl"
_LARGEST_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedAlarm:
    """An alarm in a workspace.

    Attributes:
        use_case: of the model.
        folder: name of the folder of the server's state.
        alarm: what was recorded.
    """

    use_case: str
    folder: str
    alarm: DriftAlarm


def read_alarms(folder: Path) -> Iterator[DriftAlarm]:
    """Yield the alarms in the folder of a server's state, oldest first; torn and damaged lines are left out."""
    path = folder / ALARMS_FILE
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LARGEST_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return
    for line in lines:
        try:
            yield DriftAlarm.from_json(line)
        except (ValueError, KeyError, TypeError):
            continue


def recorded_alarms(workspace: Path, use_case: str | None = None) -> tuple[RecordedAlarm, ...]:
    """Return the alarms of a workspace, or of one use case in it, newest first."""
    found = [
        RecordedAlarm(use_case=path.parent.parent.name, folder=path.parent.name, alarm=alarm)
        for path in sorted((workspace / DRIFT_FOLDER).glob(f"*/*/{ALARMS_FILE}"))
        if use_case is None or path.parent.parent.name.casefold() == use_case.casefold()
        for alarm in read_alarms(path.parent)
    ]
    return tuple(sorted(found, key=lambda one: (one.alarm.raised_at, one.alarm.seen), reverse=True))


def retrain_command(use_case: str) -> str:
    """Return the command that trains a model again; a person or a rule starts it, never a server."""
    return f"mlops run -u {use_case}"
