"""Installed distributions: their entry points and versions, read from the metadata without `importlib.metadata`.

Importing `importlib.metadata` takes longer than everything else that ``mlops list`` does, because it imports the email
package. This module reads the same files (``*.dist-info`` and ``*.egg-info`` on ``sys.path``) and gives the same
answers. Where distributions can come from elsewhere (zip files, eggs, finders of other packages), it asks
`importlib.metadata`.
"""

from __future__ import annotations

import errno
import functools
import importlib
import os
import re
import stat
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_POINTS = "entry_points.txt"
_LIMIT_BYTES = 64 << 20
_SHOWN = 80
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
        text = _read(folder, _POINTS)
        if is_shadowed or not text or group not in text:
            continue
        pairs = list(_pairs(text, group))
        if pairs:
            name, version = _identity(folder)
            points += [EntryPoint(name=key, value=value, distribution=name, version=version) for key, value in pairs]
    return tuple(points)


def broken_entry_points(group: str) -> tuple[str, ...]:
    """Return one line per distribution whose entry points of `group` cannot be read; the others are not affected."""
    faults: list[str] = []
    for folder, is_shadowed in _metadata_folders():
        if is_shadowed:
            continue
        path = f"{folder}/{_POINTS}"
        try:
            with open(path, "rb", opener=_without_waiting) as stream:
                text = stream.read(_LIMIT_BYTES).decode("utf-8")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, UnicodeDecodeError) as error:
            reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
            faults.append(f"{path} cannot be read: {reason}")
            continue
        wrong = next((line for line in _lines(text, group) if _pair(line) is None), None)
        if wrong is not None:
            faults.append(f"{path} has the entry {wrong[:_SHOWN]!r} in [{group}]; expected name = module:attribute")
    return tuple(faults)


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


def summary_of(distribution: str, version: str) -> str:
    """Return the summary of an installed distribution; empty if it has none, or if another version is installed."""
    wanted = _normalised(distribution)
    for folder, _ in _metadata_folders():
        if _name_in_path(folder) == wanted:
            if _identity(folder)[1] != version:
                return ""
            text = _read(folder, "METADATA") or _read(folder, "PKG-INFO")
            lines = text.partition("\n\n")[0].splitlines()
            return next((line.partition(":")[2].strip() for line in lines if line.startswith("Summary:")), "")
    return ""


def distribution_at(package: Path) -> str | None:
    """Return the installed distribution that wrote a top-level package or module; None where none did.

    What wrote it lists it in its metadata beside the package. An editable installation lists other files only, so that
    the packages that it makes importable belong to no distribution, as does what somebody has put into the folder.
    """
    return _writer(str(package.parent), package.name.partition(".")[0])


def _writer(parent: str, top: str) -> str | None:
    folders = _listed(parent)
    start = f"{parent}/{top}".lower()
    likely = [folder for folder in folders if folder.lower().startswith(start)]  # most often the names are similar
    return next((_name_in_path(folder) for folder in (*likely, *folders) if _has_written(folder, top)), None)


def other_providers(package: str, *, of: str) -> tuple[str, ...]:
    """Return the other distributions that write a package of the same name as one of this project.

    Metadata are read only of distributions with similar names and where there is such a package: a command starts with
    this question.

    Args:
        package: the folder of the package that is imported.
        of: the distribution that it belongs to.
    """
    own, top = _normalised(of), package.rpartition("/")[2]
    similar = top.partition("_")[0]
    names = set()
    for entry in dict.fromkeys(sys.path):
        place = f"{entry or '.'}/{top}"
        if os.path.isfile(f"{place}/__init__.py") and not os.path.samefile(place, package):  # noqa: PTH113, PTH121  as above
            names.add(_writer(entry or ".", top))
        for folder in _listed(entry or "."):
            name = folder.rpartition("/")[2]
            if name.startswith(similar) and _name_in_path(folder) != own and _has_written(folder, top):
                names.add(_name_in_path(folder))
    return tuple(sorted(name.replace("_", "-") for name in names if name and name != own))


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
        # Path objects would double the time.
        with open(f"{folder}/{name}", encoding="utf-8", opener=_without_waiting) as stream:
            return stream.read(_LIMIT_BYTES)
    except (OSError, UnicodeDecodeError):
        return ""


def _without_waiting(path: str, flags: int) -> int:
    """Open a regular file; a named pipe would block for ever.

    Raises:
        OSError: it is not a regular file.
    """
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is not a regular file", path)


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
    return filter(None, map(_pair, _lines(text, group)))


def _pair(line: str) -> tuple[str, str] | None:
    """Return name and value of an entry; None if it is malformed, which `broken_entry_points` reports."""
    name, _, value = (part.strip() for part in line.partition("="))
    return (name, value) if name and name.isprintable() and _VALUE.match(value) else None


def _lines(text: str, group: str) -> Iterator[str]:
    section = ""
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif section == group:
            yield line


def _entry_points_by_importlib(group: str) -> tuple[EntryPoint, ...]:
    """Return the entry points that `importlib.metadata` finds, without those of distributions that it cannot read."""
    from importlib import metadata

    points: dict[str, list[EntryPoint]] = {}
    for distribution in metadata.distributions():
        try:
            name, version = distribution.metadata["Name"], distribution.version
            key = _normalised(name)
            entries = [(entry.name, entry.value) for entry in distribution.entry_points if entry.group == group]
        except Exception:  # noqa: BLE001, S112  a broken distribution, of which it raises anything
            continue
        if key not in points:
            points[key] = [
                EntryPoint(name=entry, value=value, distribution=name, version=version)
                for entry, value in entries
                if _pair(f"{entry}={value}") is not None
            ]
    return tuple(point for found in points.values() for point in found)
