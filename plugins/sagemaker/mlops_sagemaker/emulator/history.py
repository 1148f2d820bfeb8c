"""Stores the records of executions."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Protocol

from mlops_core.runners import write_atomically
from mlops_sagemaker.service.executions import ExecutionRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class ExecutionHistory(Protocol):
    """A store for records of executions."""

    def save(self, record: ExecutionRecord) -> None:
        """Save the latest state of an execution."""

    def newest_first(self, pipeline: str) -> Iterator[ExecutionRecord]:
        """Yield the executions of a pipeline, most recently changed first."""


class FolderHistory:
    """Stores each record in ``<folder>/<execution id>/execution.json``."""

    def __init__(self, folder: Path) -> None:
        """Store the records in `folder`."""
        self.folder = folder

    def execution_folder(self, execution_id: str) -> Path:
        """Return the folder of an execution, which is created if it is missing."""
        path = self.folder / execution_id
        path.mkdir(parents=True, exist_ok=True)
        return path

    def save(self, record: ExecutionRecord) -> None:
        """Write the record, replacing its previous state."""
        path = self.execution_folder(record.execution_id) / "execution.json"
        write_atomically(path, json.dumps(record.to_json(), indent=1, ensure_ascii=False))

    def newest_first(self, pipeline: str) -> Iterator[ExecutionRecord]:
        """Yield the executions of a pipeline, most recently changed first; records are read lazily."""
        paths = sorted(self.folder.glob("*/execution.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for path in paths:
            record = ExecutionRecord.from_json(json.loads(path.read_text(encoding="utf-8")))
            if record.pipeline == pipeline:
                yield record


def now() -> str:
    """Return the current time in UTC as ISO 8601, with microseconds."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="microseconds")
