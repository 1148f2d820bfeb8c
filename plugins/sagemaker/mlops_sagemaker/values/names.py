"""The one check of every name that becomes a part of a path, a key, a workflow or a shell script."""

from __future__ import annotations

import re

from mlops_core import UsageError

_NAME = re.compile(r"[A-Za-z0-9]+(?:[._-]+[A-Za-z0-9]+)*\Z")
_LONGEST = 128


def checked_name(name: str, *, what: str) -> str:
    """Return a name that is safe wherever it is written: in a path, a script, a workflow.

    Args:
        name: letters and digits, joined by dots, hyphens and underscores.
        what: what it names, for the message.

    Raises:
        UsageError: it has other characters, such as ``$``, quotes, spaces and line breaks, or is ``..``.

    Example:
        >>> checked_name("ROAD_SIGN", what="use case")
        'ROAD_SIGN'
    """
    if len(name) > _LONGEST or ".." in name or not _NAME.match(name):
        raise UsageError(
            f"{name[:_LONGEST]!r} cannot be the name of a {what} in a file that is executed; expected letters and "
            f"digits, joined by '.', '-' and '_', at most {_LONGEST} characters"
        )
    return name
