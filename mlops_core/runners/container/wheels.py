"""Wheels made from installed distributions, and the list of their hashes.

The distributions of core, engine and plugin are never fetched from an index, where their names may belong to somebody
else: what is installed here is packed again.
"""

from __future__ import annotations

import base64
import hashlib
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.errors import PluginError

if TYPE_CHECKING:
    import importlib.metadata
    from collections.abc import Iterable, Iterator

_LEFT_BY_PIP = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
_DATE = (1980, 1, 1, 0, 0, 0)
"""The date of every file, so that equal contents give equal wheels."""


def write_installed_wheel(distribution: importlib.metadata.Distribution, folder: Path) -> Path:
    """Write the wheel of an installed distribution and return its path.

    Raises:
        PluginError: its files are not recorded, are missing, or were changed after the installation.
    """
    name = re.sub(r"[-_.]+", "_", distribution.name)
    tag = re.search(r"^Tag: *(\S+)", distribution.read_text("WHEEL") or "", re.MULTILINE)
    path = folder / f"{name}-{distribution.version}-{tag[1] if tag else 'py3-none-any'}.whl"
    records: list[str] = []
    info = ""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for inside, content in _installed_files(distribution):
            _write(archive, inside, content)
            records.append(f"{inside},sha256={_encoded(content)},{len(content)}")
            info = inside.partition("/")[0] if inside.partition("/")[0].endswith(".dist-info") else info
        if not info:
            raise PluginError(
                f"no wheel of {distribution.name}: it is not installed from a wheel; reinstall it with pip"
            )
        record = "\n".join([*records, f"{info}/RECORD,,", ""])
        _write(archive, f"{info}/RECORD", record.encode())
    return path


def hashed_requirements(wheels: Iterable[Path]) -> str:
    """Return lines for ``pip install --require-hashes --find-links``: name, version and SHA-256 of each wheel."""
    lines = []
    for wheel in sorted(wheels):
        name, version, *_ = wheel.name.split("-")
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        lines.append(f"{name.replace('_', '-')}=={version} --hash=sha256:{digest}\n")
    return "".join(lines)


def _installed_files(distribution: importlib.metadata.Distribution) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of each file, without scripts, which pip writes again, and without what pip left."""
    if distribution.files is None:
        raise PluginError(f"no wheel of {distribution.name}: its files are not recorded; reinstall it with pip")
    for file in sorted(distribution.files, key=str):
        is_metadata = file.parts[0].endswith(".dist-info")
        if ".." in file.parts or "__pycache__" in file.parts or (is_metadata and file.name in _LEFT_BY_PIP):
            continue
        try:
            content = Path(str(file.locate())).read_bytes()
        except OSError as error:
            raise PluginError(f"no wheel of {distribution.name}: {file}: {error.strerror}; reinstall it") from error
        if file.hash is not None and file.hash.mode == "sha256" and file.hash.value != _encoded(content):
            raise PluginError(
                f"no wheel of {distribution.name}: {file} was changed after the installation; reinstall it, or install "
                "it from its folder"
            )
        yield file.as_posix(), content


def _write(archive: zipfile.ZipFile, inside: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(inside, date_time=_DATE)
    entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
    archive.writestr(entry, content)


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
