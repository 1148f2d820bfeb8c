"""Settings from environment variables; the only module that reads them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_HOME = ".mlops"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The environment, read once.

    Attributes:
        home: the workspace's folder: MLOPS_HOME, else ``.mlops`` in the working directory.
        use_case: USECASE_NAME, if it is set.
        caches: cache folders of libraries; a step may write there.
        environ: all variables, for ``${NAME}`` in a configuration.
    """

    home: Path
    use_case: str | None
    caches: tuple[Path, ...]
    environ: Mapping[str, str]


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from `environ` (default: the process's environment)."""
    variables = dict(os.environ if environ is None else environ)
    home = Path(variables.get("HOME") or "/nonexistent")
    caches = [Path(variables["XDG_CACHE_HOME"])] if variables.get("XDG_CACHE_HOME") else []
    return Settings(
        home=Path(variables.get("MLOPS_HOME") or DEFAULT_HOME).expanduser(),
        use_case=variables.get("USECASE_NAME") or None,
        caches=(*caches, home / ".cache", home / ".keras"),
        environ=variables,
    )
