"""Traces of a run on this machine, read without the code that wrote them: files, the database, processes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from pathlib import Path
from typing import Any

_DATABASE = "mlops.db"


def stored_record(workspace: Path, run_id: str) -> dict[str, Any]:
    """Return ``run.json`` of a run; empty where there is none."""
    path = workspace / "runs" / run_id / "run.json"
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return record


def run_ids(workspace: Path) -> list[str]:
    """Return the ids of all runs that have a folder, oldest first."""
    return sorted(path.name for path in (workspace / "runs").glob("*") if path.is_dir())


def listed_runs(workspace: Path) -> dict[str, dict[str, Any]]:
    """Return run id -> the run's row in the database."""
    return {row["run_id"]: row for row in _rows(workspace, "SELECT * FROM runs")}


def registered_models(workspace: Path) -> list[dict[str, Any]]:
    """Return the rows of all registered model versions, in their order."""
    return _rows(workspace, "SELECT * FROM model_versions ORDER BY use_case, version")


def artifact_folder(workspace: Path, digest: str) -> Path:
    """Return where the artifact of a digest is stored."""
    return workspace / "objects" / digest[:2] / digest


def files_of(folder: Path) -> dict[str, str]:
    """Return relative path -> SHA-256 of every file below a folder."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def logs_of(workspace: Path, run_id: str) -> dict[str, str]:
    """Return the name of each log of a run, without suffix -> its text."""
    folder = workspace / "runs" / run_id / "logs"
    return {path.stem: path.read_text(encoding="utf-8", errors="replace") for path in sorted(folder.glob("*.log"))}


def files_with(workspace: Path, text: str) -> list[str]:
    """Return the files of a workspace that hold a text, relative to it."""
    needle = text.encode()
    paths = [path for path in sorted(workspace.rglob("*")) if path.is_file()]
    return [str(path.relative_to(workspace)) for path in paths if needle in path.read_bytes()]


def is_alive(pid: int) -> bool:
    """Tell whether a process exists and has not ended (Linux; elsewhere always False)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


def _rows(workspace: Path, query: str) -> list[dict[str, Any]]:
    path = workspace / _DATABASE
    if not path.is_file():
        return []
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute(query)]
