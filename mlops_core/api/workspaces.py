"""Where the workspace is."""

from __future__ import annotations

from pathlib import Path

from mlops_core.settings import read_settings


def workspace_path(given: Path | str | None) -> Path:
    """Return the workspace's folder: as given, else ``MLOPS_HOME``, else ``.mlops``.

    Example:
        >>> workspace_path("results")
        PosixPath('results')
    """
    return Path(given) if given else read_settings().home
