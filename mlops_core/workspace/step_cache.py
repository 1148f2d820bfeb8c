"""The step cache: what each step produced, by the digest of its step key (table ``step_cache``)."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.errors import StoreError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedStep:
    """A step that was executed before.

    Attributes:
        key: digest of its step key.
        outputs: output -> digest of the artifact.
        components: components of the key.
        run_id: the run that executed the step.
        duration_s: how long that took.
    """

    key: str
    outputs: Mapping[str, str]
    components: Mapping[str, str]
    run_id: str
    duration_s: float


class StepCache:
    """The executed steps of one workspace. Their artifacts may be gone: ask the artifact store."""

    def __init__(self, database: sqlite3.Connection) -> None:
        """Use an open database of the present schema."""
        self._db = database

    def find(self, key: str) -> CachedStep | None:
        """Return the step with this key, if it was executed."""
        row = self._db.execute("SELECT * FROM step_cache WHERE key = ?", (key,)).fetchone()
        return _cached_step(row) if row else None

    def latest(self, use_case: str, step: str) -> CachedStep | None:
        """Return the last execution of the step of this name, with whatever key."""
        row = self._db.execute(
            "SELECT * FROM step_cache WHERE use_case = ? AND step = ? ORDER BY sequence DESC LIMIT 1", (use_case, step)
        ).fetchone()
        return _cached_step(row) if row else None

    def was_executed(self, use_case: str, step: str, has_key: Callable[[Mapping[str, str]], bool]) -> bool:
        """Return whether the step of this name was executed with components for which `has_key` holds."""
        rows = self._db.execute(
            "SELECT * FROM step_cache WHERE use_case = ? AND step = ? ORDER BY sequence DESC", (use_case, step)
        )
        return any(has_key(_cached_step(row).components) for row in rows)

    def expected_duration_s(self, use_case: str, step: str) -> float | None:
        """Return the median duration of the last five executions of the step of this name, or None."""
        rows = self._db.execute(
            "SELECT duration_s FROM step_cache WHERE use_case = ? AND step = ? "
            "AND typeof(duration_s) IN ('real', 'integer') ORDER BY sequence DESC LIMIT 5",
            (use_case, step),
        ).fetchall()
        return statistics.median(row[0] for row in rows) if rows else None

    def remember(self, use_case: str, step: str, cached: CachedStep) -> None:
        """Keep the outputs of a step under its key."""
        self._db.execute(
            "INSERT OR REPLACE INTO step_cache (key, use_case, step, outputs, components, run_id, duration_s) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                cached.key,
                use_case,
                step,
                json.dumps(dict(cached.outputs)),
                json.dumps(dict(cached.components)),
                cached.run_id,
                cached.duration_s,
            ),
        )


def texts_by_name(text: object) -> dict[str, str]:
    """Return the object of texts in a column.

    Raises:
        ValueError: it holds something else.
        TypeError: it holds no text.
    """
    data = json.loads(text)  # type: ignore[arg-type]  # whatever the row holds
    if not isinstance(data, dict) or not all(isinstance(value, str) for value in data.values()):
        raise ValueError("it is not an object of texts")
    return data


def _cached_step(row: sqlite3.Row) -> CachedStep:
    try:
        return CachedStep(
            key=row["key"],
            outputs=texts_by_name(row["outputs"]),
            components=texts_by_name(row["components"]),
            run_id=row["run_id"],
            duration_s=float(row["duration_s"]),
        )
    except (ValueError, TypeError, IndexError) as error:  # no JSON, no mapping, no such column
        raise StoreError(
            f"the result of step '{row['step']}' in mlops.db is damaged; mend it with: mlops doctor --repair"
        ) from error
