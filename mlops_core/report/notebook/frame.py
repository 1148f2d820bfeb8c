"""The runs of a workspace as a data frame of pandas, which is imported on use and is not a dependency of core."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

from mlops_core.errors import UsageError
from mlops_core.report.facts import recorded_values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from mlops_core.workspace.runs import RunSummary
    from mlops_core.workspace.store import Store

METRIC, PARAMETER = "metric.", "param."
"""Before the names of columns with metrics and parameters."""
_MODEL = "model_version"
_TEXTS = ("run_id", "use_case", "status", "created", "runner")
_COLUMNS = ("run_id", "use_case", "status", "created", "duration_s", "runner", _MODEL)


def frame_of_runs(store: Store, *, use_case: str | None = None) -> pd.DataFrame:
    """Return one row per run, newest first; `mlops_core.runs_frame` describes the columns.

    Args:
        store: the workspace.
        use_case: only runs of this use case; None for all.

    Raises:
        UsageError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise UsageError(f"runs_frame needs pandas, which cannot be imported: {error}; pip install pandas") from error
    runs = store.runs.newest(use_case=use_case, limit=-1)
    details = [_details(store.runs.folder(run.run_id)) for run in runs]
    columns = {name: pd.Series([_value(run, name) for run in runs], dtype=_dtype(name)) for name in _COLUMNS}
    columns["created"] = pd.to_datetime(columns["created"], utc=True, format="ISO8601").dt.as_unit("us")
    for name in _names(details, METRIC):
        columns[name] = pd.Series([each.get(name) for each in details], dtype="float64")
    for name in _names(details, PARAMETER):
        values = [each.get(name) for each in details]
        columns[name] = pd.Series(values, dtype=_parameter_dtype(values))
    return pd.DataFrame(columns)


def _value(run: RunSummary, name: str) -> object:
    return str(getattr(run, name)) if name in _TEXTS else getattr(run, name)


def _dtype(name: str) -> str:
    return "str" if name in _TEXTS else "Int64" if name == _MODEL else "float64"


def _names(details: Sequence[Mapping[str, Any]], prefix: str) -> dict[str, None]:
    return dict.fromkeys(name for each in details for name in each if name.startswith(prefix))


def _parameter_dtype(values: Sequence[object]) -> str | None:
    """Return the type of a parameter's column: whole numbers and truth values stay exact where a run has none."""
    types = {type(value) for value in values if value is not None}
    return {frozenset({int}): "Int64", frozenset({bool}): "boolean"}.get(frozenset(types))


def _details(folder: Path) -> dict[str, Any]:
    """Return the metrics and parameters of a run by the names of their columns."""
    try:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        declared = [metric for metric in record["pipeline"].get("metrics", ()) if isinstance(metric, dict)]
        metrics = {f"{METRIC}{name}": value for name, value in recorded_values(folder, declared)}
        return metrics | {f"{PARAMETER}{name}": value for name, value in record["parameters"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        warnings.warn(
            f"run {folder.name}: its record cannot be read ({type(error).__name__}: {error}); its metrics and "
            "parameters are missing in the table; mlops doctor says more",
            stacklevel=4,
        )
        return {}
