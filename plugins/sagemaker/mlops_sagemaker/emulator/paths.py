"""Names in a definition that become paths on this machine.

Every such name passes one of these functions, so that no definition reads or writes outside of the tree of its
container or the folder of a bucket: local paths, channels, checkpoints, entry points, keys, groups and models.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import PurePosixPath

from mlops_sagemaker.emulator.faults import FaultKind, StepFault

OPT_ML = "/opt/ml"
_TRAVERSING = frozenset({".", ".."})
_ENTITY = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")


def require_inside(inside: object, *, below: str = OPT_ML) -> str:
    """Return a path of a container if it is `below`, itself or a folder in it, by its text alone.

    Raises:
        StepFault: the path is not absolute, contains ``.`` or ``..``, or leads elsewhere.
    """
    if not is_inside(inside, below=below):
        raise StepFault(FaultKind.CLIENT, f"{inside!r} is not a path below {below} in the container")
    return str(inside)


def is_inside(inside: object, *, below: str = OPT_ML) -> bool:
    """Return whether a path of a container is `below`, itself or a folder in it, by its text alone."""
    if not isinstance(inside, str) or "\0" in inside or _TRAVERSING & set(inside.split("/")):
        return False
    return PurePosixPath(inside).is_relative_to(below)


def leaves_tree(part: str) -> bool:
    """Return whether a part of a command is a path that begins in ``/opt/ml`` and leads out of it."""
    if not part.startswith(f"{OPT_ML}/") or ".." not in part.split("/"):
        return False
    return not PurePosixPath(posixpath.normpath(part)).is_relative_to(OPT_ML)


def require_relative(name: object, *, what: str) -> str:
    """Return a name that becomes a relative path on this machine.

    Raises:
        StepFault: the name is empty or absolute, or contains ``.`` or ``..`` as a part.
    """
    if (
        not isinstance(name, str)
        or not name
        or name.startswith("/")
        or "\0" in name
        or _TRAVERSING & set(name.split("/"))
    ):
        raise StepFault(FaultKind.CLIENT, f"{what} {name!r} is not a relative path without '.' and '..'")
    return name


def require_entity(name: object, *, what: str) -> str:
    """Return the name of a model or a group, which becomes a file name.

    Raises:
        StepFault: the name does not consist of 1 to 63 letters, digits and hyphens between them.
    """
    if not isinstance(name, str) or len(name) > 63 or not _ENTITY.fullmatch(name):
        raise StepFault(FaultKind.CLIENT, f"{what}: {name!r} does not match {_ENTITY.pattern}")
    return name
