"""The content of a step image: wheels of core, engine and one use case, pinned versions, Dockerfile, entry point.

It contains no other plugin, no source tree and no data. The versions are those of the packages installed here, so a
step in a container runs with the packages with which it was developed. The wheels are installed by their hashes, and
the base image is pinned by its digest.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.resources
import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import urllib.parse
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from mlops_core.errors import PluginError, UsageError
from mlops_core.installed.distributions import version_of
from mlops_core.redaction import redact_urls
from mlops_core.runners.container.base_images import base_image
from mlops_core.runners.container.wheels import hashed_requirements, write_installed_wheel
from mlops_core.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mlops_core.runners.plugin import ContainerImage
    from mlops_core.use_cases.discovery import InstalledUseCase

CORE = "mlops-usecases"
_LEFT_OUT = ("build", "dist", "tests", "docs", "benchmarks", "plugins", "entrypoints", "__pycache__")
_TAG_LENGTH = 16
_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:>=\s*(?P<version>[0-9][^,;\s]*))?")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9]+(?:[._-]+[A-Za-z0-9]+)*\Z")
_FEW_RETRIES = ("--retries", "1", "--timeout", "10")


def write_image_folder(use_case: InstalledUseCase, image: ContainerImage, folder: Path) -> tuple[Path, ...]:
    """Write everything that ``docker build`` needs for a use case's step image into `folder`; return the wheels.

    Raises:
        UsageError: the folder cannot be written, or holds other files, no base image is known, or the name of the use
            case is more than a name.
        PluginError: a distribution cannot be built, or cannot be had as it is installed.
    """
    if not _PLAIN_NAME.match(use_case.name):
        raise UsageError(
            f"use case {use_case.name!r}: the name would be a part of a script; expected letters and digits, joined by "
            "'.', '-' and '_'"
        )
    wheels, base = folder / "wheels", base_image_here()
    _prepare(folder, wheels)
    for name in _distributions(use_case, image):
        write_wheel(name, wheels)
    (folder / "wheels.txt").write_text(hashed_requirements(wheels.glob("*.whl")), encoding="utf-8")
    (folder / "constraints.txt").write_text(constraints(), encoding="utf-8")
    values = {"use_case": use_case.name, "base_image": base, "module": image.module}
    (folder / "Dockerfile").write_text(_template("Dockerfile", values), encoding="utf-8")
    (folder / "run_step.py").write_text(_template("run_step.py", {"module": image.module}), encoding="utf-8")
    return tuple(sorted(wheels.glob("*.whl")))


def image_tag(use_case: InstalledUseCase, image: ContainerImage) -> str:
    """Return a tag that changes with code and packages, so that no image is replaced by another one of its name."""
    digest = hashlib.sha256(f"{constraints()}{base_image_here()}".encode())
    for name in _distributions(use_case, image):
        for path in sorted(_source_files(name)):
            digest.update(path.read_bytes())
    return f"{use_case.name.lower()}-{digest.hexdigest()[:_TAG_LENGTH]}"


def base_image_here() -> str:
    """Return the base image for the Python that runs here, pinned by its digest.

    Raises:
        UsageError: none is known.
    """
    return base_image(f"{sys.version_info.major}.{sys.version_info.minor}", environ=read_settings().environ)


def _distributions(use_case: InstalledUseCase, image: ContainerImage) -> tuple[str, ...]:
    return (CORE, *image.distributions, use_case.distribution)


def constraints() -> str:
    """Return ``name==version`` of every installed distribution, except those installed from a folder."""
    installed = [distribution for distribution in importlib.metadata.distributions() if distribution.name]
    found = {distribution.name.lower(): distribution.version for distribution in installed}
    ours = {distribution.name.lower() for distribution in installed if folder_of(distribution)}
    return "".join(f"{name}=={found[name]}\n" for name in sorted(found.keys() - ours))


def _prepare(folder: Path, wheels: Path) -> None:
    known = {"wheels", "wheels.txt", "constraints.txt", "Dockerfile", "run_step.py"}
    try:
        others = sorted(path.name for path in folder.iterdir() if path.name not in known) if folder.exists() else []
        if others:
            raise UsageError(f"--output {folder} holds other files ({others[0]}); name a new folder")
        shutil.rmtree(wheels, ignore_errors=True)
        wheels.mkdir(parents=True)
    except OSError as error:
        raise UsageError(f"--output {folder}: {error.strerror}") from error


def write_wheel(name: str, wheels: Path) -> None:
    """Write the wheel of an installed distribution into the folder `wheels`.

    Raises:
        PluginError: it cannot be built, or is not installed.
    """
    distribution = _distribution(name)
    source = folder_of(distribution)
    with tempfile.TemporaryDirectory(prefix="mlops-package-") as temporary:
        if source is None:
            write_installed_wheel(distribution, wheels)
            return
        copy = Path(temporary) / "source"
        shutil.copytree(source, copy, ignore=_ignored)  # building leaves files behind
        lacking = lacking_build_requirements(copy)
        build = ("wheel", "--no-deps", "--wheel-dir", str(wheels), str(copy))
        if not lacking:
            _pip(*build, "--no-build-isolation", name=name)
            return
        try:
            _pip(*build, *_FEW_RETRIES, name=name)  # pip fetches what the build needs
        except PluginError as error:
            needed = " ".join(f"'{requirement}'" for requirement, _ in lacking)
            present = ", ".join(f"{requirement} (installed: {found})" for requirement, found in lacking)
            raise PluginError(
                f"no wheel of {name}: its build needs {present}, which pip could not fetch; pip install {needed}"
            ) from error


def lacking_build_requirements(source: Path) -> list[tuple[str, str]]:
    """Return the build requirements of a distribution that this environment does not meet, with what is installed.

    Requirements other than a name with lower bounds are left to pip.
    """
    try:
        project = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    lacking = []
    for requirement in project.get("build-system", {}).get("requires", ["setuptools>=40.8"]):
        match = _REQUIREMENT.match(requirement)
        if match is None:
            continue
        installed = version_of(match["name"])
        if installed is None or _numbers(installed) < _numbers(match["version"] or "0"):
            lacking.append((requirement, installed or "none"))
    return lacking


def _numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version, enough to compare releases."""
    release = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, release[0].split("."))) if release else ()


def _ignored(_: str, names: Iterable[str]) -> set[str]:
    return {name for name in names if name in _LEFT_OUT or name.startswith(".") or name.endswith(".egg-info")}


def _pip(*arguments: str, name: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  our own interpreter's pip
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        reason = next(
            (line for line in reversed(lines) if "ERROR" in line or "error" in line), lines[-1] if lines else ""
        )
        raise PluginError(f"no wheel of {name}: pip {arguments[0]} failed: {redact_urls(reason.strip())}")


def _distribution(name: str) -> importlib.metadata.Distribution:
    found = list(importlib.metadata.distributions(name=name))
    if not found:
        raise PluginError(f"{name} is not installed; pip install it")
    # A build leaves an egg-info next to the sources, which comes first where that folder is on the path.
    return next((one for one in found if folder_of(one)), found[0])


def folder_of(distribution: importlib.metadata.Distribution) -> Path | None:
    """Return the folder from which a distribution was installed; None for one from a wheel, index or repository."""
    text = distribution.read_text("direct_url.json")
    source = json.loads(text) if text else {}
    url = urllib.parse.urlsplit(source.get("url", ""))
    return Path(urllib.parse.unquote(url.path)) if url.scheme == "file" and "dir_info" in source else None


def _source_files(name: str) -> Iterator[Path]:
    """Yield the source files of a distribution."""
    distribution = _distribution(name)
    folder = folder_of(distribution)
    if folder is None:
        files = distribution.files or []
        yield from (Path(str(path.locate())) for path in files if path.suffix in (".py", ".yaml"))
        return
    yield folder / "pyproject.toml"
    packages = (distribution.read_text("top_level.txt") or "").split()
    for package in packages:  # not the whole folder, in which tests and builds come and go
        for path in (folder / package).rglob("*"):
            parts = path.relative_to(folder).parts
            is_left_out = any(part in _LEFT_OUT or part.startswith(".") for part in parts)
            if path.is_file() and not is_left_out and path.suffix in (".py", ".yaml"):
                yield path


def _template(name: str, values: dict[str, str]) -> str:
    files = importlib.resources.files(__package__ or "mlops_core.runners.container")
    text = (files / "templates" / f"{name}.template").read_text(encoding="utf-8")
    return Template(text).substitute(values)
