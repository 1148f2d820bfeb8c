"""Names that become paths or go into scripts: one rule for use cases, runners, data sets, steps and aliases.

A use case's name is a folder of the workspace, a tag of an image and a word in the workflow of a CI service, and a
plugin chooses it. What a portable name is, is decided here for every kind of name; a kind may only be stricter.
"""

from __future__ import annotations

import re

from mlops_core.errors import MlopsError, UsageError

NAME_LIMIT = 64
_PORTABLE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?")
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)
"""Names of devices on Windows, with any ending."""
RULE = (
    f"letters, digits, '_', '-' and single '.' between them, a letter or digit first, at most {NAME_LIMIT} characters"
)


def name_fault(name: object) -> str:
    """Return what is wrong with a name that becomes a path or goes into a script; empty for nothing.

    Example:
        >>> name_fault("road-sign_2.0"), name_fault("aux")
        ('', 'is the name of a device on Windows')
    """
    if not isinstance(name, str):
        return f"is a {type(name).__name__}; expected a text"
    if len(name) > NAME_LIMIT:
        return f"has {len(name)} characters; expected at most {NAME_LIMIT}"
    if not _PORTABLE.fullmatch(name) or ".." in name:
        return f"is not a portable name; expected {RULE}"
    return "is the name of a device on Windows" if _DEVICE.fullmatch(name) else ""


def require_relative_path(path: str, *, what: str, error: type[MlopsError] = UsageError) -> None:
    """Refuse a path that leads out of the folder that it is relative to, or that not every system has.

    Raises:
        MlopsError: of the class `error`.
    """
    for part in path.split("/") if path else ():
        require_name(part, what=f"{what} {path!r}: the part", error=error)


def require_name(name: object, *, what: str, error: type[MlopsError] = UsageError) -> None:
    """Refuse a name that cannot be a path or a word of a script on every system.

    Args:
        name: the name.
        what: the kind of thing that it names, and where it comes from.
        error: the error to raise.

    Raises:
        MlopsError: of the class `error`.
    """
    fault = name_fault(name)
    if fault:
        shown = repr(name if len(str(name)) <= NAME_LIMIT else f"{str(name)[:NAME_LIMIT]}...")
        raise error(f"{what} {shown} {fault}")


def with_path(fault: str, path: str) -> str:
    """Return a fault that names a file by its path: files of one name may be in several folders.

    Example:
        >>> with_path("a.wav cannot be decoded", "left/a.wav")
        'left/a.wav cannot be decoded'
    """
    return fault if path in fault else fault.replace(path.rpartition("/")[2], path, 1)
