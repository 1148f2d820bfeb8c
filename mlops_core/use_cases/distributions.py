"""Installed distributions: their entry points and versions, read from the metadata without `importlib.metadata`.

Importing `importlib.metadata` takes longer than everything else that ``mlops list`` does, because it imports the email
package. This module reads the same files (``*.dist-info`` and ``*.egg-info`` on ``sys.path``) and gives the same
answers. Where distributions can come from elsewhere (zip files, eggs, finders of other packages), it asks
`importlib.metadata`.
"""

from __future__ import annotations

import functools
import importlib
import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SUFFIXES = (".dist-info", ".egg-info")
_VALUE = re.compile(r"(?P<module>[\w.]+)\s*(?::\s*(?P<attribute>[\w.]+)\s*)?(?:\[.*\]\s*)?\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPoint:
    """An entry point as a distribution declares it; nothing is imported.

    Attributes:
        name: left of the equals sign.
        value: right of it: ``module`` or ``module:attribute``.
        distribution: name of the distribution.
        version: version of the distribution.
    """

    name: str
    value: str
    distribution: str
    version: str


def entry_points(group: str) -> tuple[EntryPoint, ...]:
    """Return the entry points of `group`; of a distribution that is installed twice, those of the first on sys.path."""
    if _needs_importlib():
        return _entry_points_by_importlib(group)
    points: list[EntryPoint] = []
    for folder, is_shadowed in _metadata_folders():
        text = _read(folder, "entry_points.txt")
        if is_shadowed or not text or group not in text:
            continue
        pairs = list(_pairs(text, group))
        if pairs:
            name, version = _identity(folder)
            points += [EntryPoint(name=key, value=value, distribution=name, version=version) for key, value in pairs]
    return tuple(points)


def version_of(distribution: str) -> str | None:
    """Return the version of an installed distribution; None when it is not installed."""
    if _needs_importlib():
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version(distribution)
        except PackageNotFoundError:
            return None
    wanted = _normalised(distribution)
    for folder, _ in _metadata_folders():
        if _name_in_path(folder) == wanted:
            return _identity(folder)[1]
    return None


def distribution_at(package: Path) -> str | None:
    """Return the installed distribution that wrote a top-level package or module; None where none did.

    What wrote it lists it in its metadata beside the package. An editable installation lists other files only, so that
    the packages that it makes importable belong to no distribution, as does what somebody has put into the folder.
    """
    top = package.name.partition(".")[0]
    folders = _listed(str(package.parent))
    start = f"{package.parent}/{top}".lower()
    likely = [folder for folder in folders if folder.lower().startswith(start)]  # most often the names are similar
    return next((_name_in_path(folder) for folder in (*likely, *folders) if _has_written(folder, top)), None)


def _has_written(folder: str, top: str) -> bool:
    text = _read(folder, "RECORD")
    if text:
        return any(text.startswith(start) or f"\n{start}" in text for start in (f"{top}/", f"{top}."))
    if not folder.endswith(".egg-info"):
        return False
    if _read(folder, "installed-files.txt"):
        return top in _read(folder, "top_level.txt").split()
    # A system's packages list their files elsewhere; in a source folder, a build has left such metadata behind.
    is_system = folder.rpartition("/")[0].endswith(("/site-packages", "/dist-packages"))
    return is_system and (top in _read(folder, "top_level.txt").split() or _name_in_path(folder) == _normalised(top))


def top_level_packages(distribution: str) -> tuple[str, ...]:
    """Return the importable packages and modules of an installed distribution, as far as its metadata lists them."""
    wanted = _normalised(distribution)
    folders = (folder for folder, _ in _metadata_folders() if _name_in_path(folder) == wanted)
    lists = (_read(folder, "top_level.txt").split() for folder in folders)  # a build leaves metadata without a list
    return tuple(next(filter(None, lists), ()))


def load_object(value: str) -> object:
    """Import what the value of an entry point names, ``module`` or ``module:attribute``.

    Raises:
        ValueError: the value has another form.
        Exception: whatever the import raises.
    """
    match = _VALUE.match(value)
    if match is None:
        raise ValueError(f"{value!r} is not of the form module:attribute")
    module = importlib.import_module(match["module"])
    attributes = match["attribute"].split(".") if match["attribute"] else []
    return functools.reduce(getattr, attributes, module)


def _needs_importlib() -> bool:
    """Return whether distributions may be found elsewhere than in folders on sys.path."""
    from importlib.machinery import PathFinder

    if any(finder is not PathFinder and hasattr(finder, "find_distributions") for finder in sys.meta_path):
        return True
    return any(os.path.isfile(entry) for entry in sys.path)  # noqa: PTH113  Path objects would double the time


def _metadata_folders() -> Iterator[tuple[str, bool]]:
    """Yield each metadata folder, and whether one of the same distribution came before it."""
    seen = set()
    for entry in sys.path:
        for folder in _listed(entry or "."):
            name = _name_in_path(folder)
            yield folder, name in seen
            seen.add(name)


def _listed(folder: str) -> list[str]:
    try:
        names = os.listdir(folder)  # noqa: PTH208  Path objects would double the time
    except OSError:
        return []
    return [f"{folder}/{name}" for name in names if name.endswith(_SUFFIXES)]


def _name_in_path(folder: str) -> str:
    return _normalised(folder.rpartition("/")[2].rpartition(".")[0].partition("-")[0])


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()


def _read(folder: str, name: str) -> str:
    try:
        with open(f"{folder}/{name}", encoding="utf-8") as stream:  # noqa: PTH123  Path objects would double the time
            return stream.read()
    except (OSError, UnicodeDecodeError):
        return ""


def _identity(folder: str) -> tuple[str, str]:
    """Return name and version, which are among the first lines of the metadata."""
    name = version = ""
    text = _read(folder, "METADATA") or _read(folder, "PKG-INFO")
    for line in text.partition("\n\n")[0].splitlines():
        key, _, value = line.partition(":")
        if key == "Name":
            name = value.strip()
        elif key == "Version":
            version = value.strip()
        if name and version:
            break
    return name or "unknown distribution", version or "0"


def _pairs(text: str, group: str) -> Iterator[tuple[str, str]]:
    section = ""
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif section == group:
            name, _, value = line.partition("=")
            yield name.strip(), value.strip()


def _entry_points_by_importlib(group: str) -> tuple[EntryPoint, ...]:
    from importlib import metadata

    return tuple(
        EntryPoint(
            name=entry.name,
            value=entry.value,
            distribution=entry.dist.name if entry.dist else "unknown distribution",
            version=entry.dist.version if entry.dist else "0",
        )
        for entry in metadata.entry_points(group=group)
    )
