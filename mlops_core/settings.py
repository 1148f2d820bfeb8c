"""Settings from environment variables; the only module that reads them."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DEFAULT_HOME = ".mlops"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The environment, read once.

    Attributes:
        home: the workspace's folder: MLOPS_HOME, else ``.mlops`` in the working directory.
        use_case: USECASE_NAME, if it is set.
        best_allows_pending: MLOPS_BEST is ``any``: the alias ``best`` may move from an approved version to one that is
            not; otherwise it stays until the new one is approved.
        model_base_name: MODEL_BASE_NAME, the name of models in the registry of a service; empty for the use case's.
        is_plain: MLOPS_PLAIN is set: no borders, bars or redrawn tables.
        caches: cache folders of libraries; a step may write there.
        environ: all variables, for ``${NAME}`` in a configuration.
    """

    home: Path
    use_case: str | None
    best_allows_pending: bool = False
    model_base_name: str = ""
    is_plain: bool = False
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
        model_base_name=variables.get("MODEL_BASE_NAME", ""),
        is_plain=variables.get("MLOPS_PLAIN", "") not in ("", "0"),
        caches=(*caches, home / ".cache", home / ".keras"),
        environ=variables,
    )


def environment() -> Mapping[str, str]:
    """Return all variables of the process."""
    return dict(os.environ)


def set_default_variables(variables: Mapping[str, str]) -> None:
    """Set variables of this process that are not set; only the process of a step may ask for it."""
    for name, value in variables.items():
        os.environ.setdefault(name, value)


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


def unknown_home(error: BaseException, *values: object) -> str:
    """Return which value names the home folder of an unknown user; empty where that is not why an error was raised.

    `pathlib.Path.expanduser` and `pathlib.Path.home` say only that they could not determine a folder.

    Args:
        error: what was raised.
        values: what the code that raised it was given, nested as it may be.
    """
    if not isinstance(error, RuntimeError) or "home directory" not in str(error):
        return ""
    for key, text in itertools.chain.from_iterable(_texts(value, "") for value in values):
        try:
            expand_home(text, what=key or "path")
        except UsageError as fault:
            return str(fault)
    return "a path begins with the home folder of a user that is not known; write the folder in full"


def _texts(value: object, key: str) -> Iterator[tuple[str, str]]:
    """Yield the dotted keys and the texts in nested data that may be paths below a home folder."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _texts(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner, key)
    elif isinstance(value, str | Path) and str(value).startswith("~"):
        yield key, str(value)


def _best_allows_pending(value: str) -> bool:
    if value not in ("", "any", "approved"):
        raise UsageError(f"MLOPS_BEST is '{value}'; expected 'approved' (the default) or 'any'")
    return value == "any"
