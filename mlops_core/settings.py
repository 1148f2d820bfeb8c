"""Settings from environment variables; the only module that reads them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_HOME = ".mlops"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The environment, read once.

    Attributes:
        home: the workspace's folder: MLOPS_HOME, else ``.mlops`` in the working directory.
        use_case: USECASE_NAME, if it is set.
        best_allows_pending: MLOPS_BEST is ``any``: the alias ``best`` may move from an approved version to one that is
            not; otherwise it stays until the new one is approved.
        caches: cache folders of libraries; a step may write there.
        environ: all variables, for ``${NAME}`` in a configuration.
    """

    home: Path
    use_case: str | None
    best_allows_pending: bool = False
    caches: tuple[Path, ...]
    environ: Mapping[str, str]


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from `environ` (default: the process's environment)."""
    variables = dict(os.environ if environ is None else environ)
    home = Path(variables.get("HOME") or "/nonexistent")
    caches = [Path(variables["XDG_CACHE_HOME"])] if variables.get("XDG_CACHE_HOME") else []
    return Settings(
        home=expand_home(variables.get("MLOPS_HOME") or DEFAULT_HOME, what="MLOPS_HOME"),
        use_case=variables.get("USECASE_NAME") or None,
        best_allows_pending=_best_allows_pending(variables.get("MLOPS_BEST", "")),
        caches=(*caches, home / ".cache", home / ".keras"),
        environ=variables,
    )


def expand_home(path: str | Path, *, what: str) -> Path:
    """Return a path whose ``~`` or ``~user`` is replaced by a home folder.

    Raises:
        UsageError: there is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UsageError(
            f"{what}: {path}: the home folder of {Path(path).parts[0]} is not known; write the folder in full"
        ) from None


def _best_allows_pending(value: str) -> bool:
    if value not in ("", "any", "approved"):
        raise UsageError(f"MLOPS_BEST is '{value}'; expected 'approved' (the default) or 'any'")
    return value == "any"
